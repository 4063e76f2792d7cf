"""Tango's interval against worked examples, against the likelihood it comes from, and by counting how often it is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from statsmodels.stats.contingency_tables import mcnemar

from exaone_nb.errors import UsageError
from exaone_nb.statistics.paired import (
    Discordant,
    ratio_interval,
    ratio_statistic,
    score_interval,
    score_statistic,
)
from exaone_nb.statistics.verdicts import RightOrWrong, p_different


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
    ("first", "second", "n", "level", "low", "high"),
    [
        # Tango (1998), his tables I and II; "first" are the pairs with the event under the first condition only.
        (9, 3, 32, 0.95, -0.027, 0.390),
        (0, 1, 44, 0.90, -0.096, 0.037),
        # Agresti & Min (2005); Fagerland, Lydersen & Laake (2014), airway; Chang et al. (2024)
        (16, 8, 86, 0.95, -0.020, 0.207),
        (1, 7, 21, 0.95, -0.517, -0.026),
        (25, 2, 102, 0.95, 0.139, 0.321),
    ],
)
def test_published_examples(first, second, n, level, low, high):
    found = score_interval(second, first, n, level)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "level", "low", "high"),
    [
        # Fagerland, Lydersen & Laake (2014) and DelRocco et al. (2023), airway: 0.0653 to 0.9069
        (1, 1, 7, 12, 0.95, 0.0653, 0.9069),
        # Tang, Tang & Chan (2003), two of their examples, printed with three digits
        (446, 5, 16, 690, 0.90, 0.958, 0.992),
        (43, 0, 1, 0, 0.90, 0.904, 1.039),
        (8, 3, 1, 2, 0.95, 0.776, 2.033),
    ],
)
def test_published_examples_of_the_ratio(both, first, second, neither, level, low, high):
    """The share under the first condition over that under the second."""
    digits = 4 if low == 0.0653 else 3
    found = ratio_interval(Discordant(both, second, first, neither), level)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


def test_the_part_that_is_kept_has_a_width_at_nothing():
    """None right of 30 where the base has 16: T(r) = -sqrt(16 r), so that r reaches z² / 16."""
    found = ratio_interval(Discordant(0, 16, 0, 14))
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1.959964**2 / 16, rel=1e-6)
    same = ratio_interval(Discordant(16, 0, 0, 14))
    assert same.low < 1 == same.value < same.high
    assert ratio_interval(Discordant(0, 0, 3, 27)) is None


def test_a_ratio_of_one_is_where_the_difference_is_none():
    """At a ratio of 1 the statistic is McNemar's again."""
    for both, lost, won, neither in ((10, 7, 3, 5), (0, 4, 1, 0), (40, 0, 6, 100)):
        expected = score_statistic(lost, won, lost + won, 0)
        assert ratio_statistic(Discordant(both, lost, won, neither), 1.0) == pytest.approx(expected)


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


def test_the_score_test_is_the_librarys():
    for lost, won in ((0, 0), (4, 0), (9, 2), (30, 55)):
        assert p_different(RightOrWrong(lost, won, 100)) == pytest.approx(mcnemar_p(lost, won), rel=1e-9)


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
