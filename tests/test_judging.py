"""The score's formula by hand, its interval by simulation, and the Pareto front by definition."""

from __future__ import annotations

import numpy as np
import pytest

from exaone_nb import judging
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.scoreboard import dominators
from exaone_nb.statistics import draws as uncertainty
from exaone_nb.statistics.estimate import Estimate


def test_the_base_scores_half_and_examples_by_hand():
    def score(accuracy, times):
        return float(judging.score(performance=accuracy, performance_base=1, seconds=times, seconds_base=1))

    assert score(1, 1) == 0.5
    assert score(0.98, 0.75) == pytest.approx(0.49 + 0.125)
    assert score(1.1, 1.3) == pytest.approx(0.55 - 0.15)  # better than the base, and slower
    assert score(0.1, 3) == 0.0  # never below zero


def test_perf_norm_is_a_ratio_and_speed_norm_a_difference_of_ratios():
    # Chosen so that a difference of accuracies, or tokens per second in place of seconds per token, would differ.
    value = judging.score(performance=0.30, performance_base=0.40, seconds=0.5, seconds_base=2.0)
    assert float(value) == pytest.approx(0.5 * 0.75 + 0.5 * 0.75)


def test_weights_of_both_phases_have_sources_and_add_up():
    two, three = judging.weights_of("phase2"), judging.weights_of("phase3")
    assert (two.performance, two.speed, two.size) == (0.5, 0.5, 0.0)
    assert (three.performance, three.speed, three.size) == (0.6, 0.2, 0.2)
    assert two.source and three.source
    value = judging.score(
        performance=1, performance_base=1, seconds=1, seconds_base=1, size=1, size_base=4, weights=three
    )
    assert float(value) == pytest.approx(0.6 + 0.2 * 0.75)
    assert all(rule.source and rule.date for rule in judging.rules().values())


@pytest.mark.parametrize("weights", [(0.5, 0.6, 0), (1.5, -0.5, 0), (float("nan"), 0.5, 0.5)])
def test_weights_that_do_not_add_up_are_refused(weights):
    with pytest.raises(UsageError):
        judging.Weights(*weights)


@pytest.mark.parametrize(
    "wrong", [{"performance_base": 0}, {"seconds_base": 0}, {"seconds": -1}, {"seconds_base": float("nan")}]
)
def test_a_base_of_nothing_has_no_score(wrong):
    with pytest.raises(WorkbookError):
        judging.score(**{"performance": 1, "performance_base": 1, "seconds": 1, "seconds_base": 1} | wrong)


def test_size_weights_need_sizes():
    with pytest.raises(UsageError):
        judging.score(
            performance=1,
            performance_base=1,
            seconds=1,
            seconds_base=1,
            weights=judging.weights_of("phase3"),
        )


def test_resampling_pairs_candidates_and_has_the_spread_of_theory():
    rng = np.random.default_rng(1)
    hard = rng.random(400)
    base, candidate = (hard < 0.6).astype(float), (hard < 0.55).astype(float)
    draws = uncertainty.resampled_means(np.array([base, candidate]), 20_000, rng)
    for row, values in zip(draws, (base, candidate), strict=True):
        assert row.std() == pytest.approx(values.std() / 20, rel=0.03)
    difference = base - candidate
    assert (draws[0] - draws[1]).std() == pytest.approx(difference.std() / 20, rel=0.03)
    assert (draws[0] - draws[1]).std() < 0.5 * np.hypot(draws[0].std(), draws[1].std())


def test_the_interval_of_the_score_covers_the_truth():
    """2 x 400 experiments with a known score: 95 % intervals hold it in 95 % of them, within Monte Carlo error."""
    rng = np.random.default_rng(7)
    accuracy_base, accuracy, seconds_base, seconds, error = 0.7, 0.65, 1.0, 0.8, 0.03
    truth = 0.5 * accuracy / accuracy_base + 0.5 * (1 - seconds / seconds_base)
    held = 0
    for _ in range(400):
        hard = rng.random(300)
        items = np.array([hard < accuracy_base, hard < accuracy], dtype=float)
        drawn = uncertainty.resampled_means(items, 1500, rng)
        times = []
        for value in (seconds_base, seconds):
            measured = value * np.exp(rng.normal(0, error))
            ends = measured * np.exp(np.array([-1, 1]) * uncertainty.Z95 * error)
            times.append(uncertainty.drawn(Estimate(measured, *ends), 1500, rng, positive=True))
        scores = judging.score(
            performance=drawn[1], performance_base=drawn[0], seconds=times[1], seconds_base=times[0]
        )
        found = uncertainty.estimate_of(0, scores)
        low, high = found.low, found.high
        held += low <= truth <= high
    # 400 x 0.95 = 380, standard error 4.4; the bootstrap over 300 items is a little narrow.
    assert 362 <= held <= 395


def test_draws_from_an_interval_have_that_interval():
    rng = np.random.default_rng(3)
    found = uncertainty.estimate_of(2.0, uncertainty.drawn(Estimate(2.0, 1.9, 2.1), 100_000, rng))
    low, high = found.low, found.high
    assert (low, high) == (pytest.approx(1.9, abs=0.005), pytest.approx(2.1, abs=0.005))
    assert set(uncertainty.drawn(Estimate(2.0), 10, rng)) == {2.0}
    with pytest.raises(WorkbookError):
        uncertainty.drawn(Estimate(3.0, 1.0, 2.0), 10, rng)
    with pytest.raises(WorkbookError, match="zero or below"):
        uncertainty.drawn(Estimate(1.0, -0.5, 2.5), 10, rng, positive=True)


def test_shares_of_being_best_add_up_and_ties_are_shared():
    shares = uncertainty.share_best({"a": np.array([1, 2, 3]), "b": np.array([1, 1, 5])})
    assert shares == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}


def test_too_few_items_or_nan_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(WorkbookError):
        uncertainty.resampled_means(np.ones((2, 1)), 1000, rng)
    with pytest.raises(WorkbookError):
        uncertainty.resampled_means(np.array([[1, np.nan, 0]]), 1000, rng)


def test_the_front_is_what_nobody_dominates():
    points = {"base": (0.8, 100, 10), "small": (0.7, 30, 12), "worse": (0.7, 30, 13), "fast": (0.75, 50, 5)}
    table = np.array(list(points.values()))[:, :, None]  # [candidates, axes, draws]
    found = np.array([dominators(one, table, (True, False, False))[:, 0] for one in table])
    names = list(points)
    assert {names[i]: names[j] for i, j in np.argwhere(found)} == {"worse": "small"}
    # By definition: nobody dominates back, and equal points do not dominate each other.
    assert not (found & found.T).any()
    with pytest.raises(ValueError):
        dominators(table[0], table, (True, True))


def test_the_front_is_another_one_in_every_draw():
    draws = np.array([[[1.0, 0.0], [5, 5]], [[0.5, 0.5], [5, 5]]])
    assert dominators(draws[0], draws, (True, False)).tolist() == [[False, False], [False, True]]
    assert dominators(draws[1], draws, (True, False)).tolist() == [[True, False], [False, False]]
