"""vLLM on this CPU loads and runs what a plan says it can serve."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.serving import verdicts
from exaone_nb.paths import NANO

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
    ),
]

PROGRAM = """
import sys
from vllm import LLM, SamplingParams
model = LLM(sys.argv[1], enforce_eager=True, max_model_len=256, dtype="bfloat16", disable_log_stats=True)
made = model.chat([{"role": "user", "content": "Who are you?"}], SamplingParams(max_tokens=8, temperature=0))
print("MADE", len(made[0].outputs[0].token_ids))
"""


@pytest.mark.parametrize("name", ["w4a16_rtn", "w8a8"])
def test_vllm_agrees_with_the_plan(tmp_path, name):
    pytest.importorskip("vllm")
    recipe = recipes.load(name).with_calibration(samples=8, length=64)
    maker.quantize("nano", recipe, tmp_path / name, sanity=False)
    more = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / name)],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=300,
    )
    says = verdicts(make_plan("nano", recipe))[0]
    assert (done.returncode == 0 and "MADE" in done.stdout) == (says.answer == "yes"), (
        says,
        done.stderr[-2000:],
    )
