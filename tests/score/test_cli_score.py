"""The verb compare, as typed: JSON alone on stdout, errors on stderr, exit codes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from exaone_nb.cli import main
from exaone_nb.results import RunFolder


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
    assert code == 0 and "Worse, and not by chance" in out and "89.4%" in out and "recovery" in out


def test_the_margin_is_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """25 lost and 28 won of 618: R's PropCIs::scoreci.mp(25, 28, 618, 0.90) is -0.0148 to 0.0247."""
    base = samples(tmp_path / "a", [1] * 325 + [0] * 293)
    candidate = samples(tmp_path / "b", [0] * 25 + [1] * 300 + [1] * 28 + [0] * 265)
    for margin, verdict in (("0.01", "undecided"), ("0.024", "undecided"), ("0.025", "equivalent")):
        code, out, _ = call(capsys, "compare", base, candidate, "--margin", margin, "--json")
        (found,) = json.loads(out)["comparisons"]
        assert code == 0 and (found["verdict"], found["margin"]) == (verdict, float(margin))
        assert found["within_level"] == 0.9 and found["within"] == pytest.approx([-0.0148, 0.0247], abs=5e-5)
    code, _, err = call(capsys, "compare", base, candidate, "--margin", "0")
    assert code == 2 and "margin" in err


def seed_run(folder: Path, right: dict[str, list[int]], **results: str) -> str:
    """A run folder with one scored task per recipe."""
    for recipe, values in right.items():
        path = Path(samples(folder / "lm_eval" / recipe, values))
        if results:
            path.with_name(path.name.replace("samples_toy", "results").replace("jsonl", "json")).write_text(
                json.dumps({"configs": {"toy": results}, "n-samples": {"toy": {"effective": len(values)}}}),
                encoding="utf-8",
            )
        RunFolder.at(folder).write_result(
            "accuracy",
            recipe=recipe,
            label="toy",
            value=sum(values) / len(values),
            unit="fraction",
            n=len(values),
            details={"metric": "acc,none", "samples_file": path.relative_to(folder).as_posix()},
        )
    return str(folder)


def test_seeds_are_averaged_before_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the candidate loses by the luck of one seed weighs less in the mean over three."""
    runs = [
        seed_run(
            tmp_path / f"s{seed}",
            # The candidate loses the items 0 to 19 for good, and ten more by the luck of the seed.
            {"base": [1] * 120, "worse": [0] * 20 + [int(i % 10 != seed) for i in range(100)]},
        )
        for seed in range(3)
    ]
    code, out, _ = call(capsys, "compare", "base", "worse", "--out", runs[0], "--json")
    (alone,) = json.loads(out)["comparisons"]
    assert code == 0 and alone["candidate"] == "worse" and alone["candidate_score"] == pytest.approx(90 / 120)
    seeds = ",".join(runs[1:])
    code, out, _ = call(capsys, "compare", "base", "worse", "--out", runs[0], "--seeds", seeds, "--json")
    (found,) = json.loads(out)["comparisons"]
    assert code == 0 and found["n"] == 120 and found["candidate"] == "worse (mean of 3 seeds)"
    assert found["test"] == "sign flip" and found["candidate_score"] == pytest.approx(90 / 120)
    width = {which: c["interval"][1] - c["interval"][0] for which, c in (("one", alone), ("three", found))}
    assert width["three"] < width["one"], "luck of the seed averages out"
    code, out, _ = call(capsys, "compare", "--help")
    assert code == 0 and "--seeds" in out


def test_seeds_that_do_not_belong_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {"base": [1, 0, 1, 1], "new": [1, 1, 0, 1]}
    one = seed_run(tmp_path / "one", right, generation_kwargs="cold")
    for seeds, told in (
        (one, "named twice"),
        (str(tmp_path / "nowhere"), "no accuracy of 'base'"),
        (seed_run(tmp_path / "short", {name: values[:3] for name, values in right.items()}), "other items"),
        (seed_run(tmp_path / "hot", right, generation_kwargs="hot"), "different generation settings"),
    ):
        code, out, err = call(capsys, "compare", "base", "new", "--out", one, "--seeds", seeds)
        assert code in (1, 2) and out == "" and told in err, told
    path = str(tmp_path / "one" / "lm_eval" / "new")
    code, _, err = call(capsys, "compare", "base", path, "--out", one, "--seeds", str(tmp_path / "two"))
    assert code == 2 and "is a path" in " ".join(err.split())


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
        (["compare", "one", "one", "--out", "nowhere"], 2, "no accuracy of 'one'"),
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


def test_without_tasks_the_model_decides_and_what_they_cannot_say_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from exaone_nb.score import evaluate

    asked: list[tuple[list[str], int | None]] = []

    def scored(models, names, run, settings, **options):
        asked.append((names, settings.limit))
        return []

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(evaluate, "score", scored)
    real = "LGAI-EXAONE/EXAONE-4.0-1.2B"
    out = ["--out", str(tmp_path / "run")]
    code, _, err = call(capsys, "score", real, *out)
    assert code == 0 and "HF_HUB_OFFLINE is set" in err and "everyday_mc:" in err
    code, _, err = call(capsys, "score", real, "--tasks", "gsm8k", "--preset", "lecture-gsm8k", *out)
    assert code == 0 and err.strip() == ""
    assert call(capsys, "score", "nano", "--limit", "7", *out)[0] == 0
    assert asked == [(["everyday_mc"], None), (["gsm8k"], 512), (["nano_gsm", "nano_gsm_ko", "nano_mc"], 7)]


def test_a_file_is_not_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = samples(tmp_path / "a", [1, 0, 1])
    code, _, err = call(capsys, "compare", path, path)
    assert code == 2 and "with itself" in err
