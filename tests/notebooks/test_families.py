"""Every chapter on tiny models of other families, with random weights: done, and what does not fit is said on the page.

Llama has widths that 128 does not divide, Qwen3 its norms before the blocks, Qwen3-MoE experts. None of them ends an
answer. The other families of `tests/tiny_models.py` are run by hand:

    python tests/tiny_models.py gemma3 runs/models/gemma3
    exaone-nb run -p MODEL runs/models/gemma3
"""

import html
import re

import pytest

from exaone_nb.workbook import store
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.runner import run
from tests.tiny_models import make

# Left out is what does not depend on the model: test_execute.py runs it.
SMALLER = {
    "RACE_STEPS": 0,
    "MIXTURE_STEPS": 0,
    "COST_ROUNDS": 2,
    "DEPTH": 4,
    "05": {"ENGINE": False},
    "DOCUMENTS": 8,
    "FIT_TEXTS": 0,
    "SAMPLES": 16,
    "SERVER": False,
    "09": {"SHAPE": "", "USERS": 0},
    "QUESTIONS": 4,
    "ROUNDS": 1,
    "REPEATS": 1,
    "BATCHES": [1],
    "BUDGET": 4,
    "LIMIT": 8,
}
# What each is quantized with.
RECIPES = {"llama": ["w4a16_rtn"], "qwen3": ["w8a8"], "qwen3_moe": ["w4a16_gptq"]}
# Chapter -> what its page says on this model.
SAID = {
    "llama": {
        "02": "W4A16 g64",
        "04": "Pre-LN: RMSNorm before attention and MLP",
        "06": "groups of 64, since 128 does not divide 192 inputs.*equal, bit by bit",
        "07": "nano_calibration: short arithmetic made for nano.*groups of 64, since 128 does not divide 192 inputs",
        "09": "did not end by themselves",
        "10": "tasks: everyday_mc, without a preset.*a few dozen items of the workbook's own",
        "11": "(No candidate is recommended|nothing to recommend).*Nothing is packed",
    },
    "qwen3": {
        "04": "Pre-LN with QK norm: RMSNorm before attention and MLP; also on queries and keys",
        "09": "did not end by themselves",
    },
    "qwen3_moe": {
        "04": "The experts of .* are left out",
        "06": "equal, bit by bit",
        "09": "did not end by themselves",
    },
}
pytestmark = [pytest.mark.notebook, pytest.mark.heavy]


@pytest.mark.parametrize("family", SAID)
def test_every_chapter_is_done_or_says_what_it_leaves_out(family, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # with a network, general text and gsm8k would be fetched
    model = make(family, tmp_path / family)
    values = {**SMALLER, "MODEL": str(model), "07": {"RECIPES": RECIPES[family]}}
    report = run(parameters=values, out=tmp_path / "run")
    failed = {o.number: o.failure or o.why for o in report.outcomes if o.state != "ok"}
    assert failed == {} and len(report.outcomes) == len(discover())
    pages = {
        o.number: store.page_path(report.path, o.slug).read_text(encoding="utf-8") for o in report.outcomes
    }
    for chapter, words in SAID[family].items():
        text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", pages[chapter])))
        assert re.search(words, text), f"chapter {chapter} does not say: {words}"
