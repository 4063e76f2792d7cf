"""What a samples file may hold: lists of instructions, pairs, items that stand there twice, logs of older versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from exaone_nb.cli import main
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.compare import compare
from exaone_nb.score.samples import read_samples

DATE = "2026-11-23T03-47-27.192371"


def lines(metric: str, values: list[object], **common: object) -> list[dict[str, object]]:
    return [
        {
            "doc_id": i,
            "doc_hash": hashlib.sha256(str(i).encode()).hexdigest(),
            "prompt_hash": "p",
            "filter": "none",
            "metrics": [metric],
            "resps": [["7"]],
            "filtered_resps": ["7"],
            metric: value,
            **common,
        }
        for i, value in enumerate(values)
    ]


def write(folder: Path, rows: list[dict[str, object]], task: str = "toy") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# 10 of 18 instructions followed, by hand; 3 of 8 prompts altogether.
FOLLOWED = [
    [False, True],
    [True, False],
    [True],
    [True, True],
    [False, False, True],
    [True, False, False],
    [True, True],
    [False, False, True],
]


@pytest.mark.parametrize("metric", ["inst_level_strict_acc", "share_of_rules"])
def test_instructions_are_a_list_whatever_its_length(tmp_path: Path, metric: str) -> None:
    """As lm-eval adds IFEval up: the sum over the flat list by its length, 10 of 18."""
    found = read_samples(write(tmp_path, lines(metric, FOLLOWED)))
    assert (found.n, round(found.score, 4)) == (18, 0.5556)
    assert found.outcomes["correct"] == 3 and len(set(found.clusters)) == 8


def test_instructions_are_compared_as_such_with_the_prompts_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = [[False] * len(FOLLOWED[0]), *FOLLOWED[1:-2], [True, False], FOLLOWED[-1]]
    a = write(tmp_path / "a", lines("inst_level_strict_acc", FOLLOWED))
    b = write(tmp_path / "b", lines("inst_level_strict_acc", worse))
    found = compare(read_samples(a), read_samples(b))
    assert found.n == 18 and found.clusters == 8 and found.difference.value == pytest.approx(-2 / 18)
    assert found.prompt_level == (3 / 8, 2 / 8)
    assert "n = 18 instructions of 8 prompts" in found.words
    assert "All of a prompt's instructions: 0.3750 to 0.2500." in found.words
    with pytest.raises(SystemExit):
        main(["compare", str(a), str(b), "--json"])
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["prompt_level"] == [0.375, 0.25]


def test_pairs_that_one_formula_adds_up_are_no_scores(tmp_path: Path) -> None:
    """lm-eval logs f1 and mcc of a multiple-choice task as (right choice, chosen), which are no values and weights."""
    path = write(tmp_path, lines("f1", [[0, 1], [1, 1], [1, 0]]))
    with pytest.raises(WorkbookError, match=r"f1 = \[0, 1\]") as caught:
        read_samples(path)
    assert "from all items at once" in caught.value.expected and "--metric" in caught.value.remedy


def test_a_file_that_holds_its_items_twice_counts_them_once(tmp_path: Path) -> None:
    """24 right of 30 against 30 of 30: 6 lost, none won, exact p = 2 * 0.5^6 = .03125. Doubled it was .0005."""
    base, worse = lines("acc", [1] * 30), lines("acc", [0] * 6 + [1] * 24)
    found = compare(
        read_samples(write(tmp_path / "a", base * 2)), read_samples(write(tmp_path / "b", worse * 2))
    )
    assert found.n == 30 and found.p_value == pytest.approx(2 * 0.5**6)
    assert "30 lines of" in found.remarks[0] and "repeat an item" in found.remarks[0]
    one = read_samples(write(tmp_path / "c", [*base, *base[:1]]))
    assert one.n == 30 and "1 lines of" in one.remarks[0]


def test_two_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, lines("acc", [1, 0, 1]) + lines("acc", [1, 1, 1]))
    with pytest.raises(WorkbookError, match=r"Item 1 stands in .* two different outcomes") as caught:
        read_samples(path)
    assert "--seeds" in caught.value.remedy
    other = lines("acc", [1, 0, 1]) + lines("acc", [1, 0, 1], prompt_hash="another")
    with pytest.raises(WorkbookError, match="two different outcomes"):
        read_samples(write(tmp_path / "b", other))


def old(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """As lm-eval wrote lines before they named filter and metrics."""
    return [{k: v for k, v in row.items() if k not in ("filter", "metrics", "doc_hash")} for row in rows]


def test_a_log_of_an_older_lm_eval_is_read(tmp_path: Path) -> None:
    rows = old(
        lines("acc", [1, 0, 1, 1], acc_norm=0.0, doc={"question": "?"}, target="7", arguments=[["?", " 7"]])
    )
    found = read_samples(write(tmp_path, rows))
    assert (found.name.metric, found.score, found.n) == ("acc", 0.75, 4)
    assert "older lm-eval" in found.remarks[0]
    assert read_samples(write(tmp_path, rows), "acc_norm").score == 0
    with pytest.raises(UsageError, match="no metric 'f1'"):
        read_samples(write(tmp_path, rows), "f1")


def test_an_old_log_with_a_line_for_each_filter_is_refused_with_the_reason(tmp_path: Path) -> None:
    rows = old(lines("exact_match", [0, 0, 1])) + old(lines("exact_match", [1, 0, 1]))
    with pytest.raises(
        WorkbookError, match="older lm-eval: item 0 stands there once for each filter"
    ) as caught:
        read_samples(write(tmp_path, rows))
    assert "Score again" in caught.value.remedy
    with pytest.raises(WorkbookError, match="names no metric"):
        read_samples(write(tmp_path / "other", [{"question": "?", "answer": "7"}]))


def answers(texts: list[tuple[str, str, float]]) -> list[dict[str, object]]:
    """Text, what was read out of it, and its value."""
    rows = lines("exact_match", [value for _, _, value in texts])
    return [
        row | {"resps": [[text]], "filtered_resps": [extracted]}
        for row, (text, extracted, _) in zip(rows, texts, strict=True)
    ]


def test_unusable_answers_stand_beside_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chat against completions: what was lost is not knowledge, 17 against 248 answers hold no number."""
    good, bad = ("so 7", "7", 1.0), ("and so on", "[invalid]", 0.0)
    chat = answers([bad] * 17 + [good] * 303)
    bare = [row | {"prompt_hash": "bare"} for row in answers([bad] * 248 + [good] * 72)]
    a, b = write(tmp_path / "chat", chat), write(tmp_path / "bare", bare)
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(a), str(b)])
    assert ended.value.code == 1 and "--different-prompts" in capsys.readouterr().err
    found = compare(read_samples(a), read_samples(b), different_prompts=True)
    assert found.base_outcomes["unparsable"] == 17 and found.candidate_outcomes["unparsable"] == 248
    assert "unparsable 17 and 248" in found.words


def test_nothing_but_empty_answers_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = [row | {"finish_reason": "length"} for row in answers([("", "[invalid]", 0.0)] * 8)]
    a, b = write(tmp_path / "a", answers([("7", "7", 1.0)] * 8)), write(tmp_path / "b", empty)
    found = compare(read_samples(a), read_samples(b))
    assert "cut 0 and 8; empty 0 and 8" in found.words
    with pytest.raises(SystemExit):
        main(["compare", str(a), str(b)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "All 8 answers of" in shown and "reasoning parser" in shown
