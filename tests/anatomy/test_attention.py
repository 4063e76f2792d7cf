"""Which layers look how far back, read from every kind of config the catalog holds, and from bad ones."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.attention import CachedLayer, cached_layers, layer_kinds
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.errors import WorkbookError


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("EXAONE-4.0-1.2B", {("full", 0): 30}),
        ("EXAONE-4.0-32B", {("sliding", 4096): 48, ("full", 0): 16}),
        ("K-EXAONE-236B-A23B", {("sliding", 128): 36, ("full", 0): 12}),
        ("EXAONE-3.5-7.8B-Instruct", {("full", 0): 32}),
        ("gemma-3-1b-it", {("sliding", 512): 22, ("full", 0): 4}),
        ("gpt-oss-20b", {("sliding", 128): 12, ("full", 0): 12}),
        ("Llama-4-Maverick-17B-128E-Instruct", {("chunked", 8192): 36, ("full", 0): 12}),
        ("Qwen3-32B", {("full", 0): 64}),
        ("SmolLM3-3B", {("full", 0): 36}),
        ("Mistral-Small-3.2-24B-Instruct-2506", {("full", 0): 40}),
    ],
)
def test_layers_of_the_catalog(model: str, expected: dict) -> None:
    assert Counter(layer_kinds(config_of(model))) == expected


def test_full_layers_of_the_32b_are_every_fourth() -> None:
    kinds = [kind for kind, _ in layer_kinds(config_of("EXAONE-4.0-32B"))]
    assert [i for i, kind in enumerate(kinds) if kind == "full"] == list(range(3, 64, 4))


@pytest.mark.parametrize("pattern", [4, "LLLG"])
def test_pattern_without_layer_types(pattern: int | str) -> None:
    config = config_of("EXAONE-4.0-32B")
    expected = layer_kinds(config)
    config.pop("layer_types", None)
    assert layer_kinds(config | {"sliding_window_pattern": pattern}) == expected


def test_values_per_token() -> None:
    shared = CachedLayer("full", 0, num_heads=40, num_key_value_heads=8, width=256)
    assert shared.values_per_token() == 2048
    assert shared.values_per_token(2) == 1024
    assert shared.values_per_token(16) == 256, "ranks beyond the heads hold a copy of one"
    assert shared.values_per_token(every_head=True) == 5 * 2048
    latent = cached_layers(config_of("DeepSeek-R1"))[0]
    assert latent.values_per_token() == latent.values_per_token(8) == 512 + 64


def test_tokens_kept() -> None:
    assert CachedLayer("full", 0, 4, 4, 16).tokens_kept(10_000) == 10_000
    sliding = CachedLayer("sliding", 128, 4, 4, 16)
    assert (sliding.tokens_kept(50), sliding.tokens_kept(128), sliding.tokens_kept(10_000)) == (50, 128, 128)


QWEN = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 64,
    "num_hidden_layers": 5,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 100,
    "max_position_embeddings": 32768,
    "sliding_window": 2048,
}


@pytest.mark.parametrize(
    "change",
    [{}, {"use_sliding_window": True, "max_window_layers": 5}, {"use_sliding_window": True}],
    ids=str,
)
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_a_window_that_qwen_does_not_use(change: dict, engine: str, family: str) -> None:
    cache = kv_cache({**QWEN, "model_type": family, **change}, engine, max_model_len=32768)
    assert cache.bytes_per_request == 671_088_640  # 5 layers, 2 x 8 x 128 values of 2 bytes, 32,768 tokens


def test_vllm_refuses_a_window_on_some_layers_of_qwen() -> None:
    config = {**QWEN, "use_sliding_window": True, "max_window_layers": 3}
    assert [kind for kind, _ in layer_kinds(config)] == ["full"] * 3 + ["sliding"] * 2
    with pytest.raises(WorkbookError, match=r"vLLM 0\.32 refuses a sliding window on 2 of 5 layers"):
        kv_cache(config, "vllm", max_model_len=100)
    everywhere = {**config, "max_window_layers": 0}
    assert layer_kinds(everywhere, "vllm") == layer_kinds(everywhere) == [("sliding", 2048)] * 5


@pytest.mark.heavy
@pytest.mark.parametrize("first", [0, 3, 5, 28])
def test_what_vllms_qwen_asserts(first: int) -> None:
    """Qwen2Model (Qwen3's too) looks at the layers before it builds anything; what comes after is of no interest."""
    qwen = pytest.importorskip("vllm.model_executor.models.qwen2", reason="vLLM is not installed here")
    from transformers import AutoConfig

    config = {**QWEN, "use_sliding_window": True, "max_window_layers": first}
    settings = AutoConfig.for_model(**config)
    whole = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=settings), cache_config=None, quant_config=None
    )
    try:
        qwen.Qwen2Model.__init__(torch_module(qwen.Qwen2Model), vllm_config=whole)
    except AssertionError as error:
        refused = "some but all layers" in str(error)
    except Exception:  # past the assertion: nothing of this is a model
        refused = False
    try:
        layer_kinds(config, "vllm")
        ours = False
    except WorkbookError:
        ours = True
    assert ours is refused is (first == 3)


def torch_module(kind: type):
    """An object of the class on which only torch's own part was run."""
    import torch

    made = kind.__new__(kind)
    torch.nn.Module.__init__(made)
    return made


WINDOWS = [
    *[
        (family, {})
        for family in ("llama", "granite", "olmo2", "mistral", "mixtral", "phi3", "gemma2", "gemma3_text")
    ],
    *[
        (family, {})
        for family in ("gpt_oss", "olmo3", "cohere2", "exaone4", "exaone_moe", "qwen2", "qwen3", "smollm3")
    ],
    ("gemma3_text", {"sliding_window_pattern": 3}),
    ("cohere2", {"sliding_window_pattern": 3}),
    ("exaone4", {"sliding_window_pattern": 2}),
    ("qwen3", {"use_sliding_window": True, "max_window_layers": 3}),
    ("qwen2_moe", {"use_sliding_window": True, "max_window_layers": 3}),
    ("qwen3_moe", {"use_sliding_window": True}),
    ("qwen3_moe", {}),
    ("smollm3", {"use_sliding_window": True}),
]


@pytest.mark.parametrize(("family", "change"), WINDOWS, ids=str)
def test_windows_without_layer_types_equal_the_cache_of_transformers(family: str, change: dict) -> None:
    transformers = pytest.importorskip("transformers")
    config = {**QWEN, "model_type": family, "sliding_window": 16, "num_hidden_layers": 8, **change}
    config.pop("head_dim")
    settings = transformers.AutoConfig.for_model(**config)
    if getattr(settings, "layer_types", None) is not None:
        theirs = [{"f": "full", "s": "sliding"}[kind[0]] for kind in settings.layer_types]
    else:  # the model reads the window itself, or has none
        cache = transformers.DynamicCache(config=settings)
        sliding = bool(cache.layers) and cache.layers[0].is_sliding
        theirs = ["sliding" if sliding else "full"] * 8
    assert [kind for kind, _ in layer_kinds(config)] == theirs


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("llama", {}),
        ("mistral", {}),
        ("qwen3", {}),
        ("qwen3", {"use_sliding_window": True, "max_window_layers": 5}),
    ],
    ids=str,
)
def test_one_window_for_all_layers_as_vllm_sets_it(family: str, change: dict, tmp_path, monkeypatch) -> None:
    arguments = pytest.importorskip("vllm.engine.arg_utils", reason="vLLM is not installed here")
    config = {**QWEN, "model_type": family, **change}
    names = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen3": "Qwen3ForCausalLM"}
    config["architectures"] = [names[family]]
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = arguments.EngineArgs(
        str(tmp_path), skip_tokenizer_init=True, config_format="hf", max_model_len=64
    ).create_engine_config()
    window = made.cache_config.sliding_window
    assert layer_kinds(config, "vllm") == [("sliding", window) if window else ("full", 0)] * 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer_types": ["full_attention"] * 3}, "3 entries"),
        ({"layer_types": ["linear_attention"] * 30}, "linear_attention"),
        ({"layer_types": None, "sliding_window": 64, "model_type": "new"}, "not which layers"),
        ({"num_hidden_layers": "30"}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_key_value_heads": 5}, "cannot share"),
        ({"layer_types": ["sliding_attention"] * 30, "sliding_window": None}, "sliding_window"),
    ],
)
def test_bad_configs_are_refused_by_name(change: dict, said: str) -> None:
    with pytest.raises(WorkbookError, match=said):
        cached_layers(config_of("EXAONE-4.0-1.2B") | change)
