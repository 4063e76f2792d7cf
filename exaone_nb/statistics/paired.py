"""Tests and intervals for scores of the same items under two models.

Two models that answered the same questions are compared question by question. Only the items on which they differ
carry evidence (McNemar 1947); the many on which both are right or both are wrong only add noise to the unpaired
comparison of two accuracies. The arithmetic is scipy's and statsmodels'; this module says which test fits what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exaone_nb.statistics.bootstrap import DRAWS


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
    right_base, right_candidate = base == 1, candidate == 1
    return Discordant(
        both_right=int((right_base & right_candidate).sum()),
        only_base=int((right_base & ~right_candidate).sum()),
        only_candidate=int((~right_base & right_candidate).sum()),
        both_wrong=int((~right_base & ~right_candidate).sum()),
    )


def mcnemar_exact(only_base: int, only_candidate: int) -> float:
    """Two-sided exact McNemar p-value: a fair coin on the items where the models differ; 1 when they never do."""
    from statsmodels.stats.contingency_tables import mcnemar

    if only_base + only_candidate == 0:
        return 1.0
    return min(1.0, float(mcnemar([[0, only_base], [only_candidate, 0]], exact=True).pvalue))


def unpaired_z(right_1: int, n_1: int, right_2: int, n_2: int) -> tuple[float, float]:
    """(z, two-sided p) of two accuracies as lm-eval's comparator computes it, pairing ignored.

    z = (a1 - a2) / sqrt(se1^2 + se2^2) with se = sqrt(a (1 - a) / (n - 1)), lm-eval's standard error of a mean.
    """
    first, second = (
        np.repeat([1.0, 0.0], [right, n - right]) for right, n in ((right_1, n_1), (right_2, n_2))
    )
    return unpaired_z_of_values(first, second)


def unpaired_z_of_values(base: np.ndarray, candidate: np.ndarray) -> tuple[float, float]:
    """The same z for any two vectors of item values [items], from their standard errors."""
    from scipy.stats import norm

    spread = math.sqrt(sum(float(v.var(ddof=1)) / len(v) for v in (base, candidate)))
    difference = float(base.mean() - candidate.mean())
    if spread == 0:
        return (0.0, 1.0) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    return difference / spread, float(2 * norm.sf(abs(difference / spread)))


def sign_flip_test(differences: np.ndarray, seed: int = 0, resamples: int = DRAWS) -> float:
    """Two-sided p of the paired permutation test for item differences that are not just -1, 0 and 1."""
    from scipy.stats import permutation_test

    if np.count_nonzero(differences) < 2:  # one item alone is as far from zero under either sign
        return 1.0
    moved = differences[differences != 0]  # a zero stays zero under every flip
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


def holm(p_values: list[float], alpha: float = 0.05) -> list[float]:
    """Holm's adjusted p-values, in the order given: compare each with alpha."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, alpha=alpha, method="holm")[1]] if p_values else []
