"""Repeats of one measurement of a positive quantity, a time or a rate, as one estimate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from exaone_nb.errors import UsageError
from exaone_nb.statistics.estimate import Estimate

INTERVAL_KIND = (
    "95 % t interval of the mean over repeats (over rounds, where there were several), on a log scale"
)


def over_repeats(values: Sequence[float]) -> Estimate:
    """The mean of `values` (each above 0) with a 95 % interval, none for a single one.

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
