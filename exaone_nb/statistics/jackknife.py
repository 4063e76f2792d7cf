"""Means and ratios of sums with an interval from leaving one unit out at a time: no resampling, no random numbers.

A unit is what was drawn independently: an item, a document with all of its tokens, or a cluster of items that share a
passage or a template. The standard error is the jackknife's (Tukey 1958; Efron & Tibshirani 1993, chapter 11), which
holds up better than the usual formula where a few units are much larger than the rest; the interval is Student's t, with
the degrees of freedom of as many units of one size as these are worth (Kish 1965).

Values that cannot leave a range get one more unit at each end of it, of average size. For differences of right-or-wrong
answers this is the interval of Bonett & Price (2012, Journal of Educational and Behavioral Statistics 37:479): it has a
width even where no unit differs, and it stays honest where few do.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate


@dataclass(frozen=True)
class Jackknife:
    """A ratio of sums over `items` items. The interval lies around `centre`, which is the value but for the added units, and
    never leaves `ends`; `freedom` are the degrees of freedom of its t."""

    value: float
    centre: float
    error: float
    freedom: float
    items: int
    ends: tuple[float, float] | None = None

    def statistic(self, hypothesis: float) -> float:
        """Student's t of the hypothesis that the true value is this."""
        distance = self.centre - hypothesis
        if self.error == 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / self.error

    def variance(self, hypothesis: float) -> float:
        """The variance of one item that gives this standard error; the hypothesis does not matter here."""
        return self.error**2 * self.items

    def interval(self, level: float = 0.95) -> Estimate:
        """The value with Student's interval at `level`."""
        half = student(0.5 + level / 2, self.freedom) * self.error
        found = Estimate(self.value, self.centre - half, self.centre + half, self.items)
        return found.within(*self.ends) if self.ends else found


@lru_cache(1000)
def student(probability: float, freedom: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def jackknife(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    ends: tuple[float, float] | None = None,
) -> Jackknife:
    """sum(values) / sum(weights) of items [items], or their mean without weights.

    `clusters` [items] names the unit that an item belongs to; without it each item is one. `ends` are the smallest and
    the largest possible value of an item. Raises UsageError for fewer than two units.
    """
    totals, sizes = np.asarray(values, float), np.ones(len(values)) if weights is None else weights
    if clusters is not None:
        totals, sizes = cluster_totals(totals, clusters), cluster_totals(sizes, clusters)
    units = len(totals)
    if units < 2:
        raise UsageError(
            say("{n} independent item gives no interval.", n=units), expected=say("at least two.")
        )
    value = float(totals.sum() / sizes.sum())
    if ends:
        added = np.full(2, sizes.mean())
        totals, sizes = np.append(totals, added * ends), np.append(sizes, added)
    centre = float(totals.sum() / sizes.sum())
    left_out = (totals.sum() - totals) / (sizes.sum() - sizes)
    error = math.sqrt((len(totals) - 1) / len(totals) * float(((left_out - centre) ** 2).sum()))
    freedom = float(sizes.sum() ** 2 / (sizes**2).sum()) - 1
    return Jackknife(value, centre, error, freedom, len(values), ends)


def kept_share(
    base: np.ndarray, candidate: np.ndarray, clusters: np.ndarray | None, reach: float, level: float = 0.95
) -> Estimate | None:
    """sum(candidate) / sum(base) of values from 0 to `reach`: every ratio r that candidate - r * base does not contradict.

    Fieller's way (1954), so that it has a width at 0 too. None when the base has nothing; without an interval where even
    a thousandfold ratio fits.
    """
    if not base.any():
        return None
    from scipy.optimize import brentq

    value = float(candidate.sum() / base.sum())

    def beyond(ratio: float) -> float:
        """The statistic of one ratio: it falls as the ratio rises."""
        ends = (-ratio * reach, reach)
        return jackknife(candidate - ratio * base, clusters=clusters, ends=ends).statistic(0.0)

    quantile = student(0.5 + level / 2, jackknife(base, clusters=clusters, ends=(0, reach)).freedom)
    if beyond(1000.0) > -quantile:
        return Estimate(value, n=len(base))
    low = (
        float(brentq(lambda ratio: beyond(ratio) - quantile, 0.0, 1000.0)) if beyond(0.0) > quantile else 0.0
    )
    return Estimate(value, low, float(brentq(lambda ratio: beyond(ratio) + quantile, low, 1000.0)), len(base))


def cluster_totals(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums of `values` [items] over each cluster [clusters], in the order of the clusters' names."""
    _, places = np.unique(clusters, return_inverse=True)
    return np.bincount(places, values)
