"""Verdicts at a margin: right values from outside, and one interval behind words and test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from exaone_nb.errors import UsageError
from exaone_nb.statistics.jackknife import jackknife
from exaone_nb.statistics.paired import holm, holm_factors, mcnemar_exact
from exaone_nb.statistics.planning import items_needed, items_to_decide
from exaone_nb.statistics.verdicts import RightOrWrong, judge, p_different, p_not_equivalent


def verdict(lost: int, won: int, n: int, margin: float = 0.01, alpha: float = 0.05):
    (found,) = judge([RightOrWrong(lost, won, n)], [mcnemar_exact(lost, won)], [margin], alpha)
    return found


@pytest.mark.parametrize(
    ("lost", "won", "n", "name", "p", "p_exact"),
    [
        (4, 0, 100, "borderline", 0.046, 0.125),
        # ten subjects, each 5 lost and 2 won of 100: one alone, and all of them pooled
        (5, 2, 100, "undecided", 0.257, 0.453),
        (50, 20, 1000, "worse", 0.00034, 0.00044),
        (20, 50, 1000, "better", 0.00034, 0.00044),
        (9, 2, 512, "borderline", 0.035, 0.065),
        (100, 90, 20_000, "equivalent", 0.468, 0.514),
        # clear of zero, and yet inside the margin: what nobody cares about is no loss
        (60, 30, 20_000, "equivalent", 0.00157, 0.00207),
        (0, 0, 25, "undecided", 1, 1),
        (0, 0, 512, "equivalent", 1, 1),
    ],
)
def test_worked_examples(lost, won, n, name, p, p_exact):
    found = verdict(lost, won, n)
    assert found.name == name
    assert found.p == pytest.approx(p, rel=0.02) and found.p_exact == pytest.approx(p_exact, rel=0.02)
    assert (found.items_to_decide is None) == (name not in ("undecided", "borderline"))


def test_equivalence_of_a_published_trial():
    """Tango (1998): soft contact lenses, 43 pairs good under both, 1 under one of the two, of 44.

    The interval at 90 % is -0.096 to 0.037, so that a margin of 10 points is kept, and one of 9 points is not.
    """
    assert verdict(1, 0, 44, margin=0.10).name == "equivalent"
    assert verdict(1, 0, 44, margin=0.09).name == "undecided"
    assert p_not_equivalent(RightOrWrong(1, 0, 44), 0.0957) == pytest.approx(0.05, abs=0.001)


def test_p_and_interval_are_one():
    """Both tests against both kinds of evidence: the interval ends where the p-value is the level."""
    rng = np.random.default_rng(1)
    for one in (RightOrWrong(12, 3, 80), jackknife(rng.normal(-0.1, 0.4, 30))):
        p = p_different(one)
        assert one.interval(1 - 1.01 * p).excludes_zero and not one.interval(1 - 0.99 * p).excludes_zero
        margin = 0.3
        p = p_not_equivalent(one, margin)
        wide, narrow = one.interval(1 - 2 * 0.99 * p), one.interval(1 - 2 * 1.01 * p)
        assert wide.low < -margin < narrow.low


def test_the_t_test_of_a_mean_is_scipys():
    values = np.random.default_rng(2).normal(0.2, 1, 25)
    assert p_different(jackknife(values)) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    lower, upper = (
        stats.ttest_1samp(values, end, alternative=side).pvalue
        for end, side in ((-0.9, "greater"), (0.9, "less"))
    )
    assert p_not_equivalent(jackknife(values), 0.9) == pytest.approx(max(lower, upper))


def test_holm_is_statsmodels_and_its_factors_are_levels():
    rng = np.random.default_rng(3)
    for size in (1, 2, 7):
        p = (rng.random(size) ** 3).tolist()
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
        assert all(
            (f * q <= 0.05) == (h <= 0.05) for f, q, h in zip(holm_factors(p), p, holm(p), strict=True)
        )
    assert holm_factors([0.0, 0.0]) == [2, 1] and holm([]) == []


def test_questions_asked_together_are_corrected_and_the_interval_says_so():
    """16 lost and 5 won of 200, four times: clear alone (p = .016), not together (4 x .016 = .065)."""
    family = [RightOrWrong(16, 5, 200)] * 4
    found = judge(family, [mcnemar_exact(16, 5)] * 4, [0.01] * 4)
    alone = verdict(16, 5, 200)
    assert alone.name == "worse" and alone.level == 0.95 and alone.difference.excludes_zero
    assert {one.name for one in found} == {"undecided"}
    for one in found:
        assert one.p_holm == pytest.approx(4 * alone.p) and one.level == pytest.approx(1 - 0.05 / 4)
        assert one.difference.excludes_zero == (one.p_holm <= 0.05) == False  # noqa: E712


def test_a_large_effect_among_small_ones_keeps_its_verdict():
    found = judge(
        [RightOrWrong(60, 10, 500), RightOrWrong(5, 4, 500)], [mcnemar_exact(60, 10), 1.0], [0.01] * 2
    )
    assert [one.name for one in found] == ["worse", "undecided"]
    assert found[0].level == pytest.approx(0.975) and found[1].level == pytest.approx(0.95)


@pytest.mark.parametrize("counts", [(0, 0, 25), (3, 3, 100), (5, 2, 100), (30, 25, 512), (4, 0, 100)])
def test_so_many_items_decide_in_four_of_five_cases(counts):
    """Simulated with the rates as they were seen: the verdict falls in about 80 %, and seldom with half the items."""
    lost, won, n = counts
    found = verdict(*counts, margin=0.02)
    rng = np.random.default_rng(4)

    def decided(items: int) -> float:
        drawn = rng.multinomial(items, [lost / n, won / n, 1 - (lost + won) / n], size=600)
        kinds, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
        hits = 0
        for (one, two), count in zip(kinds.tolist(), times.tolist(), strict=True):
            hits += count * (verdict(one, two, items, margin=0.02).name in ("better", "worse", "equivalent"))
        return hits / 600

    assert found.items_to_decide > n
    if lost + won:
        assert 0.72 < decided(found.items_to_decide) < 0.90
        assert decided(found.items_to_decide // 2) < 0.72
    else:  # nothing ever differs: z² (1 - m) / m items put the interval inside the margin
        assert found.items_to_decide == math.ceil(1.644854**2 * 0.98 / 0.02)


def test_at_the_margin_itself_no_number_of_items_shows_equivalence():
    """A difference as large as the margin is found as a difference."""
    one = RightOrWrong(15, 5, 500)
    assert one.value == -0.02
    needed = items_to_decide(one.value, one.variance, 0.02)
    # Connor's number for a drop of 2 points with 4 % differing; one time in twenty "equivalent" is the verdict instead.
    assert needed == pytest.approx(items_needed(0.02, 0.04, power=0.75), rel=0.01)
    assert items_to_decide(0.0, lambda hypothesis: 1.0, 1e-6) is None


@pytest.mark.parametrize(
    ("margin", "alpha"), [(0, 0.05), (-0.01, 0.05), (math.nan, 0.05), (0.01, 0), (0.01, 0.7)]
)
def test_margins_and_levels_that_are_none(margin, alpha):
    with pytest.raises(UsageError):
        verdict(3, 2, 100, margin, alpha)
