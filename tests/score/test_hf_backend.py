"""Scoring through transformers, on nano: an evaluation that is killed goes on, and generation_config is used as in vLLM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exaone_nb.paths import NANO, ROOT
from exaone_nb.results import RunFolder
from exaone_nb.score.evaluate import score
from exaone_nb.score.samples import find_samples, read_rows
from exaone_nb.score.settings import Settings

pytestmark = pytest.mark.heavy
ITEMS = 64


def answers(run: RunFolder, recipe: str) -> list[str]:
    rows = read_rows(find_samples(run.path / "lm_eval" / recipe)["nano_gsm"])
    return [row["resps"][0][0] for row in rows if row["filter"] == "flexible-extract"]


def test_a_killed_evaluation_goes_on_inside_its_task(tmp_path: Path) -> None:
    run = RunFolder.at(tmp_path)
    command = [
        sys.executable, "-m", "exaone_nb", "score", "nano", "--tasks", "nano_gsm", "--backend", "hf",
        "--limit", str(ITEMS), "--out", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    folder, deadline = tmp_path / "lm_eval" / "nano", time.monotonic() + 300
    while not any(path.stat().st_size for path in folder.glob("answers_*.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline, "it ended, or kept nothing"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (kept,) = folder.glob("answers_*.jsonl")
    before = len(kept.read_text(encoding="utf-8").splitlines())
    assert 0 < before < ITEMS and not list(folder.glob("samples_*")) and not run.read_results()
    lines: list[str] = []
    (found,) = score(
        {"nano": "nano"}, ["nano_gsm"], run, Settings(backend="hf", limit=ITEMS), report=lines.append
    )
    (result,) = run.read_results("accuracy")
    assert result["details"]["answers_from_before"] >= before - 1 and found.estimate.n == ITEMS
    assert any("answers of an earlier start are kept" in line for line in lines)
    assert not list(folder.glob("answers_*"))
    # What an evaluation from its start answers: padding changes a few of a batch's last digits, no more.
    score({"whole": "nano"}, ["nano_gsm"], run, Settings(backend="hf", limit=ITEMS))
    same = sum(a == b for a, b in zip(answers(run, "nano"), answers(run, "whole"), strict=True))
    assert same >= 0.9 * ITEMS


def test_penalties_of_the_generation_config_are_not_applied(tmp_path: Path) -> None:
    """vLLM under lm-eval never looks at them; HFLM by itself applies them, and one folder had two scores."""
    other = tmp_path / "penalized"
    shutil.copytree(NANO, other)
    path = other / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 1.8, "do_sample": True}))
    run = RunFolder.at(tmp_path / "run")
    score({"plain": "nano", "other": other}, ["nano_gsm"], run, Settings(backend="hf", limit=6))
    assert answers(run, "plain") == answers(run, "other")
    record = {r["recipe"]: r["details"]["generation_config"] for r in run.read_results("accuracy")}
    assert record["other"]["not_applied"] == {"repetition_penalty": 1.8, "do_sample": True}
    assert record["plain"]["not_applied"] == {}
