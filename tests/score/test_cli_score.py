"""The verb compare, as typed: JSON alone on stdout, errors on stderr, exit codes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from exaone_nb.cli import main


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    # The terminal view is wrapped to the width of the terminal.
    return int(ended.value.code or 0), out if "--json" in arguments else " ".join(out.split()), err


def samples(folder: Path, right: list[int]) -> str:
    """A samples file of lm-eval without a results file beside it; item i is right when right[i]."""
    folder.mkdir(parents=True)
    rows = [
        {
            "doc_id": i,
            "doc_hash": hashlib.sha256(str(i).encode()).hexdigest(),
            "prompt_hash": "same",
            "filter": "none",
            "metrics": ["acc"],
            "acc": value,
        }
        for i, value in enumerate(right)
    ]
    path = folder / "samples_toy_2026-01-01T00-00-00.000000.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_two_files_written_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = samples(tmp_path / "a", [1] * 160 + [0] * 60)
    candidate = samples(tmp_path / "b", [1] * 133 + [0] * 27 + [1] * 10 + [0] * 50)
    code, out, _ = call(capsys, "compare", base, candidate, "--json")
    (found,) = json.loads(out)["comparisons"]
    assert code == 0 and found["verdict"] == "worse" and found["task"] == "toy"
    code, out, _ = call(capsys, "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert code == 0 and "Worse, and not by chance" in out and "recovery 89.4 %" in out


def test_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "compare", "--plan", "--drop", "0.02", "--differing", "0.1", "--json")
    assert code == 0 and json.loads(out)["items_needed"] == 1960
    code, out, _ = call(capsys, "compare", "--plan")
    assert code == 0 and "1,960 items" in out
    code, _, err = call(capsys, "compare", "--plan", "--drop", "0.2")
    assert code == 2 and "impossible" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["compare"], 2, "needs a base and a candidate"),
        (["compare", "one"], 2, "needs a base and a candidate"),
        (["compare", "one", "one", "--out", "nowhere"], 1, "no accuracy of 'one'"),
        (["score", "nano", "--backend", "abacus"], 2, "No backend 'abacus'"),
        (["score", "nano", "--gen-kwargs", "{"], 2, "--gen-kwargs is not JSON"),
        (["score", "nano", "--gen-kwargs", "[]"], 2, "--gen-kwargs is a list"),
        (["score", "a=nano", "a=nano"], 2, "Two models are called 'a'"),
        (["score", "nano", "--preset", "gsm9k"], 2, "No preset 'gsm9k'"),
    ],
)
def test_calls_that_cannot_work(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = call(capsys, *arguments)
    assert (found, out) == (code, "") and words in err


def test_a_file_is_not_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = samples(tmp_path / "a", [1, 0, 1])
    code, _, err = call(capsys, "compare", path, path)
    assert code == 2 and "with itself" in err
