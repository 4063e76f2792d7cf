"""The stored submissions, and what the code concludes from them and from made-up ones."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace

import pytest

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score import leaderboard, small_models


def test_every_stored_submission_has_a_source_and_a_possible_score():
    found = leaderboard.submissions()
    assert len(found) > 60
    for s in found:
        assert "/" in s.repository and s.where and s.date.startswith("2026-")
        assert 0.2 < s.score < 0.65
        assert s.evidence in ("log", "table", "text", "file name")
    assert {s.score for s in found if s.family == "BF16" and s.minutes} == {0.5060308894, 0.4993294423}


def test_the_times_fall_into_two_groups_with_the_scores():
    split = leaderboard.groups()
    assert len(split.fast) == len(split.slow) == 9
    assert min(s.score for s in split.fast) > max(s.score for s in split.slow) + 0.05
    assert {s.family for s in split.fast} & {s.family for s in split.slow} >= {"FP8", "W4A16"}
    assert split.of_score(0.45) == "slow"
    assert split.of_score(0.55) == "neither"
    assert split.of_score(0.647) == "fast"


def test_rerun_noise_by_hand():
    noise = leaderboard.rerun_noise()
    a, b = 0.6219616518 - 0.6194291468, 0.5060308894 - 0.4993294423
    assert noise.pairs == 2
    assert noise.sd == pytest.approx(math.sqrt((a * a + b * b) / 4))
    # chi-square quantiles with 2 degrees of freedom: 7.378 and 0.0506
    assert noise.low == pytest.approx(noise.sd * math.sqrt(2 / 7.3778), rel=1e-3)
    assert noise.high == pytest.approx(noise.sd * math.sqrt(2 / 0.050636), rel=1e-3)
    with pytest.raises(WorkbookError):
        leaderboard.rerun_noise([])


def test_what_was_submitted_twice_is_a_field_not_a_wording():
    """The pairs do not hang on how a participant's words were copied."""
    found = [replace(s, detail=f"thing {i}") for i, s in enumerate(leaderboard.submissions())]
    assert leaderboard.rerun_noise(found) == leaderboard.rerun_noise()
    assert leaderboard.local_against_server(found)[2] == leaderboard.local_against_server()[2]
    with pytest.raises(WorkbookError, match="twice"):
        leaderboard.rerun_noise([replace(s, artifact="") for s in found])


def test_verdicts_separate_no_effect_jump_noise_and_the_rest():
    split, noise = leaderboard.groups(), leaderboard.rerun_noise()
    example = leaderboard.Conclusion("b", 0.60, 0.597, True, "w", "r", "w", None)
    assert (
        leaderboard.verdict(example, split, noise)[1]
        == "noise: two submissions of the same can differ as much"
    )
    assert leaderboard.verdict(replace(example, worse=0.58), split, noise)[1].startswith(
        "open: more than the noise"
    )
    assert leaderboard.verdict(replace(example, worse=0.50), split, noise)[1].startswith(
        "open: the scores lie in two groups"
    )
    large = replace(example, worse=0.30)
    assert leaderboard.verdict(large, split, noise)[1] == "real: it survives"
    assert leaderboard.verdict(replace(large, counterexample=0.632), split, noise)[1].endswith("scored 0.632")
    assert "no effect" in leaderboard.verdict(replace(example, takes_effect=False), split, noise)[1]
    scores = {s.score for s in leaderboard.submissions()}
    for conclusion in leaderboard.read_rows(leaderboard.FOLDER / "conclusions.csv", leaderboard.Conclusion):
        assert {conclusion.better, conclusion.worse} <= scores
        assert conclusion.counterexample in {None, *scores}


def test_local_scores_did_not_predict_the_server():
    from scipy.stats import spearmanr

    rho, p, n = leaderboard.local_against_server()
    chosen = [s for s in leaderboard.submissions() if s.local_score and "again" not in s.detail]
    assert n == len(chosen) == 7, "a thing that was submitted twice counts once"
    assert rho == pytest.approx(
        spearmanr([s.local_score for s in chosen], [s.score for s in chosen]).statistic
    )
    assert 0.05 < p <= 1


@pytest.mark.parametrize("wrong", ["no columns", "score", "minutes"])
def test_a_damaged_file_is_refused_with_its_line(wrong, tmp_path):
    path = tmp_path / "submissions.csv"
    rows = list(csv.reader(open(leaderboard.FOLDER / "submissions.csv", encoding="utf-8", newline="")))  # noqa: SIM115
    if wrong == "no columns":
        rows[0] = ["a", "b"]
    else:
        rows[2][rows[0].index(wrong)] = "12.75"[: 5 if wrong == "minutes" else 2] + (
            "x" if wrong == "score" else ""
        )
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)
    with pytest.raises(WorkbookError, match="unknown key 'a'" if wrong == "no columns" else "line 3"):
        leaderboard.read_rows(path, leaderboard.Submission)


@pytest.mark.parametrize("mode", small_models.MODES)
def test_the_context_counts_on_how_many_benchmarks_ours_is_above(mode):
    words = small_models.standing_words(mode)
    above = {"non-reasoning": 21, "reasoning": 16}[mode]
    assert re.search(rf"Qwen3-0\.6B on {above} of \d+ \(", words)


def test_an_unknown_mode_is_a_wrong_call():
    with pytest.raises(UsageError):
        small_models.small_models("fast")
