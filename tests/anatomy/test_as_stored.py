"""Checkpoints that are quantized already: their bytes, and which kernels run them."""

from __future__ import annotations

import pytest

from exaone_nb import catalog, published
from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.work import work_of
from exaone_nb.errors import WorkbookError


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


def quantized(weights: dict, activations: dict | None, **more: object) -> dict:
    group = {"weights": weights, "input_activations": activations, "targets": ["Linear"]}
    return config_of("EXAONE-4.0-1.2B") | {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
            **more,
        }
    }


INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
INT8 = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
TOKEN8 = {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True}
FP8 = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
TOKEN_FP8 = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True, "dynamic": True}


@pytest.mark.parametrize(
    ("weights", "activations", "preset"),
    [
        (INT4, None, "W4A16"),
        (INT4 | {"symmetric": False}, None, "W4A16_ASYM"),
        (INT8, TOKEN8, "W8A8"),
        (FP8, TOKEN_FP8, "FP8_DYNAMIC"),
        (INT4, TOKEN_FP8, "W4AFP8"),
    ],
)
def test_our_own_output_reads_back_as_it_was_predicted(weights, activations, preset: str) -> None:
    name, prediction = predict_as_stored(quantized(weights, activations))
    assert name == preset
    assert prediction.file_bytes == predict_checkpoint(config_of("EXAONE-4.0-1.2B"), preset).file_bytes


def test_group_size_may_differ_from_the_preset() -> None:
    name, prediction = predict_as_stored(quantized(INT4 | {"group_size": 32}, None))
    assert name == "W4A16"
    assert prediction.data_bytes > predict_checkpoint(config_of("EXAONE-4.0-1.2B"), "W4A16").data_bytes


def test_unquantized_is_bf16() -> None:
    name, prediction = predict_as_stored(config_of("EXAONE-4.0-1.2B"))
    assert (name, prediction.file_bytes) == ("BF16", 2_558_821_288)


@pytest.mark.parametrize(
    ("model", "preset", "gigabytes"),
    [
        ("gpt-oss-20b", "MXFP4A16", 13.76),
        ("gpt-oss-120b", "MXFP4A16", 65.25),
        ("Kimi-K2-Thinking", "W4A16", 594.2),
    ],
)
def test_published_quantized_models(model: str, preset: str, gigabytes: float) -> None:
    name, prediction = predict_as_stored(config_of(model))
    assert name == preset
    assert prediction.data_bytes / 1e9 == pytest.approx(gigabytes, abs=0.05)
    if model == "Kimi-K2-Thinking":
        (stated,) = [row for row in published.sizes() if row["model"] == model]
        assert prediction.data_bytes == pytest.approx(int(stated["value"]), rel=0.001)


def test_fp8_blocks_of_deepseek() -> None:
    name, prediction = predict_as_stored(config_of("DeepSeek-R1"))
    assert name == "FP8_BLOCK" and 671e9 < prediction.data_bytes < 680e9


def test_plans_and_rooflines_take_it() -> None:
    config = config_of("gpt-oss-20b")
    name, prediction = predict_as_stored(config)
    plan = plan_memory(config, name, "RTX-4090", context=32_768, prediction=prediction)
    assert plan.fits and plan.in_file == prediction.data_bytes < plan.weights  # Marlin pads 2,880
    work = work_of(config, name, prediction=prediction)
    experts = 24 * 4 * 3 * 2880 * 2880
    assert work.products["quantized"] == experts, "mxfp4 touches the experts alone"
    assert work.weight_bytes_read(1) < prediction.data_bytes / 3


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"quant_method": "quip#"}, "quip#"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": INT8 | {"strategy": "tensor"}, "targets": ["Linear"]}
                },
            },
            "number formats",
        ),
    ],
)
def test_what_is_not_known_is_refused(document: dict, said: str) -> None:
    with pytest.raises(WorkbookError, match=said) as caught:
        predict_as_stored(config_of("EXAONE-4.0-1.2B") | {"quantization_config": document})
    assert "--scheme" in caught.value.remedy
