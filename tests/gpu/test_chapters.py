"""Every chapter on nano where there is a card."""

import json

import pytest

from exaone_nb.compress import manifest
from exaone_nb.engines.environment import has_vllm
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.runner import run

pytestmark = [pytest.mark.notebook, pytest.mark.heavy]
SMALLER = {
    "RACE_STEPS": 12, "DOCUMENTS": 32, "FIT_TEXTS": 8, "QUESTIONS": 16, "REPEATS": 2, "ROUNDS": 2, "LIMIT": 64,
    "BACKEND": "vllm" if has_vllm() else "hf",
}  # fmt: skip
# Without vLLM there are no speeds, and so no board.
NEEDS_SPEED = "scoreboard"


@pytest.fixture(scope="module")
def report(card, tmp_path_factory, measured):
    def progress(event):
        if event.kind not in ("start", "cell"):
            measured(f"chapter {event.chapter.slug}", ended=event.kind, text=event.text)

    done = run(parameters=SMALLER, out=tmp_path_factory.mktemp("runs") / "nano", progress=progress)
    for one in done.outcomes:
        failure = str(one.failure or one.why_not)
        measured(f"chapter {one.slug}", state=one.state, seconds=one.seconds, failure=failure)
    return done


@pytest.mark.parametrize("chapter", discover(), ids=lambda c: c.slug)
def test_chapter_runs_to_its_end(report, chapter):
    if chapter.slug.endswith(NEEDS_SPEED) and not has_vllm():
        pytest.skip("vLLM is not installed here, so no speed was measured: make install")
    (outcome,) = [o for o in report.outcomes if o.number == chapter.number]
    assert outcome.state == "ok", outcome.failure or outcome.why_not


def test_checkpoints_were_made_on_the_card(report):
    made = [json.loads(path.read_text()) for path in report.path.glob(f"checkpoints/*/{manifest.NAME}")]
    made = [one for one in made if one.get("fingerprint")]
    assert made and all(one["gpu_peak_bytes"] > 0 for one in made)


def test_what_is_rounded_by_hand_is_what_llm_compressor_wrote_on_this_card(report):
    (page,) = report.path.glob("notebooks/06_*.ipynb")
    printed = [
        "".join(output.get("text", ""))
        for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
    ]
    assert any("equal, bit by bit" in text for text in printed)
