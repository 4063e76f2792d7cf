"""Every recipe, made on nano and loaded by vLLM on this CPU: it answers where the plan says yes, and nowhere else.

Recipes that can be made and not loaded, or only just, stand beside the workbook's own.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from exaone_nb.catalog import read_config
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.budget import Choices
from exaone_nb.compress.contest import draw
from exaone_nb.compress.plan import make_plan
from exaone_nb.hardware import this_cpu
from exaone_nb.paths import NANO
from tests.compress.quick import quick

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
    ),
]

NAMES = [name for name in recipes.names() if name != "w8a8_smoothquant"]  # which does not fit nano
MORE = {
    "split_qkv": {"scheme": "W4A16", "ignore": ["lm_head", "re:.*v_proj$"]},
    "head_by_class": {"scheme": "W4A16"},
    "one_scale": {"scheme": {"weights": {"num_bits": 4}}, "ignore": ["lm_head"]},
    "file_order": {
        "groups": [
            {"scheme": "W4A16", "targets": ["re:.*proj"]},
            {"scheme": "W8A8", "targets": ["re:.*o_proj"]},
        ]
    },
}
MORE["order_that_happens_to_fit"] = {
    "groups": [
        {"scheme": "W4A16", "targets": ["re:.*proj"]},
        {"scheme": "W8A8", "targets": ["re:.*(q|k|v)_proj"]},
    ]
}
# Three schemes in one model, as `plan --fit` chooses them: part by part, each layer for itself.
OFFER = Choices.of(read_config(NANO / "config.json"), ["W4A16", "W8A8", "BF16"], this_cpu())
FITTED = OFFER.recipe(draw(OFFER, 3_000_000, np.random.default_rng(0)))
MORE["fitted"] = {"groups": [vars(group) for group in FITTED.groups], "ignore": FITTED.ignore}
NAMES += MORE
LOAD_ALL = """
import json, sys
from pathlib import Path
from exaone_nb.errors import WorkbookError
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.vllm_engine import VllmEngine
for folder in sorted(Path(sys.argv[1]).iterdir()):
    found = {"recipe": folder.name, "text": "", "reason": ""}
    try:
        with VllmEngine(folder, max_model_len=256, kv_cache_gib=0.25, threads=1) as engine:
            ask = [{"role": "user", "content": "Who are you?"}]
            found["text"] = engine.chat(ask, sampling=Sampling(max_tokens=8)).text
    except WorkbookError as error:
        found["reason"] = str(error)
    print("LOADED", json.dumps(found), flush=True)
"""


def made_for_test(name):
    return quick(recipes.parse(MORE[name], name) if name in MORE else recipes.load(name))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Recipe -> what vLLM made of its checkpoint. One process for all: importing vLLM takes longer than loading."""
    pytest.importorskip("vllm")
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in NAMES:
        maker.quantize("nano", made_for_test(name), folder / name, sanity=False, unservable=True)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, str(folder)], capture_output=True, text=True, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    assert len(lines) == len(NAMES), done.stderr[-3000:]
    return {found["recipe"]: found for found in map(json.loads, (line[7:] for line in lines))}


@pytest.mark.parametrize("name", NAMES)
def test_vllm_agrees_with_the_plan(loaded, name):
    here = analyse(make_plan("nano", made_for_test(name))).verdicts[0]
    assert here.answer in ("yes", "no") and bool(loaded[name]["text"]) == (here.answer == "yes"), (
        here,
        loaded[name],
    )
