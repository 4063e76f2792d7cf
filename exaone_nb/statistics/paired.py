"""Tests and intervals for scores of the same items under two models.

Two models that answered the same questions are compared question by question. Only the items on which they differ
carry evidence (McNemar 1947); the many on which both are right or both are wrong only add noise to the unpaired
comparison of two accuracies. The arithmetic is scipy's and statsmodels'; this module says which test fits what.

The interval of a difference of paired proportions is Tango's (1998, Statistics in Medicine 17:891-908): it holds every
difference that the score test does not reject, so it goes with the McNemar score test, has a width even where nothing
or everything differs, and never leaves -1 to 1.

    score_interval(lost=4, won=0, n=100)     # -0.04, from -0.098 to -0.002

`ratio_interval` is its counterpart for the ratio of the two shares, the part of a score that is kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate

# At differences of -1 and 1 themselves the score statistic has no variance.
EDGE = 1 - 1e-12
RESAMPLES = 9999
# With no unit above this share of the sum of squares, the normal form of the sign-flip test is off by 0.005 at most.
LIGHT = 1 / 500


@dataclass(frozen=True)
class Discordant:
    """Items by outcome: both right, only the base right, only the candidate right, both wrong."""

    both_right: int
    only_base: int
    only_candidate: int
    both_wrong: int

    @property
    def n(self) -> int:
        return self.both_right + self.only_base + self.only_candidate + self.both_wrong

    @property
    def share(self) -> float:
        """Share of items on which exactly one model is right."""
        return (self.only_base + self.only_candidate) / self.n


def discordant(base: np.ndarray, candidate: np.ndarray) -> Discordant:
    """Count the four outcomes of two right-or-wrong vectors [items]."""
    outcomes = np.bincount(2 * (base == 1) + (candidate == 1), minlength=4)
    return Discordant(*reversed(outcomes.tolist()))


def mcnemar_exact(only_base: int, only_candidate: int) -> float:
    """Two-sided exact McNemar p-value: a fair coin on the items where the models differ; 1 when they never do."""
    from scipy.special import (
        bdtr,  # scipy.stats and statsmodels take longer to import than all the rest of a comparison
    )

    return min(1.0, 2 * float(bdtr(min(only_base, only_candidate), only_base + only_candidate, 0.5)))


def unpaired_z(right_1: int, n_1: int, right_2: int, n_2: int) -> tuple[float, float]:
    """(z, two-sided p) of two accuracies as lm-eval's comparator computes it, pairing ignored.

    z = (a1 - a2) / sqrt(se1^2 + se2^2) with se = sqrt(a (1 - a) / (n - 1)), lm-eval's standard error of a mean.
    """
    counts = ((right_1, n_1), (right_2, n_2))
    return unpaired_z_of_values(*(np.repeat([1.0, 0.0], [right, n - right]) for right, n in counts))


def unpaired_z_of_values(base: np.ndarray, candidate: np.ndarray) -> tuple[float, float]:
    """The same z for any two vectors of item values [items], from their standard errors."""
    spread = math.sqrt(sum(float(v.var(ddof=1)) / len(v) for v in (base, candidate)))
    difference = float(base.mean() - candidate.mean())
    if spread == 0:
        return (0.0, 1.0) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    return difference / spread, math.erfc(abs(difference / spread) / math.sqrt(2))


def sign_flip_test(differences: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the paired permutation test for differences [units] that are not just -1, 0 and 1.

    A unit is an item, or the total of a cluster of items. Where none of many units weighs much, the flips add up to a
    normal deviate, and nothing is resampled.
    """
    moved = differences[differences != 0]  # a zero stays zero under every flip
    if len(moved) < 2:  # one unit alone is as far from zero under either sign
        return 1.0
    squares = moved**2
    if squares.max() <= LIGHT * squares.sum():
        return math.erfc(abs(float(moved.sum())) / math.sqrt(2 * float(squares.sum())))
    from scipy.stats import permutation_test

    result = permutation_test(
        (moved,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
        batch=max(1, 20_000_000 // max(1, len(moved))),
    )
    return float(result.pvalue)


def holm_factors(p_values: Sequence[float]) -> list[float]:
    """What Holm's method multiplies each p-value by, in the order given, before 1 caps the product.

    A p-value of a family counts at level alpha where factor * p <= alpha, and so does an interval at 1 - alpha / factor.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    factors, least = [1.0] * len(order), 0.0
    for rank, place in enumerate(order):
        plain = float(len(order) - rank)
        least = max(least, plain * p_values[place])
        factors[place] = least / p_values[place] if p_values[place] > 0 else plain
    return factors


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: compare each with the level of the test."""
    return [min(1.0, f * p) for f, p in zip(holm_factors(p_values), p_values, strict=True)]


def score_variance(lost: float, won: float, n: float, difference: float) -> float:
    """Variance of one item's difference, second minus first, if the true difference were `difference`.

    The likeliest share of lost items is then the larger root of 2n q² + b q + c = 0 with the b and c below (Tango's
    formula for q21).
    """
    b = -(lost + won) + (2 * n - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share_lost = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return max(0.0, 2 * share_lost + difference - difference**2)


def score_statistic(lost: int, won: int, n: int, difference: float) -> float:
    """Standard normal deviate of the hypothesis that the true difference, second minus first, is `difference`.

    At 0 this is McNemar's z.
    """
    variance = n * score_variance(lost, won, n, difference)
    return _deviate(won - lost - n * difference, variance)


def score_interval(lost: int, won: int, n: int, level: float = 0.95) -> Estimate:
    """The difference of the two shares of right answers, second minus first, with its interval at `level`.

    Raises UsageError for counts that are negative or add up to more than `n`.
    """
    if lost < 0 or won < 0 or n < 1 or lost + won > n:
        raise UsageError(
            say("{lost} lost and {won} won of {n} items.", lost=lost, won=won, n=n),
            expected="counts from 0 that add up to at most n.",
        )
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(0.5 + level / 2)
    value = (won - lost) / n

    def bound(sign: int) -> float:
        """Where the statistic crosses `sign * z`: it falls as the hypothesis rises from -1 to 1."""
        low, high = (-EDGE, min(value, EDGE)) if sign > 0 else (max(value, -EDGE), EDGE)

        def above(difference: float) -> float:
            return score_statistic(lost, won, n, difference) - sign * z

        if sign > 0 and above(low) < 0:
            return -1.0
        if sign < 0 and above(high) > 0:
            return 1.0
        return float(brentq(above, low, high, xtol=1e-10))

    return Estimate(value, bound(+1), bound(-1), n)


def ratio_statistic(table: Discordant, ratio: float) -> float:
    """Standard normal deviate of the hypothesis that the candidate has `ratio` times the base's share of right answers.

    Tang, Tang & Chan (2003, Statistics in Medicine 22:1217): the variance is the one under that hypothesis, where the
    likeliest share of items that only the base gets right is the larger root of a q² + b q + c = 0.
    """
    lost, won, n = table.only_base, table.only_candidate, table.n
    some_right = table.both_right + lost + won
    a = n * (1 + ratio)
    b = (table.both_right + lost) * ratio**2 - (table.both_right + won + 2 * lost)
    c = lost * (1 - ratio) * some_right / n
    share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    distance = table.both_right + won - ratio * (table.both_right + lost)
    return _deviate(distance, a * share_lost + some_right * (ratio - 1))


def ratio_interval(table: Discordant, level: float = 0.95) -> Estimate | None:
    """The candidate's share of right answers divided by the base's, with its score interval; None when the base has none.

    It has a width at 0 too: none right of 30 where the base has 16 leaves room up to z² / 16.
    """
    base, candidate = table.both_right + table.only_base, table.both_right + table.only_candidate
    if base == 0:
        return None
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(0.5 + level / 2)
    value = candidate / base
    low = 0.0
    if candidate:
        low = float(brentq(lambda ratio: ratio_statistic(table, ratio) - z, 1e-12, value))
    high = max(1.0, 2 * value)
    while ratio_statistic(table, high) > -z:
        high *= 2
    high = float(brentq(lambda ratio: ratio_statistic(table, ratio) + z, max(value, 1e-12), high))
    return Estimate(value, low, high, table.n)


def _deviate(distance: float, variance: float) -> float:
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)
