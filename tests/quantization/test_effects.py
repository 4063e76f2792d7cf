"""What a setting does, by version; today's llm-compressor is asked itself."""

from __future__ import annotations

import re

import pytest

from exaone_nb.paths import ROOT
from exaone_nb.quantization import effects
from exaone_nb.quantization.effects import actorder, cache_finding

FP8 = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True}


def test_the_version_that_quantizes_here_is_the_locked_one():
    pins = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    assert re.search(r"^llmcompressor==(\S+)", pins, re.MULTILINE)[1] == effects.OUR_LLMCOMPRESSOR


@pytest.mark.parametrize(
    ("version", "answer"),
    [("0.9.0.1", "no"), ("0.10.0.4", "no"), ("0.11.0", "yes"), ("0.14.0.1", "yes"), ("0.12.3.a20251114", "yes"), ("0.10.5", "unknown"), ("", "unknown")],
)  # fmt: skip
def test_an_order_of_columns_on_one_scale_per_channel(version, answer):
    """Read in the wheels of 0.9.0.1, 0.10.0.4, 0.11.0, 0.12.0.2, 0.13.0 and 0.14.0.1."""
    assert actorder("static", "channel", llmcompressor=version).answer == answer
    assert actorder("static", "group", llmcompressor=version).answer == "yes"


@pytest.mark.heavy
@pytest.mark.parametrize(("strategy", "group_size"), [("channel", 128), ("group", 32)])
def test_todays_library_agrees(strategy, group_size):
    torch = pytest.importorskip("torch")
    from exaone_nb.compress.llmcompressor_adapter import library_codes

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 128, generator=generator)
    inputs = torch.randn(256, 128, generator=generator) * torch.linspace(0.1, 3, 128)
    seen = inputs.T @ inputs / len(inputs)
    ordered, plain = (library_codes(weight, seen, 4, group_size, order) for order in ("static", None))
    changed = float((ordered != plain).float().mean()) > 0
    effect = actorder("static", strategy, llmcompressor=effects.OUR_LLMCOMPRESSOR)
    assert effect.answer == ("yes" if changed else "no")


@pytest.mark.parametrize(
    ("scheme", "today", "judge"),
    [
        (FP8, "note", "no-op"),
        (
            FP8 | {"num_bits": 4},
            "error",
            "no-op",
        ),  # 0.14.1 refuses only what is neither float nor 8 bits wide
        (FP8 | {"type": "int"}, "error", "no-op"),
        (FP8 | {"type": "int", "num_bits": 4}, "error", "error"),
        (FP8 | {"strategy": "attn_head"}, "note", "error"),
        (FP8 | {"symmetric": False}, "error", "error"),
    ],
)
def test_what_each_version_does_with_a_quantized_cache(scheme, today, judge):
    assert [cache_finding(scheme, engine).level for engine in ("0.32", "0.14.1")] == [today, judge]
