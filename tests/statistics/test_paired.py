"""Tests and intervals held against their libraries, published numbers and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from exaone_nb.errors import UsageError
from exaone_nb.score import recorded
from exaone_nb.statistics import paired as statistics
from exaone_nb.statistics import planning as planner

LECTURE = {"flexible": (332, 306), "strict": (289, 242)}


def simulated(n: int, both: float, only_base: float, only_candidate: float, seed: int, repeats: int):
    """`repeats` pairs of right-or-wrong vectors [repeats, n] with the given shares of the four outcomes."""
    rng = np.random.default_rng(seed)
    shares = [both, only_base, only_candidate, 1 - both - only_base - only_candidate]
    outcome = rng.choice(4, size=(repeats, n), p=shares)
    return np.isin(outcome, (0, 1)).astype(float), np.isin(outcome, (0, 2)).astype(float)


def test_the_lectures_rows_are_reproduced_from_their_counts() -> None:
    accuracies = [f"{count / 512:.4f}" for pair in LECTURE.values() for count in pair]
    assert accuracies == ["0.6484", "0.5977", "0.5645", "0.4727"]
    errors = [math.sqrt(a * (1 - a) / 511) for a in (332 / 512, 306 / 512, 289 / 512, 242 / 512)]
    assert [round(e, 4) for e in errors] == [0.0211, 0.0217, 0.0219, 0.0221]
    z, p = statistics.unpaired_z(332, 512, 306, 512)
    assert (round(z, 2), round(p, 3)) == (1.68, 0.093)
    z, p = statistics.unpaired_z(289, 512, 242, 512)
    assert (round(z, 2), round(p, 4)) == (2.95, 0.0032)
    rows = recorded.lecture_table().rows
    assert [round(row["z"], 2) for row in rows] == [1.68, 2.95]


def test_pairing_finds_what_the_unpaired_test_misses() -> None:
    """lm-eval's open pull request on paired tests shows p = 0.008 paired against 0.080 unpaired on n = 220."""
    both, only_a, only_b, n = 133, 27, 10, 220
    assert round(statistics.mcnemar_exact(only_a, only_b), 3) == 0.008
    assert round(statistics.unpaired_z(both + only_a, n, both + only_b, n)[1], 3) == 0.080


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 0), (6, 0), (12, 4), (30, 55), (100, 100)])
def test_exact_mcnemar_is_the_fair_coin(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert statistics.mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-12)


def test_size_of_the_exact_test_is_at_most_alpha() -> None:
    """Equal models: the rejection rate is the exact one, computed from the binomial, within Monte Carlo error."""
    n, repeats, alpha, share = 200, 4000, 0.05, 0.2
    x, y = simulated(n, 0.4, share / 2, share / 2, seed=1, repeats=repeats)
    only_x, only_y = ((x > y).sum(1), (y > x).sum(1))
    rejected = np.mean(
        [statistics.mcnemar_exact(int(b), int(c)) <= alpha for b, c in zip(only_x, only_y, strict=True)]
    )
    exact = sum(
        stats.binom.pmf(m, n, share)
        * sum(stats.binom.pmf(b, m, 0.5) for b in range(m + 1) if statistics.mcnemar_exact(b, m - b) <= alpha)
        for m in range(n // 2)
    )
    error = math.sqrt(exact * (1 - exact) / repeats)
    assert exact <= alpha
    assert abs(rejected - exact) < 3.5 * error


def test_the_sign_flip_test_keeps_its_size_and_finds_a_shift() -> None:
    rng = np.random.default_rng(4)
    repeats = 400
    p = [
        statistics.sign_flip_test(rng.exponential(1, 40) - rng.exponential(1, 40), i, 499)
        for i in range(repeats)
    ]
    error = math.sqrt(0.05 * 0.95 / repeats)
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 3.5 * error
    assert statistics.sign_flip_test(rng.normal(0.5, 1, 200)) < 0.001
    assert statistics.sign_flip_test(np.zeros(10)) == 1.0
    assert statistics.sign_flip_test(np.array([0.0, 0.5, 0.0])) == 1.0, "as far from zero under either sign"


def test_a_handful_of_items_is_counted_out() -> None:
    """Six differences of one sign: both ends of 2^6 flips."""
    assert statistics.sign_flip_test(np.array([1, 1, 1, 1, 1, 0.5])) == pytest.approx(2 / 64)


def test_many_light_items_need_no_resampling() -> None:
    """The normal form beside scipy's own permutations, and beside the exact binomial of as many coins."""
    rng = np.random.default_rng(8)
    for shift in (0.0, 0.03, 0.05):
        d = rng.uniform(-1, 1, 2500) + shift
        flips = stats.permutation_test(
            (d,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", vectorized=True,
            n_resamples=9999, rng=rng, batch=1000,
        )  # fmt: skip
        assert statistics.sign_flip_test(d) == pytest.approx(flips.pvalue, abs=0.015)
    for lost in (320, 335, 350):
        coins = np.repeat([-1.0, 1.0], [lost, 600 - lost])
        assert statistics.sign_flip_test(coins) == pytest.approx(stats.binomtest(lost, 600).pvalue, abs=0.01)


@pytest.mark.parametrize(("drop", "share"), [(0.05, 0.15), (0.1, 0.3), (0.03, 0.04)])
def test_the_planned_number_of_items_has_the_promised_power(drop: float, share: float) -> None:
    n = planner.items_needed(drop, share)
    x, y = simulated(n, 0.3, (share + drop) / 2, (share - drop) / 2, seed=5, repeats=1500)
    only_x, only_y = ((x > y).sum(1), (y > x).sum(1))
    power = np.mean(
        [statistics.mcnemar_exact(int(b), int(c)) <= 0.05 for b, c in zip(only_x, only_y, strict=True)]
    )
    # The exact test is more cautious than the normal form the plan is made with, never bolder.
    assert 0.70 < power < 0.83


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_smallest_drop_inverts_items_needed(share: float) -> None:
    drop = planner.smallest_drop(2000, share)
    assert planner.items_needed(drop, share) in (2000, 2001)
    assert planner.smallest_drop(5, 0.02) is None


def test_the_unpaired_plan_agrees_with_statsmodels() -> None:
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    effect = proportion_effectsize(0.65, 0.63)
    expected = NormalIndPower().solve_power(effect, power=0.8, alpha=0.05)
    assert planner.items_needed_unpaired(0.65, 0.02) == pytest.approx(expected, rel=0.01)


def test_pairing_needs_fewer_items() -> None:
    assert planner.items_needed(0.02, 0.05) * 5 < 2 * planner.items_needed_unpaired(0.65, 0.02)


@pytest.mark.parametrize(
    ("drop", "share"), [(0.0, 0.1), (-0.1, 0.1), (0.2, 0.1), (0.1, 1.1), (math.nan, 0.1)]
)
def test_impossible_plans_are_refused(drop: float, share: float) -> None:
    with pytest.raises(UsageError, match="impossible"):
        planner.items_needed(drop, share)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_the_sensitivity_sentence_says_one_thing() -> None:
    """Connor's formula for 10 %; a share below the drop is its own largest drop, and no item count reaches further."""
    assert "a drop of 2 points needs 1,960 items." in planner.sensitivity(0.1, 0.02)
    small = planner.sensitivity(0.012, 0.02)
    assert "1.2% of the items differ, a drop of 2 points cannot happen" in small
    assert f"is 1.2, and it needs {planner.items_needed(0.012, 0.012):,} items" in small
