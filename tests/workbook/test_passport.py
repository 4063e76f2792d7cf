"""Nano, live or recorded: what the numbers of a notebook stand for."""

from __future__ import annotations

import json
import shutil

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO
from exaone_nb.workbook.record import MODES, facts, mode_of

REAL = {"model_type": "exaone4", "hidden_size": 2048, "num_hidden_layers": 30, "vocab_size": 102400}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub's client."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--LGAI-EXAONE--EXAONE-4.0-1.2B"


@pytest.mark.parametrize("name", ["EXAONE-4.0-1.2B", "LGAI-EXAONE/EXAONE-4.0-1.2B"])
def test_a_catalog_model_is_recorded_until_its_weights_are_here(hub, name):
    assert mode_of(name) == "recorded"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    (hub / "snapshots" / "abc").mkdir(parents=True)
    (hub / "snapshots" / "abc" / "config.json").write_text("{}")
    assert mode_of(name) == "recorded", "chapter 01 may have fetched the config alone"
    (hub / "snapshots" / "abc" / "model.safetensors").write_text("x")
    assert mode_of(name) == "live"


def test_nano_its_copies_and_its_quantized_forms_are_nano(tmp_path):
    assert mode_of("nano") == mode_of("") == mode_of(str(NANO)) == "nano"
    copy = shutil.copytree(NANO, tmp_path / "copy")
    assert mode_of(str(copy)) == mode_of(str(copy / "model.safetensors")) == "nano"
    config = json.loads((copy / "config.json").read_text()) | {"quantization_config": {"bits": 4}}
    (copy / "config.json").write_text(json.dumps(config))
    assert mode_of(str(copy)) == "nano"


def test_a_folder_is_live_when_it_has_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(REAL))
    assert mode_of(str(tmp_path)) == mode_of(str(tmp_path / "config.json")) == "recorded"
    (tmp_path / "model-00001-of-00002.safetensors").write_text("x")
    assert mode_of(str(tmp_path)) == mode_of(str(tmp_path / "model-00001-of-00002.safetensors")) == "live"
    (tmp_path / "config.json").unlink()
    assert mode_of(str(tmp_path)) == "live"


def test_what_is_fetched_is_live_and_a_wrong_name_is_left_to_the_chapter():
    assert mode_of("someone/else") == mode_of("https://example.org/model.safetensors") == "live"
    assert mode_of("no such model") == "live"


def test_facts_name_the_mode_and_refuse_another():
    assert facts("nano")["Mode"] == f"nano: {MODES['nano']}"
    assert facts("nano", "recorded")["Mode"].startswith("recorded: numbers published")
    with pytest.raises(UsageError, match="no mode 'new'"):
        facts("nano", "new")
