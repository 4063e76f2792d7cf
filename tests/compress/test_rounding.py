"""Rounding in memory is what the checkpoint of the same recipe holds."""

from __future__ import annotations

import pytest

from exaone_nb.compress import damage, models
from exaone_nb.compress import quantize as maker
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.formats import dequantize
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.rounding import rounded, rounded_weight
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO
from exaone_nb.quantization.schemes import QuantArgs, find_scheme
from tests.page import gptq_functions

torch = pytest.importorskip("torch")
needs_nano = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_integers_are_those_that_the_files_hold(bits):
    """The chapter's `round_to_nearest` is held bit by bit against llm-compressor's files elsewhere."""
    round_to_nearest, *_ = gptq_functions()
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(bits)).bfloat16()
    for args, size in ((QuantArgs(bits, "int", "group", 32), 32), (QuantArgs(bits, "int", "channel"), 64)):
        assert torch.equal(rounded_weight(weight, args), dequantize(*round_to_nearest(weight, size, bits)))
    flat = rounded_weight(weight, QuantArgs(bits, "int", "tensor"))
    assert torch.equal(
        flat.reshape(1, -1), dequantize(*round_to_nearest(weight.reshape(1, -1), weight.numel(), bits))
    )
    assert flat.unique().numel() <= 2**bits


def test_a_wider_model_rounds_in_the_stored_dtype():
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    args = QuantArgs(4, "int", "group", 32)
    wide = rounded_weight(weight.float(), args, torch.bfloat16)
    assert wide.dtype == torch.float32 and torch.equal(wide.bfloat16(), rounded_weight(weight, args))


def test_activations_are_rounded_token_by_token():
    """By hand: each token's largest input lies halfway beyond the top of 256 codes, as for the weights of a channel."""
    layer, x = (
        torch.nn.Linear(64, 8, bias=False),
        torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(1)),
    )

    def by_hand(rows):
        scale = rows.abs().amax(-1, keepdim=True) / 127.5
        return (rows / scale).round().clamp(-128, 127) * scale

    wanted = by_hand(x) @ by_hand(layer.weight.detach()).T
    with rounded(torch.nn.ModuleDict({"only": layer}), {"only": find_scheme("W8A8")}):
        assert torch.allclose(layer(x), wanted, atol=1e-6)
    assert not torch.allclose(layer(x), wanted, atol=1e-4)


@needs_nano
def test_the_model_is_as_before_afterwards():
    model = models.open_model(NANO)
    name, ids = "model.layers.1.mlp.down_proj", torch.tensor([[5, 6, 7]])
    head, before = model.lm_head.weight, model(ids).logits
    with rounded(model, {name: find_scheme("W8A8"), "lm_head": find_scheme("W4A16")}):
        assert not torch.equal(model(ids).logits, before)
        assert model.model.embed_tokens.weight is head and model.lm_head.weight is not head
    assert torch.equal(model(ids).logits, before) and model.lm_head.weight is head
    assert not model.get_submodule(name)._forward_pre_hooks


@pytest.mark.parametrize("scheme", ["NVFP4A16", "FP8", "FP8_BLOCK"])
def test_what_needs_more_than_the_weights_is_refused(scheme):
    with (
        pytest.raises(UsageError, match="cannot be tried in memory"),
        rounded(None, {"x": find_scheme(scheme)}),
    ):
        pass


@needs_nano
@pytest.mark.heavy
@pytest.mark.parametrize("name", ["w4a16_rtn", "w8a8", "fp8_dynamic", "W4A16_ASYM"])
def test_memory_and_file_lose_the_same(tmp_path, name):
    recipe = {"method": "rtn", "scheme": name, "ignore": ["lm_head"]} if name.isupper() else name
    plan = make_plan("nano", recipe)
    maker.quantize("nano", recipe, tmp_path / name, sanity=False)
    schemes = plan.by_module
    model = models.open_model(NANO)
    with rounded(model, schemes):
        weights = damage.linear_weights(model)
    stored = damage.dequantized_weights(tmp_path / name)
    assert all(torch.equal(weights[module], stored[module]) for module in stored)
    written = models.open_model(tmp_path / name)
    for text in damage.documents(NANO, TextSource("nano_heldout"), 4):
        with rounded(model, schemes):
            here = damage.log_probabilities(model, text)
        assert torch.equal(here, damage.log_probabilities(written, text))
