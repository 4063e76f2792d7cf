"""Layouts against transformers on the meta device, and the parameter counts that are published."""

from __future__ import annotations

import math

import pytest

from exaone_nb.anatomy.layouts import LAYOUTS, count_parameters, expected_tensors, is_tied
from exaone_nb.catalog import names, resolve
from exaone_nb.errors import WorkbookError

# Parameters and parameters without embedding and head (data/README.md says from where).
COUNTS = {
    "EXAONE-4.0-1.2B": (1_279_391_488, 1_069_676_288),
    "EXAONE-4.0-32B": (32_003_216_384, 30_954_640_384),
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


# transformers 5 fuses experts into three-dimensional parameters and renames some modules, so a mixture of experts is
# held against it by element counts per layer; dense families by exact name and shape.
RENAMED = {"exaone_moe", "qwen3_moe", "deepseek_v3", "kimi_k2", "llama4", "mistral3"}
MODELS = [
    n
    for n in [*COUNTS, "Llama-4-Maverick-17B-128E-Instruct"]
    if not n.startswith(("EXAONE-3", "EXAONE-Deep"))
]


@pytest.mark.parametrize("name", MODELS)
def test_layout_equals_transformers_on_the_meta_device(name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = {key: value for key, value in resolve(name).config().items() if key != "auto_map"}
    config.pop("quantization_config", None)
    kind = config["model_type"]
    if kind == "llama4":
        config = {**config["text_config"], "model_type": "llama4_text"}
    if kind == "kimi_k2":
        config["model_type"] = "deepseek_v3"
    settings = transformers.AutoConfig.for_model(**config)
    auto = (
        transformers.AutoModelForImageTextToText if kind == "mistral3" else transformers.AutoModelForCausalLM
    )
    with torch.device("meta"):
        model = auto.from_config(settings)
    theirs = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    ours = [spec for spec in expected_tensors(config) if not spec.buffer]
    if kind not in RENAMED:
        assert {spec.name: spec.shape for spec in ours} == theirs
        assert [spec.name for spec in ours] == list(theirs)  # the order of the state dict decides the shards
    assert sum(spec.elements for spec in ours) == sum(math.prod(shape) for shape in theirs.values())
    layers = {spec.layer for spec in ours if spec.layer is not None}
    for layer in sorted(layers)[:4]:
        mark = f"layers.{layer}."
        wanted = sum(math.prod(s) for n, s in theirs.items() if mark in n and "vision" not in n)
        assert sum(spec.elements for spec in ours if spec.layer == layer) == wanted


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
        ({"model_type": "mamba"}, "No layout for model_type 'mamba'"),
        ({"model_type": None}, "no model_type"),
        ({"model_type": ["exaone4"]}, "No layout for model_type"),
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


def test_every_family_has_a_name_a_user_can_read():
    with pytest.raises(WorkbookError) as caught:
        expected_tensors({"model_type": "x"})
    assert all(family in caught.value.expected for family in LAYOUTS)
