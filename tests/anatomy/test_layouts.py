"""Layouts against the files that transformers writes, against its modules, and against published counts."""

from __future__ import annotations

import math
import subprocess

import pytest

from exaone_nb import fields
from exaone_nb.anatomy.inspection import explain_config, inspect_model
from exaone_nb.anatomy.layouts import asked, count_parameters, expected_tensors, has_layout, is_tied
from exaone_nb.anatomy.layouts.asked import ask_transformers
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.anatomy.roofline import decode
from exaone_nb.catalog import names, resolve
from exaone_nb.errors import UsageError, WorkbookError

# Parameters and parameters without embedding and head (data/README.md says from where).
COUNTS = {
    "EXAONE-4.0-1.2B": (1_279_391_488, 1_069_676_288),
    "EXAONE-4.0-32B": (32_003_216_384, 30_954_640_384),
    # 33B with a tower of 1.2B, says its report; the hub counts 34B with the draft layer.
    "EXAONE-4.5-33B": (33_813_987_328, 32_241_123_328),
    "EXAONE-3.5-2.4B-Instruct": (2_405_327_360, 2_143_183_360),
    "EXAONE-Deep-2.4B": (2_405_327_360, 2_143_183_360),
    "EXAONE-3.0-7.8B-Instruct": (7_818_448_896, 6_979_588_096),
    "EXAONE-3.5-7.8B-Instruct": (7_818_448_896, 6_979_588_096),
    "EXAONE-Deep-7.8B": (7_818_448_896, 6_979_588_096),
    "EXAONE-3.5-32B-Instruct": (32_003_200_000, 30_954_624_000),
    "EXAONE-Deep-32B": (32_003_200_000, 30_954_624_000),
    "K-EXAONE-236B-A23B": (236_571_150_336, 234_683_713_536),
    "Qwen3-0.6B": (596_049_920, 440_467_456),
    "Qwen3-1.7B": (1_720_574_976, 1_409_410_048),
    "Qwen3-4B": (4_022_468_096, 3_633_511_936),
    "Qwen3-4B-Instruct-2507": (4_022_468_096, 3_633_511_936),
    "Qwen3-8B": (8_190_735_360, 6_946_075_648),
    "Qwen3-14B": (14_768_307_200, 13_212_482_560),
    "Qwen3-32B": (32_762_123_264, 31_206_298_624),
    "Qwen3-30B-A3B": (30_532_122_624, 29_909_792_768),
    "Qwen3-235B-A22B": (235_093_634_560, 233_848_974_848),
    "SmolLM3-3B": (3_075_098_624, 2_812_430_336),
    "gemma-3-1b-it": (999_885_952, 697_896_064),
    "gpt-oss-120b": (116_829_156_672, 115_670_889_792),
    "gpt-oss-20b": (20_914_757_184, 19_756_490_304),
    "DeepSeek-R1": (671_026_404_352, 669_173_046_272),
    "DeepSeek-R1-0528": (671_026_404_352, 669_173_046_272),
    "Kimi-K2-Instruct": (1_026_408_209_408, 1_024_059_399_168),
    "Kimi-K2-Thinking": (1_026_408_209_408, 1_024_059_399_168),
    "phi-4": (14_659_507_200, 13_631_902_720),
    "Mistral-Small-3.2-24B-Instruct-2506": (24_011_361_280, 22_669_184_000),
}
# Billions active per token, as the model cards round them (gpt-oss counts without the embedding lookup).
ACTIVE = {
    "K-EXAONE-236B-A23B": 23,
    "Qwen3-30B-A3B": 3.3,
    "Qwen3-235B-A22B": 22,
    "Kimi-K2-Instruct": 32,
    "DeepSeek-R1": 37,
    "Llama-4-Maverick-17B-128E-Instruct": 17,
}


def test_every_catalog_model_is_counted():
    others = {
        "nano",
        "Llama-4-Maverick-17B-128E-Instruct",
    }  # Llama 4: see the meta-device test (text decoder)
    assert set(names()) - others == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_match_the_recorded_count(name):
    count = count_parameters(resolve(name).config())
    assert (count.total, count.non_embedding) == COUNTS[name]
    assert sum(count.by_component.values()) == count.total


@pytest.mark.parametrize("name", ACTIVE)
def test_active_parameters_round_to_the_card(name):
    active = count_parameters(resolve(name).config()).active
    assert math.floor(active / 1e8) / 10 >= ACTIVE[name] and active / 1e9 < ACTIVE[name] + 1


def test_dense_models_use_all_their_parameters():
    count = count_parameters(resolve("EXAONE-4.0-32B").config())
    assert count.active == count.total


TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 40,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "layer_types": ["full_attention"] * 3,
}
MLA = {
    "num_key_value_heads": 4,
    "q_lora_rank": 12,
    "kv_lora_rank": 20,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 24,
    "n_routed_experts": 3,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
QWEN2_MOE = {**EXPERTS, "num_experts": 3, "shared_expert_intermediate_size": 40}
EXAONE_MOE = {**EXPERTS, "num_experts": 3, "num_shared_experts": 2, "n_group": 1, "topk_group": 1}
LLAMA4 = {"num_local_experts": 3, "num_experts_per_tok": 1, "intermediate_size_mlp": 56}
BIAS = [{"attention_bias": True}, {"attention_bias": False}]
BIASES = [*BIAS, {"mlp_bias": True}]
VISION = {
    "exaone4_5": {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_heads": 4,
        "num_key_value_heads": 2,
        "out_hidden_size": 32,
    },
    "mistral3": {
        "model_type": "pixtral",
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "patch_size": 14,
    },
}
# family -> (what its config has besides TINY, the settings to try one by one).
FAMILIES = {
    "llama": ({}, BIASES),
    "qwen2": ({}, []),
    "qwen2_moe": (QWEN2_MOE, [{"qkv_bias": False}, {"mlp_only_layers": [0]}, {"decoder_sparse_step": 2}]),
    "qwen3": ({}, [*BIAS, {"head_dim": None}]),
    "qwen3_moe": (
        {**EXPERTS, "num_local_experts": 3},
        [*BIAS, {"mlp_only_layers": [0]}, {"decoder_sparse_step": 2}],
    ),
    "mistral": ({}, []),
    "mixtral": ({"num_local_experts": 3, "num_experts_per_tok": 2}, []),
    "gemma2": ({}, [*BIAS, {"head_dim": None}]),
    "gemma3_text": ({}, [*BIAS, {"head_dim": None}]),
    "phi3": ({}, []),
    "olmo2": ({}, BIAS),
    "olmo3": ({}, BIAS),
    "granite": ({}, BIASES),
    "glm4": ({}, [*BIAS, {"head_dim": None}]),
    "smollm3": ({}, BIASES),
    "cohere2": ({}, BIAS),
    "exaone4": ({}, []),
    "exaone_moe": (
        EXAONE_MOE,
        [{"first_k_dense_replace": 0}, {"mlp_layer_types": ["dense", "sparse", "dense"]}],
    ),
    "deepseek_v2": (MLA, [*BIASES, {"q_lora_rank": None}]),
    "deepseek_v3": (MLA, [*BIAS, {"q_lora_rank": None}]),
    "gpt_oss": ({"num_local_experts": 3, "num_experts_per_tok": 2}, [*BIAS, {"head_dim": None}]),
    "llama4_text": (
        LLAMA4,
        [*BIAS, {"interleave_moe_layer_step": 2}, {"moe_layers": [2]}, {"head_dim": None}],
    ),
    "exaone4_5": (
        {"vision_config": VISION["exaone4_5"], "text_config": {**TINY, "model_type": "exaone4"}},
        [],
    ),
    "mistral3": (
        {
            "vision_config": VISION["mistral3"],
            "text_config": {**TINY, "model_type": "mistral"},
            "spatial_merge_size": 2,
        },
        [{"multimodal_projector_bias": True}],
    ),
}
# Of these transformers 5 renames or splits tensors when it saves, and sorts them; elsewhere their order decides shards.
RENAMED = {"deepseek_v2", "deepseek_v3", "exaone_moe", "mistral3", "mixtral", "qwen2_moe", "qwen3_moe"}
CASES = [
    (family, change)
    for family, (_, changes) in FAMILIES.items()
    for change in [{}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, *changes]
]


def tiny_config(family: str, change: dict) -> dict:
    more, _ = FAMILIES[family]
    own = {"layer_types": None} if family in ("mistral", "deepseek_v2", "deepseek_v3") else {}
    base = {} if "text_config" in more else {**TINY, **own}
    config = {"model_type": family, **base, **more, **change}
    return {key: value for key, value in config.items() if value is not None or key == "q_lora_rank"}


@pytest.mark.parametrize("family, change", CASES, ids=str)
def test_layout_equals_the_file_that_transformers_writes(family, change, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = tiny_config(family, change)
    settings = transformers.AutoConfig.for_model(**config)
    kind = transformers.AutoModelForImageTextToText if family in VISION else transformers.AutoModelForCausalLM
    model = kind.from_config(settings)
    model.save_pretrained(tmp_path)
    header = read_headers(resolve(tmp_path))
    theirs = {entry.name: entry.shape for entry in header.entries}
    assert {spec.name: spec.shape for spec in expected_tensors(config)} == theirs
    # What save_pretrained wrote into config.json is read alike: transformers 5 renames keys and leaves others out.
    assert expected_tensors(header.config) == expected_tensors(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_asking_transformers_gives_what_the_layout_gives(family):
    pytest.importorskip("transformers")
    config = tiny_config(family, {})
    ours = {spec.name: spec for spec in expected_tensors(config)}
    theirs = [item[0] for item in ask_transformers(config)]
    if family not in RENAMED:
        assert list(ours) == theirs
    for name, shape, kind, dtype, buffer in ask_transformers(config):
        spec = ours.pop(name)
        assert (name, spec.shape, spec.kind, spec.buffer) == (name, tuple(shape), kind, buffer)
        assert not dtype
    assert not ours


# Experts are cut to a few: ask_transformers lists each of them.
SMALL = {"num_hidden_layers": 8, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4}


@pytest.mark.parametrize("name", [n for n in names() if "EXAONE-3" not in n and "EXAONE-Deep" not in n])
def test_layout_of_a_real_config_equals_transformers(name):
    pytest.importorskip("transformers")
    config = {key: value for key, value in resolve(name).config().items() if key not in asked.LEFT_OUT}
    config["model_type"] = config["model_type"].replace("kimi_k2", "deepseek_v3")
    if config["model_type"] == "llama4":
        config = {**config["text_config"], "model_type": "llama4_text"}
    text = config.get("text_config", config)
    layers = min(text["num_hidden_layers"], SMALL["num_hidden_layers"])
    text.update({key: min(value, SMALL[key]) for key, value in text.items() if key in SMALL})
    for key in ("layer_types", "is_moe_layer", "no_rope_layers", "mlp_layer_types"):
        text.update({key: text[key][:layers]} if text.get(key) else {})
    text.pop("moe_layers", None)
    theirs = {item[0]: tuple(item[1]) for item in ask_transformers(config)}
    assert {spec.name: spec.shape for spec in expected_tensors(config)} == theirs


def test_an_expert_count_has_three_names():
    base = {**TINY, **QWEN2_MOE, "model_type": "qwen3_moe"}
    count = base.pop("num_experts")
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        assert count_parameters({**base, name: count}) == count_parameters({**base, "num_experts": 3})
    with pytest.raises(WorkbookError, match="num_experts 3, num_local_experts 4"):
        expected_tensors({**base, "num_experts": 3, "num_local_experts": 4})


def test_rotary_positions_are_read_from_either_spelling():
    old = {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    new = {"rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}}
    kinds = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    assert fields.rope(old) == fields.rope(new) == {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}
    assert fields.rope({"rope_theta": 1e4, "rope_scaling": None}) == {"rope_theta": 1e4}
    assert fields.rope({"rope_parameters": kinds}) == {"rope_theta": 1e6}


STABLELM = {
    "model_type": "stablelm",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 40,
    "max_position_embeddings": 64,
}


def test_a_family_without_a_layout_is_asked_of_transformers(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path / "cache"))
    assert not has_layout(STABLELM)
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**STABLELM))
    model.save_pretrained(tmp_path / "model")
    inspection = inspect_model(tmp_path / "model")
    assert inspection.sound and "asked of transformers" in inspection.notes[0]
    assert inspection.total.logical == sum(value.numel() for value in model.parameters())
    assert count_parameters(STABLELM).total == inspection.total.logical
    assert predict_checkpoint(STABLELM, "F32").data_bytes == inspection.total.bytes
    assert (
        len(list((tmp_path / "cache" / "layouts").iterdir())) <= 2
    )  # the config as given, and as it was saved
    asked._ask.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)  # the second time the answer is read from the disk
    assert count_parameters(STABLELM).total == inspection.total.logical


def test_a_family_that_transformers_does_not_know_is_a_wrong_call(tmp_path, monkeypatch):
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="No layout for model_type 'no_such_family'") as caught:
        expected_tensors({**TINY, "model_type": "no_such_family"})
    assert "decoder.py" in caught.value.remedy
    assert not list(tmp_path.rglob("*.json"))


def test_a_head_is_called_lm_head_whatever_the_file_calls_it():
    config = resolve("Mistral-Small-3.2-24B-Instruct-2506").config()
    name = "language_model.lm_head.weight"
    assert [spec.module for spec in expected_tensors(config) if spec.kind == "head"] == ["lm_head"]
    (head,) = [tensor for tensor in predict_checkpoint(config, "W4A16").tensors if "lm_head" in tensor.name]
    assert (head.name, head.dtype) == (name, "BF16")  # ignore: lm_head is the default
    stored = {tensor.name for tensor in predict_checkpoint(config, "W4A16", ignore=()).tensors}
    assert "language_model.lm_head.weight_packed" in stored
    for ignored in ("lm_head", "language_model.lm_head"):
        groups = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128}}}
        written = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": [ignored]}
        rows = explain_config({**config, "quantization_config": written}, "x").rows
        assert [row.name for row in rows if "lm_head" in row.name] == [name]


def test_speed_reads_the_head_of_an_image_model_in_16_bits():
    config = resolve("Mistral-Small-3.2-24B-Instruct-2506").config()
    assert round(decode(config, "W4A16", "RTX-5090").tokens_per_second) == 138


def test_sharing_of_the_head():
    assert is_tied(resolve("EXAONE-4.0-1.2B").config())
    assert is_tied(resolve("gemma-3-1b-it").config())  # by the family's default, the config says nothing
    assert not is_tied(resolve("EXAONE-4.0-32B").config())


GOOD = {
    "model_type": "exaone4",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": None}, "no model_type"),
        ({"model_type": ["exaone4"]}, "No layout for model_type ['exaone4']"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": 64.0}, "hidden_size is 64.0"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": None}, "no hidden_size"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"vocab_size": 1 << 40}, "vocab_size is 1099511627776"),
        ({"num_hidden_layers": 1 << 30}, "num_hidden_layers is 1073741824"),
        ({"num_key_value_heads": 3}, "4 query heads cannot share 3"),
        ({"num_attention_heads": 6, "num_key_value_heads": 3}, "does not divide into 6 heads"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries"),
        ({"layer_types": "full_attention"}, "layer_types has a str"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"text_config": []}, "text_config is a list"),
    ],
)
def test_bad_configs_are_refused_by_name(change, message):
    with pytest.raises(WorkbookError) as caught:
        expected_tensors({**GOOD, **change})
    assert message in caught.value.got
    assert caught.value.expected or caught.value.remedy


def test_a_config_with_endless_experts_is_refused():
    config = resolve("Qwen3-30B-A3B").config() | {"num_experts": 1 << 30}
    with pytest.raises(WorkbookError, match="more than 500,000 tensors"):
        expected_tensors(config)
