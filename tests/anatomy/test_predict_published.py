"""Predicted sizes against published files, presets against the installed library, and the rules of matching."""

from __future__ import annotations

import importlib

import pytest

from exaone_nb.anatomy import predict
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.catalog import resolve
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.quantization.matching import matches
from exaone_nb.quantization.schemes import SCHEMES, QuantArgs, find_scheme
from exaone_nb.quantization.stored import stored_linear

SMALL, LARGE = resolve("EXAONE-4.0-1.2B").config(), resolve("EXAONE-4.0-32B").config()


@pytest.mark.parametrize(
    "scheme, untied, dtype, file_bytes",
    [
        ("BF16", False, "", 2_558_821_288),  # the published model.safetensors
        ("W4A16", True, "", 1_390_692_528),  # the lecture's file
        ("W4A16", True, "F16", 1_390_692_192),  # the same, saved from a float16 model
        ("W4A16", False, "", 971_261_368),
        ("W8A8", False, "", 1_490_219_184),
    ],
)
def test_published_files_of_the_small_model(scheme, untied, dtype, file_bytes):
    prediction = predict_checkpoint(SMALL, scheme, untied_head=untied, dtype=dtype)
    assert prediction.file_bytes == file_bytes
    assert prediction.file_bytes == 8 + prediction.shards[0].header_bytes + prediction.data_bytes
    assert sum(prediction.by_component().values()) == prediction.data_bytes
    assert prediction.tied is not untied


# Bytes of every stored layout as LLM Compressor 0.14 writes it: the small model's file with one table and with two,
# its tensors, and the data of the large model (test_predict_real_files.py makes real files of the same layouts).
STORED = {
    "BF16": (2558821288, 2978251912, 332, 64006432768),
    "W8A8": (1490219184, 1909649848, 542, 33061709824),
    "FP8_DYNAMIC": (1490220240, 1909650896, 542, 33061709824),
    "FP8": (1489321816, 1908752480, 752, 33052471040),
    "FP8_BLOCK": (1489428984, 1908859648, 542, 33056247808),
    "W8A16": (1506035888, 1925466384, 752, 33536132096),
    "W4A16": (971261368, 1390692528, 752, 18059150336),
    "W4A16_ASYM": (975464584, 1394895736, 962, 18180064256),
    "W4A8": (1506009488, 1925440144, 542, 33536124928),
    "W4AFP8": (1506009488, 1925440144, 542, 33536124928),
    "NVFP4A16": (1021395960, 1440826784, 752, 19510112000),
    "NVFP4": (1021419216, 1440850032, 962, 19510113792),
    "MXFP4": (987948288, 1407379384, 542, 18542798848),
    "MXFP8": (1522722240, 1942152896, 542, 34019780608),
    "W3A16": (837567896, 1256999056, 752, 14189904896),
    "W2A16": (703874400, 1123305560, 752, 10320659456),
}


@pytest.mark.parametrize("scheme", STORED)
def test_every_stored_layout(scheme):
    one, two = predict_checkpoint(SMALL, scheme), predict_checkpoint(SMALL, scheme, untied_head=True)
    large = predict_checkpoint(LARGE, scheme)
    assert (one.file_bytes, two.file_bytes, len(one.tensors), large.data_bytes) == STORED[scheme]


# Totals that published index files give (data/published_sizes.csv says from where).
@pytest.mark.parametrize(
    "name, dtype, total",
    [
        ("Qwen3-4B", "", 8_044_936_192),
        ("Qwen3-8B", "", 16_381_470_720),
        ("Qwen3-32B", "", 65_524_246_528),
        ("EXAONE-3.5-7.8B-Instruct", "F32", 31_273_795_584),
    ],
)
def test_published_totals(name, dtype, total):
    assert predict_checkpoint(resolve(name).config(), dtype=dtype).data_bytes == total


def test_qwen_small_is_published_with_its_head_twice():
    assert predict_checkpoint(resolve("Qwen3-0.6B").config(), untied_head=True).file_bytes == 1_503_300_328


def test_large_model_is_split_at_twenty_billion_bytes():
    prediction = predict_checkpoint(LARGE)
    assert [shard.name for shard in prediction.shards] == [
        f"model-0000{i}-of-00004.safetensors" for i in range(1, 5)
    ]
    assert all(shard.data_bytes <= 20_000_000_000 for shard in prediction.shards)
    assert len(prediction.tensors) == 707 and prediction.data_bytes == 64_006_432_768


def test_the_tensors_are_listed_once(monkeypatch):
    """Listing is most of the work for a model of experts (Kimi-K2 has 70,000 tensors)."""
    calls = []
    listing = predict.expected_tensors
    monkeypatch.setattr(predict, "expected_tensors", lambda config: calls.append(1) or listing(config))
    assert predict_checkpoint(SMALL, "W4A16").file_bytes == 971_261_368
    assert len(calls) == 1


def test_presets_are_those_of_the_installed_library():
    library = pytest.importorskip("compressed_tensors.quantization.quant_scheme")
    assert set(SCHEMES) == set(library.PRESET_SCHEMES)
    names = {"torch.float8_e4m3fn": "F8_E4M3", "torch.uint8": "U8", "None": ""}
    for name, ours in SCHEMES.items():
        theirs = library.preset_name_to_scheme(name, ["Linear"])
        for mine, other in ((ours.weights, theirs.weights), (ours.activations, theirs.input_activations)):
            if mine is None:
                assert other is None, name
                continue
            block = tuple(other.block_structure) if other.block_structure else None
            dynamic = (
                other.dynamic
                if isinstance(other.dynamic, bool)
                else str(getattr(other.dynamic, "value", other.dynamic))
            )
            found = (
                other.num_bits,
                other.type,
                other.strategy,
                other.group_size,
                other.symmetric,
                dynamic,
                block,
            )
            wanted = (
                mine.num_bits,
                mine.type,
                mine.strategy,
                mine.group_size,
                mine.symmetric,
                mine.dynamic,
                mine.block_structure,
            )
            assert tuple(getattr(part, "value", part) for part in found) == wanted, name
            assert names[str(other.scale_dtype)] == mine.scale_dtype, name


def test_formats_are_those_of_the_installed_library():
    torch = pytest.importorskip("torch")
    compressors = importlib.import_module("compressed_tensors.compressors.format")
    library = importlib.import_module("compressed_tensors.quantization.quant_scheme")
    for name, ours in SCHEMES.items():
        theirs = compressors.infer_module_format(
            torch.nn.Linear, library.preset_name_to_scheme(name, ["Linear"])
        )
        assert ours.format == theirs.value, name


@pytest.mark.parametrize(
    "module, targets, expected",
    [
        ("model.layers.0.mlp.up_proj", ["Linear"], True),
        ("model.layers.0.mlp.up_proj", ["model.layers.0.mlp.up_proj"], True),
        ("model.layers.0.mlp.up_proj", ["up_proj"], False),
        ("model.layers.0.mlp.up_proj", ["mlp"], False),
        ("model.layers.0.mlp.up_proj", ["re:up_proj"], False),  # a pattern fits from the start
        ("model.layers.0.mlp.up_proj", ["re:.*up_proj"], True),
        ("model.layers.10.mlp.up_proj", [r"re:.*layers\.1\..*"], False),
        ("model.layers.10.mlp.up_proj", [r"re:.*layers\.1.*"], True),
        ("model.layers.0.mlp.up_proj", ["linear"], False),
        ("model.layers.0.mlp.up_proj", [], False),
    ],
)
def test_matching_is_that_of_the_library(module, targets, expected):
    assert matches(module, "linear", targets) is expected
    match = pytest.importorskip("compressed_tensors.utils.match")
    import torch

    assert match.is_match(module, torch.nn.Linear(1, 1), targets) is expected


def test_bad_recipes_are_refused():
    with pytest.raises(UsageError, match="No scheme 'W4A15'") as caught:
        predict_checkpoint(SMALL, "W4A15")
    assert "W4A16" in caught.value.remedy
    with pytest.raises(UsageError, match="not a regular expression"):
        predict_checkpoint(SMALL, "W4A16", ignore=["re:*mlp"])
    with pytest.raises(UsageError, match="max_shard_size is 0"):
        predict_checkpoint(SMALL, max_shard_size=0)
    with pytest.raises(UsageError, match="No KV-cache scheme"):
        predict_checkpoint(SMALL, kv_cache="int2")
    with pytest.raises(WorkbookError, match="do not divide into groups of 128") as caught:
        predict_checkpoint(SMALL | {"intermediate_size": 4100}, "W4A16")
    assert "ignore" in caught.value.remedy


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_bits": "4"}, "num_bits is '4'"),
        ({"num_bits": 0}, "num_bits is 0"),
        ({"num_bits": True}, "num_bits is True"),
        ({"type": "complex"}, "type is 'complex'"),
        ({"strategy": "rows"}, "strategy is 'rows'"),
        ({"group_size": 0}, "group_size is 0"),
        ({"group_size": None}, "without a group_size"),
        ({"strategy": "block"}, "without a block_structure"),
        ({"strategy": "block", "block_structure": [128]}, "block_structure is"),
        ({"symmetric": "no"}, "symmetric is 'no'"),
    ],
)
def test_malformed_arguments_are_refused_by_field(change, message):
    good = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    assert QuantArgs.read(good).group_size == 128
    with pytest.raises(WorkbookError) as caught:
        QuantArgs.read(good | change)
    assert message in str(caught.value)


def bits_per_weight(scheme) -> float:
    """Bits that one weight of a large matrix takes in the file, scales and zero points included."""
    side = 1 << 14
    return sum(tensor.bytes for tensor in stored_linear("m", (side, side), scheme, "BF16")) * 8 / side**2


def test_bits_per_weight():
    assert bits_per_weight(find_scheme("W4A16")) == pytest.approx(4 + 16 / 128, abs=1e-3)
    assert bits_per_weight(find_scheme("MXFP4")) == 4.25
    assert bits_per_weight(find_scheme("NVFP4")) == pytest.approx(4.5, abs=1e-3)
    assert bits_per_weight(find_scheme("W4A8")) == pytest.approx(8.125, abs=1e-3)  # stored at 8 bits


def test_experts_are_quantized_one_by_one_whatever_the_published_file_does():
    """gpt-oss and Llama 4 publish the experts of a layer in one tensor; LLM Compressor writes each on its own."""
    config = resolve("gpt-oss-20b").config() | {"quantization_config": None}
    plain, eight = (predict_checkpoint(config, scheme) for scheme in ("BF16", "W8A8"))
    name = "model.layers.0.mlp.experts"
    shapes = {t.name: (t.dtype, t.shape) for t in eight.tensors}
    assert f"{name}.gate_up_proj" in {t.name for t in plain.tensors} and f"{name}.gate_up_proj" not in shapes
    assert shapes[f"{name}.31.gate_proj.weight"] == ("I8", (2880, 2880))
    assert shapes[f"{name}.31.down_proj.bias"] == ("BF16", (2880,))
    assert eight.parameters == plain.parameters and eight.data_bytes < 0.56 * plain.data_bytes
    assert {spec.name for spec in modules_of(config) if ".experts." in spec.name} >= {f"{name}.0.up_proj"}
