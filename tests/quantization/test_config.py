"""Foreign quantization configs: said in plain words, and counted right."""

from __future__ import annotations

import pytest

from exaone_nb.anatomy.header import TensorEntry
from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.anatomy.logical import expectations, logical_elements, predict_as_stored
from exaone_nb.catalog import resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization import config
from exaone_nb.quantization.config import read_quantization


@pytest.mark.parametrize(
    "name, parameters, data_bytes",
    [
        ("gpt-oss-120b", 116_829_156_672, 65_248_815_744),
        ("gpt-oss-20b", 20_914_757_184, 13_761_264_768),
        (
            "Kimi-K2-Thinking",
            1_026_408_209_408,
            594_206_457_856,
        ),  # the hub says "594 GB" for the whole repository
        ("DeepSeek-R1", 671_026_404_352, 673_150_611_808),
    ],
)
def test_published_layouts_count_their_logical_parameters(name, parameters, data_bytes):
    inspection = inspect_model(name)
    assert inspection.total.logical == parameters
    assert inspection.total.bytes == data_bytes


# Tensor bytes of published AWQ files (int4, group 128, zero points), data/published_sizes.csv.
@pytest.mark.parametrize(
    "name, total",
    [
        ("EXAONE-Deep-2.4B", 1_637_969_920),
        ("EXAONE-Deep-7.8B", 5_304_229_888),
        ("EXAONE-3.5-32B-Instruct", 18_180_024_320),
    ],
)
def test_published_awq_files(name, total):
    config = resolve(name).config() | {"torch_dtype": "float16"}
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
    found = expectations(config)
    assert sum(item.tensor.bytes for item in found.values()) == total
    plain = expectations({key: value for key, value in config.items() if key != "quantization_config"})
    assert sum(item.logical for item in found.values()) == sum(item.logical for item in plain.values())


def test_gptq_layout_of_one_matrix():
    config = resolve("EXAONE-4.0-1.2B").config() | {
        "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}
    }
    found = {
        k: v.tensor.shape
        for k, v in expectations(config).items()
        if k.startswith("model.layers.0.mlp.down_proj.")
    }
    assert {name.rpartition(".")[2]: shape for name, shape in found.items()} == {
        "qweight": (4096 // 8, 2048),
        "qzeros": (32, 2048 // 8),
        "scales": (32, 2048),
        "g_idx": (4096,),
    }


def test_the_lectures_two_examples_in_plain_words():
    gpt = " ".join(read_quantization(resolve("gpt-oss-120b").config()).sentences())
    assert "4.25 bits a weight" in gpt and "model.embed_tokens" in gpt
    kimi = " ".join(read_quantization(resolve("Kimi-K2-Thinking").config()).sentences())
    assert "int4, one scale per 32 inputs" in kimi and "…shared_experts…" in kimi


def test_kimi_quantizes_its_experts_and_nothing_else():
    packed = {
        item.spec.component
        for name, item in expectations(resolve("Kimi-K2-Thinking").config()).items()
        if name.endswith("weight_packed")
    }
    assert packed == {"experts"}


@pytest.mark.parametrize(
    "method, name, dtype, shape, expected",
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "x.qweight", "I32", (10, 3), 240),
        ({"quant_method": "gptq", "bits": 8, "group_size": 64}, "x.qweight", "I32", (10, 3), 120),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, "x.qzeros", "I32", (10, 3), 0),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, "x.g_idx", "I32", (10,), 0),
        ({"quant_method": "mxfp4"}, "x.experts.down_proj_blocks", "U8", (2, 4, 3, 16), 768),
        ({"quant_method": "mxfp4"}, "x.experts.down_proj_scales", "U8", (2, 4, 3), 0),
        ({"quant_method": "fp8"}, "x.weight", "F8_E4M3", (6, 7), 42),
        ({"quant_method": "fp8"}, "x.weight_scale_inv", "F32", (1, 1), 0),
        (None, "x.weight_packed", "I32", (4, 4), None),  # nobody says how many bits
        (None, "x.weight", "BF16", (4, 4), 16),
    ],
)
def test_one_tensor_at_a_time(method, name, dtype, shape, expected):
    quantization = read_quantization({"quantization_config": method}) if method else None
    assert logical_elements(TensorEntry(name, dtype, shape, 0, 0), quantization, None) == expected


def test_mixed_bits_are_told_by_module():
    weights = {"type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    groups = {
        "a": {"targets": ["re:.*self_attn.*"], "weights": weights | {"num_bits": 8}},
        "b": {"targets": ["re:.*mlp.*"], "weights": weights | {"num_bits": 4}},
    }
    read = read_quantization(
        {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}
    )
    for module, factor in (("model.layers.0.self_attn.q_proj", 4), ("model.layers.0.mlp.up_proj", 8)):
        entry = TensorEntry(f"{module}.weight_packed", "I32", (16, 16), 0, 0)
        assert logical_elements(entry, read, None) == 256 * factor


def test_unknown_method_is_named_not_guessed():
    read = read_quantization({"quantization_config": {"quant_method": "hqq"}})
    assert not read.understood and "'hqq' is not known here" in read.sentences()[0]


@pytest.mark.parametrize(
    "document, message",
    [
        ([], "quantization_config is a list"),
        ({"quant_method": "awq"}, "no bits"),
        ({"quant_method": "awq", "bits": 5}, "bits is 5"),
        ({"quant_method": "gptq", "bits": "4"}, "bits is '4'"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": "lm_head"}, "modules_to_not_convert is"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size is"),
        ({"quant_method": "compressed-tensors", "config_groups": []}, "config_groups is a list"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 3}}, "config_groups.a is a int"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"targets": 3}}},
            "targets of config_groups.a",
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": 3}}},
            "weights of config_groups.a",
        ),
        ({"quant_method": "compressed-tensors", "ignore": "lm_head"}, "ignore is"),
    ],
)
def test_malformed_configs_are_refused_by_field(document, message):
    with pytest.raises(WorkbookError) as caught:
        read_quantization({"quantization_config": document})
    assert message in caught.value.got


@pytest.mark.heavy
def test_the_fields_are_the_librarys():
    quantization = pytest.importorskip("compressed_tensors.quantization")
    assert set(config.GROUP_FIELDS) == set(quantization.QuantizationScheme.model_fields)


def test_columns_reordered_while_the_model_runs_store_their_groups():
    """llm-compressor up to 0.13, actorder group: one I32 per column of each of the 210 matrices of the 1.2B."""
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    group = {"targets": ["Linear"], "weights": weights | {"actorder": "group"}}
    document = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
    _, stored = predict_as_stored(resolve("EXAONE-4.0-1.2B").config() | {"quantization_config": document})
    assert len(stored.tensors) == 962 and stored.file_bytes == 973_251_328
