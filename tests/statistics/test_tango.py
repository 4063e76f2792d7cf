"""Tango's interval against worked examples, against the likelihood it comes from, and by counting how often it is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from statsmodels.stats.contingency_tables import mcnemar

from exaone_nb.errors import UsageError
from exaone_nb.statistics.paired import score_interval, score_statistic


@pytest.mark.parametrize(
    ("lost", "won", "n", "low", "high"),
    [(25, 0, 25, -100, -73.4), (1, 0, 25, -19.5, 9.9), (16, 0, 30, -69.8, -35.9), (4, 0, 100, -9.8, -0.2)],
)
def test_worked_examples_in_points(lost, won, n, low, high):
    found = score_interval(lost, won, n) * 100
    assert (round(found.low, 1), round(found.high, 1)) == (low, high)
    mirrored = score_interval(won, lost, n) * 100
    assert (round(mirrored.low, 1), round(mirrored.high, 1)) == (-high, -low)


@pytest.mark.parametrize(
    ("lost", "won", "n", "difference"), [(7, 3, 50, 0.1), (2, 9, 40, -0.3), (0, 5, 60, 0.02)]
)
def test_the_variance_is_that_of_the_likeliest_share_under_the_hypothesis(lost, won, n, difference):
    def loss(share):
        parts = ((lost, share), (won, share + difference), (n - lost - won, 1 - 2 * share - difference))
        return -sum(count * math.log(chance) for count, chance in parts if count)

    bounds = (max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
    share = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-13}).x
    variance = n * (2 * share + difference - difference**2)
    expected = (won - lost - n * difference) / math.sqrt(variance)
    assert score_statistic(lost, won, n, difference) == pytest.approx(expected, rel=1e-4)


def mcnemar_p(lost: int, won: int) -> float:
    """The p of the McNemar score test, the one whose interval this is; 1 where the models never part."""
    return float(mcnemar([[0, lost], [won, 0]], exact=False, correction=False).pvalue) if lost + won else 1.0


def test_interval_and_test_never_contradict_each_other():
    for n in (25, 100):
        for lost in range(12):
            for won in range(12):
                if abs(mcnemar_p(lost, won) - 0.05) > 1e-9:
                    assert score_interval(lost, won, n).excludes_zero == (mcnemar_p(lost, won) < 0.05)


@pytest.mark.parametrize("n", [25, 100, 512])
@pytest.mark.parametrize("shares", [(0.005, 0.0), (0.02, 0.01), (0.1, 0.1), (0.15, 0.05)])
def test_it_holds_the_truth_as_often_as_it_says(n, shares):
    """Tango's own figures lie between 93.9 and 100 %."""
    lost, won = shares
    draws = np.random.default_rng(7).multinomial(n, [lost, won, 1 - lost - won], size=2000)
    pairs, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    hits = 0
    for (one, two), count in zip(pairs.tolist(), times.tolist(), strict=True):
        found = score_interval(one, two, n)
        hits += count * (found.low <= won - lost <= found.high)
    assert hits / 2000 >= 0.93


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(UsageError, match="lost"):
        score_interval(*counts)
