"""Every chapter executed on nano, as `exaone-nb run` does it, and what its pages show.

Smaller counts than the chapters' own keep the tests short; nothing is left out. The defaults are what `make report`
runs.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest

from exaone_nb.paths import NANO
from exaone_nb.workbook import store
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.runner import run

CHAPTERS = discover()
SMALLER = {
    "MIXTURE_STEPS": 20,  # config and tensors
    "RACE_STEPS": 12, "COST_ROUNDS": 2,  # QK-Reorder-LN
    "DOCUMENTS": 48, "FIT_TEXTS": 16,  # number formats, quantization
    "QUESTIONS": 16, "SHAPE_LAYERS": 1, "REPEATS": 2, "ROUNDS": 2, "USERS": 4,  # speed
    "LIMIT": 96,  # scoring
}  # fmt: skip
pytestmark = [pytest.mark.notebook, pytest.mark.heavy]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run(parameters=SMALLER, out=tmp_path_factory.mktemp("runs") / "nano")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.slug)
def test_chapter_runs_to_its_end(report, chapter):
    (outcome,) = [o for o in report.outcomes if o.number == chapter.number]
    assert outcome.state == "ok", outcome.failure or outcome.why
    written = [p for pattern in chapter.writes for p in report.path.glob(pattern)]
    assert bool(written) == bool(chapter.writes), f"{chapter.slug} says that it writes {chapter.writes}"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.slug)
def test_page_is_whole_and_described(report, chapter):
    html = store.page_path(report.path, chapter.slug).read_text(encoding="utf-8")
    pictures = re.findall(r"<img\b[^>]*>", html)
    assert [p[:80] for p in pictures if not re.search(r'alt="[^"]+"', p)] == []
    assert not re.search(r'<(?:img|script|link|iframe|source)[^>]*\b(?:src|href)="(?!data:)[^"]', html)
    document = json.loads(store.notebook_path(report.path, chapter.slug).read_text(encoding="utf-8"))
    errors = [o for c in document["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]
    assert errors == [] and '<code class="tex">' not in html


def test_what_the_chapters_break_on_purpose_breaks(report):
    """The slots for guesses keep what was measured: the positive controls of inference, speed and scoring."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["truth"]
        for path in (report.path / "guesses").glob("*.json")
    }
    assert found["08__GUESS_R1_RIGHT"] == 0  # the wrong parser leaves no answer
    assert found["08__GUESS_BARE"] < 60  # percent; with the template nano is right in about 90
    assert found["08__GUESS_FP8_CACHE"] == pytest.approx(2, rel=0.05)  # 8 bits instead of 16
    assert found["09__GUESS_ELAPSED"] > 0.2  # answers cut short look fast
    assert found["09__GUESS_RUNAWAY"] > 2  # one answer of 1,024 tokens among answers of about 25
    assert found["10__GUESS_NO_TEMPLATE"] > 20 and found["10__GUESS_TWO_BITS"] > 5


def test_check_names_every_fault_that_the_scoreboard_chapter_plants(report):
    page = store.page_path(report.path, "11_scoreboard").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]*>", "", page)  # without what keeps "top-level" in one line
    for words in (
        "There is no top-level folder",
        "lm_head.weight_scale",
        "No eos_token_id",
        "does not use the KV-cache scales",
        "README.md line 1 looks like a Hugging Face token",
    ):
        assert words in text, words


def test_nothing_unchanged_is_run_again(report):
    again = run(parameters=SMALLER, out=report.path)
    assert {o.number: o.state for o in again.outcomes} == {c.number: "cached" for c in CHAPTERS}


def test_without_a_board_a_checkpoint_that_the_judge_can_read_is_packed(tmp_path):
    for name in ("baseline", "Q4_K_M", "w8a8"):
        shutil.copytree(NANO, tmp_path / "checkpoints" / name)
    (tmp_path / "checkpoints/Q4_K_M/model.safetensors").rename(
        tmp_path / "checkpoints/Q4_K_M/nano-Q4_K_M.gguf"
    )
    done = run(["11"], {"LOAD": False}, out=tmp_path)
    assert done.exit_code == 0, done.outcomes[0].failure
    page = store.page_path(done.path, done.outcomes[0].slug).read_text(encoding="utf-8")
    assert re.search(r"w8a8: [\d,]+ bytes, sha256", page) and "no results for" in page
