"""Which layers look how far back, read from every kind of config the catalog holds, and from bad ones."""

from __future__ import annotations

from collections import Counter

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.attention import CachedLayer, cached_layers, layer_kinds
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
