"""The real 1.2B's shape with random weights: what quantizing and answering take on the card. Values mean nothing."""

import subprocess
import sys

import pytest

from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.catalog import read_config
from exaone_nb.compress import damage, manifest, models, study
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.llmcompressor_adapter import library_codes
from exaone_nb.compress.plan import make_plan
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.transformers_engine import TransformersEngine
from exaone_nb.paths import ROOT
from tests.page import gptq_functions

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.heavy
GIB = 2**30
MODULE = "model.layers.14.mlp.down_proj"
_, hessian, gptq = gptq_functions()


@pytest.fixture(scope="module")
def model(real_shape):
    return models.open_model(real_shape)


@pytest.fixture(scope="module")
def texts(real_shape):
    return damage.documents(real_shape, TextSource("nano_heldout"), 64)


def test_a_forward_pass(model, texts, timer, measured):
    seconds = timer(lambda: [damage.log_probabilities(model, text) for text in texts[:16]]) / 16
    tokens = sum(len(text.ids) for text in texts[:16]) / 16
    measured(
        "forward pass, one text", seconds=seconds, tokens=tokens, peak_bytes=torch.cuda.max_memory_allocated()
    )
    assert model.device.type == "cuda" and seconds > 0


def test_gptq_on_one_layer(model, texts, timer, measured):
    seen = damage.layer_inputs(model, MODULE, texts)
    weight, curve = damage.linear_weights(model)[MODULE], hessian(seen)
    ours = timer(lambda: gptq(weight, curve, 128), 1)
    theirs = timer(lambda: library_codes(weight, curve, 4, 128), 1)
    same = float((gptq(weight, curve, 128)[0] == library_codes(weight, curve, 4, 128)).float().mean())
    measured("GPTQ on one down_proj [2048, 4096]", ours=ours, llm_compressor=theirs, same_codes=same)
    assert same > 0.99


def test_damage_of_one_plan(real_shape, model, texts, timer, measured):
    plan = make_plan(real_shape, "w4a16_rtn")
    (row,) = study.selection_study(model, {"all": plan}, texts[:32])
    seconds = timer(lambda: study.selection_study(model, {"all": plan}, texts[:32]), 1)
    measured("one row of a study, 32 texts", seconds=seconds)
    assert damage.per_token(row["kl"]).value > 0


@pytest.mark.parametrize("recipe", ["w8a8", "fp8_dynamic", "w4a16_gptq", "w4a16_rtn"])
def test_a_recipe_takes_the_memory_that_was_estimated(recipe, real_shape, tmp_path, measured):
    """In a process of its own: models of other tests, and what a library keeps, would be counted too."""
    out = tmp_path / recipe
    command = [
        sys.executable,
        "-m",
        "exaone_nb",
        "quantize",
        str(real_shape),
        "--recipe",
        recipe,
        "--out",
        str(out),
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    made = manifest.read(out)
    sizes = ("start_bytes", "peak_bytes", "gpu_peak_bytes", "actual_bytes")
    kept = ("seconds", *sizes, "estimated_peak_bytes", "estimated_gpu_peak_bytes", "calibration", "problems")
    measured(f"{recipe}, 30 layers", **{name: made[name] for name in kept})
    assert made["actual_bytes"] == made["predicted_bytes"] and made["problems"] == []
    for name in ("peak_bytes", "gpu_peak_bytes"):
        assert made[name] <= made[f"estimated_{name}"] <= 2 * made[name]
    candidate = models.open_model(out)
    assert candidate.device.type == "cuda"


def test_answers_through_transformers(real_shape, this_card, timer, measured):
    plan = plan_memory(
        read_config(real_shape / "config.json"), "BF16", this_card, engine="transformers", context=192
    )
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    with TransformersEngine(real_shape) as engine:
        assert engine.dtype == ("bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16")
        torch.cuda.reset_peak_memory_stats()
        # One token after the other, each through Python: no speed of serving, which needs vLLM (test_engines.py).
        seconds = timer(lambda: engine.generate([[5] * 128], Sampling(max_tokens=64, ignore_eos=True)), 3)
        used = torch.cuda.max_memory_allocated() - before
    measured(
        "transformers, 128 + 64 tokens", seconds=seconds, used_bytes=used, note="no speed of serving",
        predicted_weights=plan.weights, predicted_bytes=plan.weights + plan.overhead,
    )  # fmt: skip
    assert plan.weights <= used <= plan.weights + plan.overhead
    assert torch.cuda.memory_allocated() - before < GIB // 4
