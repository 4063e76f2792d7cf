"""What to sample a model with: facts of the catalog, also for a folder that is called something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exaone_nb import catalog
from exaone_nb.conversation.answers import against_repetition, recommended

# Models of one shape, context and rope: their config cannot tell them apart.
ALIKE = {
    "EXAONE-3.5-2.4B-Instruct",
    "EXAONE-3.5-7.8B-Instruct",
    "EXAONE-3.5-32B-Instruct",
    "EXAONE-Deep-2.4B",
    "EXAONE-Deep-7.8B",
    "EXAONE-Deep-32B",
    "DeepSeek-R1",
    "DeepSeek-R1-0528",
}


def folder_of(place: Path, model: str, **changed: Any) -> Path:
    place.mkdir(parents=True)
    config = catalog.resolve(model).config() | changed
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return place


@pytest.mark.parametrize("model", catalog.names())
def test_a_model_is_known_by_its_config_whatever_its_folder_is_called(model: str, tmp_path: Path) -> None:
    changed = {"quantization_config": {"quant_method": "compressed-tensors"}, "dtype": "float16"}
    assert catalog.recognised(folder_of(tmp_path / "my-model", model, **changed)) == (
        "" if model in ALIKE else model
    )
    assert catalog.recognised(folder_of(tmp_path / model, model)) == model


def test_a_shorter_context_does_not_make_it_another_model_and_another_width_does(tmp_path: Path) -> None:
    name = "EXAONE-4.0-1.2B"
    assert catalog.recognised(folder_of(tmp_path / "a", name, max_position_embeddings=16384)) == name
    assert catalog.recognised(folder_of(tmp_path / "b", name, hidden_size=1024)) == ""
    (tmp_path / "empty").mkdir()
    assert catalog.recognised(tmp_path / "empty") == ""


def test_a_folder_keeps_the_makers_sampling(tmp_path: Path) -> None:
    """A downloaded or quantized EXAONE 4.0 in reasoning mode is sampled at 0.6 and 0.95, as its README says."""
    folder = folder_of(tmp_path / "w4a16", "EXAONE-4.0-1.2B")
    for model in ("EXAONE-4.0-1.2B", str(folder)):
        sampling = recommended(model, "reasoning").sampling
        assert (sampling.temperature, sampling.top_p) == (0.6, 0.95)
        assert recommended(model, korean=True).sampling.temperature == 0.1
        assert against_repetition(recommended(model, "reasoning")).sampling.presence_penalty == 1.5


def test_what_is_published_is_shown_as_published() -> None:
    exaone, qwen = recommended("EXAONE-4.0-1.2B"), recommended("Qwen3-1.7B")
    assert exaone.as_written == "below 0.6" and exaone.sampling.temperature == 0
    assert "0.1 for general conversation in Korean" in exaone.remark
    assert qwen.as_written == "0.7" and "0 to 2 against repetition" in qwen.remark


def test_a_penalty_given_as_a_range_changes_something() -> None:
    """Qwen names 0 to 2: asking again with 0 would give the same circle again."""
    advice = recommended("Qwen3-1.7B")
    assert 0 < against_repetition(advice).sampling.presence_penalty <= 2
    plain = recommended("DeepSeek-V3-0324")
    assert against_repetition(plain) == plain
