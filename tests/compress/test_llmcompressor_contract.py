"""What `llmcompressor_adapter` relies on that llm-compressor and torch do not promise: fails first on an upgrade."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from exaone_nb.compress import damage, models
from exaone_nb.compress import llmcompressor_adapter as adapter
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.rounding import rounded
from exaone_nb.paths import NANO
from tests.tiny_models import make

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.heavy


def test_the_version_is_the_one_that_was_checked():
    assert version("llmcompressor") == adapter.CHECKED


@pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_modules_that_gptq_gave_up_on_are_named(tmp_path, monkeypatch):
    """Some Hessians are made impossible to invert; the library's own run must report just those modules."""
    from llmcompressor.modifiers.gptq import base

    real, wide = base.prepare_batch, json.loads((NANO / "config.json").read_text())["intermediate_size"]

    def spoilt(batch, *rest):
        weights, hessians, *others = real(batch, *rest)
        if weights.shape[-1] == wide:
            hessians = -hessians
        return weights, hessians, *others

    monkeypatch.setattr(base, "prepare_batch", spoilt)
    said = []
    recipe = recipes.load("w4a16_gptq").with_calibration(samples=8, length=64)
    document = maker.quantize("nano", recipe, tmp_path / "made", sanity=False, progress=said.append)
    (problem,) = document["problems"]
    spoilt_names = problem.split(": ")[1].split(", ")
    assert spoilt_names == [f"model.layers.{i}.mlp.down_proj" for i in range(4)]
    assert any(line.startswith("Quantizing ") for line in said)


def test_one_weight_can_be_quantized_with_codes_a_loss_and_whether_it_was_only_rounded():
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    arguments = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="channel")
    weight, scale = torch.randn(1, 8, 32), torch.ones(1, 8, 1)
    zero = torch.zeros(1, 8, 1, dtype=torch.int8)
    made, _, rounded = quantize_weight(weight.clone(), torch.eye(32)[None], scale, zero, None, arguments, 128)
    assert made.shape == weight.shape and not rounded.any()
    *_, rounded = quantize_weight(weight.clone(), -torch.eye(32)[None], scale, zero, None, arguments, 128)
    assert rounded.all()


def test_memory_that_runs_out_is_recognised_in_torchs_own_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert adapter.is_out_of_memory(caught.value)
    assert adapter.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert adapter.is_out_of_memory(MemoryError()) and adapter.is_out_of_memory(OSError(12, "mmap"))
    assert not adapter.is_out_of_memory(RuntimeError("this memory is not enough of a reason"))
    assert not adapter.is_out_of_memory(OSError(28, "No space left on device"))


def test_without_an_accelerator_torch_still_refuses_to_pin_memory():
    """When this fails, or the library asks first, `_pin_memory_without_accelerator` can go.

    Asked of a fresh Python: what other tests loaded into this one may answer for torch.
    """
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator")
    code = "import torch; torch.zeros(1).pin_memory()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "RuntimeError" in done.stderr, done.stderr[-500:]


def test_a_library_without_the_private_part_is_said_with_both_versions():
    with (
        pytest.raises(adapter.WorkbookError, match=rf"no quantize_weight[\s\S]*{adapter.CHECKED}"),
        adapter._private("quantize_weight"),
    ):
        raise ImportError("cannot import name")


def test_handlers_of_others_stay():
    from loguru import logger

    with adapter.reporting(adapter.silent):  # the library's import has done what it does
        pass
    lines = []
    mine = logger.add(lines.append, level="INFO")
    try:
        with adapter.reporting(adapter.silent):
            pass
        logger.info("still heard")
        assert len(lines) == 1
    finally:
        logger.remove(mine)


def test_experts_are_modules_of_their_own_and_are_rounded_and_put_back(tmp_path):
    """transformers joins them to one tensor per layer; what `linearize_moe` makes of it would copy what is set."""
    from transformers import AutoModelForCausalLM

    folder = make("qwen3_moe", tmp_path / "moe")
    ids = torch.arange(20)[None]
    joined = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    apart = models.open_model(folder)
    with torch.no_grad():
        assert torch.equal(joined(ids).logits, apart(ids).logits)
    plan = make_plan(folder, "w4a16_rtn")
    before = {name: weight.clone() for name, weight in damage.linear_weights(apart).items()}
    assert set(plan.by_module) == set(before)
    with rounded(apart, plan.by_module):
        errors = damage.weight_errors(before, damage.linear_weights(apart))
    assert all(0.05 < error < 0.2 for error in errors.values())
    assert not any(damage.weight_errors(before, damage.linear_weights(apart)).values())
