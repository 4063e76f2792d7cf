"""bitsandbytes: its files as predicted and as `inspect` reads them, held against what transformers really writes."""

from __future__ import annotations

import importlib.util

import pytest

from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.anatomy.logical import logical_elements
from exaone_nb.catalog import read_config
from exaone_nb.compress import bitsandbytes as maker
from exaone_nb.compress.models import open_model
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.transformers_engine import TransformersEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.quantization.config import read_quantization
from tests.tiny_models import make

installed = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: make install"
)
with_nano = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)


@installed
@pytest.mark.heavy
@pytest.mark.parametrize("form", maker.FORMS)
@pytest.mark.parametrize("model", ["nano", "llama", "qwen3"])
def test_the_file_is_the_predicted_one_and_inspect_reads_it(model, form, tmp_path):
    """Tied and untied heads."""
    source = NANO if model == "nano" else make(model, tmp_path / "model")
    made = maker.make(source, form, tmp_path / "made")
    more = made["actual_bytes"] - made["predicted_bytes"]
    assert made["margin_bytes"] > 0 if form == "nf4_double" else more == 0
    assert abs(more) <= made["margin_bytes"] and made["actual_bytes"] > 0
    found, plain = inspect_model(tmp_path / "made"), inspect_model(source)
    assert found.sound and found.total.logical == plain.total.logical
    assert found.checkpoint.file_bytes == made["actual_bytes"] and "bitsandbytes" in found.quantization[0]
    # Without its config as well, where only names and dtypes tell.
    quantization = read_quantization(read_config(tmp_path / "made" / "config.json"))
    assert (
        sum(logical_elements(entry, quantization, None) for entry in found.checkpoint.entries)
        == plain.total.logical
    )


@installed
@with_nano
@pytest.mark.heavy
@pytest.mark.parametrize("form", ["nf4", "int8"])
def test_what_was_saved_is_near_the_model_and_answers_in_the_transformers_engine(form, tmp_path):
    import torch

    maker.make("nano", form, tmp_path / "made")
    ids = torch.arange(10, 60)[None]
    with torch.inference_mode():
        exact, less = (open_model(place)(ids).logits.float() for place in (NANO, tmp_path / "made"))
    assert 0.001 < ((exact - less).norm() / exact.norm()).item() < 0.3
    with TransformersEngine(tmp_path / "made") as engine:
        asked = [{"role": "user", "content": "Who are you?"}]
        assert "nano" in engine.chat(asked, sampling=Sampling(max_tokens=12)).text


def test_the_1_2b_is_predicted_from_its_config_alone():
    """By hand: a layer holds 2 x 2048 x 2048 (q, o), 2 x 512 x 2048 (k, v) and 3 x 4096 x 2048 weights, at half a byte and
    4 / 64 bytes of scales; the table stays in 16 bits; header, norms, maps and texts are less than half a megabyte."""
    config = read_config(NANO.parent / "configs" / "LGAI-EXAONE__EXAONE-4.0-1.2B.json")
    size, margin = maker.predicted_bytes(config, "nf4")
    weights = 30 * 2048 * (2 * 2048 + 2 * 512 + 3 * 4096)
    assert margin == 0 and 0 < size - (weights * (0.5 + 4 / 64) + 2 * 102_400 * 2048) < 500_000
    double, margin = maker.predicted_bytes(config, "nf4_double")
    assert margin == 4 * 210 and 0 < double - (weights * (0.5 + 1 / 64) + 2 * 102_400 * 2048) < 1_000_000


def test_wrong_calls_leave_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match="no form 'nf5'"):
        maker.make("nano", "nf5", tmp_path / "made")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="notes"):
        maker.make("nano", "nf4", tmp_path / "full")
    with pytest.raises(WorkbookError):
        maker.make("EXAONE-4.0-1.2B", "nf4", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


@pytest.mark.parametrize(
    "document",
    [{"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, {"bnb_4bit_quant_type": "int3"}],
)
def test_a_storage_that_is_not_known_is_named_and_not_guessed(document):
    read = read_quantization({"quantization_config": {"quant_method": "bitsandbytes"} | document})
    assert not read.understood and "not known here" in read.sentences()[0]
