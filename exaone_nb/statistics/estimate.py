"""A measured value and its interval: the one record in which scores, speeds and losses are handed on."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from exaone_nb.errors import UsageError

INTERVAL_KIND = (
    "95 % t interval of the mean over repeats (over rounds, where there were several), on a log scale"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` with the bounds of its interval, in the unit of whoever measured it.

    `low` and `high` are None where one measurement gives no interval; `n` is the number of measurements, 0 where it is
    not known. What kind of interval it is (95 % of pairs, jackknife, …) is said by the function that makes it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both bounds, or None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `of` reads it."""
        return {"value": self.value, "interval": self.interval, "n": self.n}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """What `document` wrote."""
        return cls(document["value"], *(document["interval"] or (None, None)), document["n"])

    def within(self, least: float, most: float) -> Self:
        """The same with bounds that do not leave a range which the value cannot leave."""
        bounds = [None if bound is None else min(max(bound, least), most) for bound in (self.low, self.high)]
        return Estimate(self.value, *bounds, self.n)

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def __mul__(self, factor: float) -> Self:
        """The same in another unit: `seconds * 1e3` is in milliseconds. A negative factor swaps the bounds."""
        bounds = [None if bound is None else bound * factor for bound in (self.low, self.high)]
        low, high = bounds if factor >= 0 else reversed(bounds)
        return Estimate(self.value * factor, low, high, self.n)

    def map(self, rising: Callable[[float], float]) -> Self:
        """A function that rises everywhere, of the value and its bounds: `loss.map(math.exp)` is the perplexity."""
        bounds = [None if bound is None else rising(bound) for bound in (self.low, self.high)]
        return Estimate(rising(self.value), *bounds, self.n)


def over_repeats(values: Sequence[float]) -> Estimate:
    """The mean of `values`, repeats of a time or a rate (above 0), with a 95 % interval; none for a single one.

    A t interval of the mean's logarithm, whose standard error is that of the mean over the mean (delta method): a time
    is above zero, and so is this interval, however few the repeats. Raises UsageError without values.
    """
    if not values:
        raise UsageError("There is nothing to average.", expected="at least one repeat.")
    mean, n = statistics.fmean(values), len(values)
    if n < 2:
        return Estimate(mean, n=n)
    from scipy.stats import t

    error = statistics.stdev(values) / math.sqrt(n)
    factor = math.exp(float(t.ppf(0.975, n - 1)) * error / mean)
    return Estimate(mean, mean / factor, mean * factor, n)
