"""Intervals by resampling items, where no formula fits: means, ratios of sums, perplexities.

The unit that is resampled is what was drawn independently: a question, or a document with all of its tokens. The
difference of two models on the same items keeps both answers of an item together (the paired bootstrap), so that what
both find hard or easy cancels.
"""

from collections.abc import Callable, Sequence

import numpy as np

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate

DRAWS = 9999
# Resampled values held in memory at once.
_BLOCK = 10_000_000


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The plain mean of the items."""
    return values.mean(axis=axis)


def ratio_of_sums(values: np.ndarray, weights: np.ndarray, axis: int = -1) -> np.ndarray:
    """sum(values) / sum(weights): nats per token, or a score as a share of another one."""
    return values.sum(axis=axis) / weights.sum(axis=axis)


def bootstrap(
    values: np.ndarray | Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray] = mean,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """A statistic of items with its percentile bootstrap interval.

    `values` is one array [items], or several of the same items (a sequence of arrays, or the rows of one array
    [arrays, items]). `statistic(*values, axis)` takes them with the items on the named axis and reduces that axis.
    Raises UsageError for fewer than two items.
    """
    from scipy import stats

    data = (values,) if isinstance(values, np.ndarray) and values.ndim == 1 else tuple(values)
    items = len(data[0])
    if items < 2:
        raise UsageError(say("{n} item gives no interval.", n=items), expected=say("at least two items."))
    value = float(statistic(*data, axis=-1))
    if all(np.ptp(column) == 0 for column in data):
        return Estimate(value, value, value, items)
    found = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=draws,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
        batch=max(1, _BLOCK // items),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high), items)


def paired_difference(
    base: np.ndarray,
    candidate: np.ndarray,
    weights: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Candidate minus base on the same items [items], with a paired bootstrap interval.

    With `weights` [items] (tokens of a document, words) it is the difference per unit of weight.
    """
    difference = candidate - base
    if weights is None:
        return bootstrap(difference, mean, draws, seed)
    return bootstrap((difference, weights), ratio_of_sums, draws, seed)


def clustered_quantile(
    values: np.ndarray, clusters: np.ndarray, share: float, draws: int = 999, seed: int = 0
) -> Estimate:
    """The quantile of `values` [items] below which `share` of them lie, with a percentile interval over clusters.

    `clusters` [items] says which cluster (document) an item belongs to; whole clusters are drawn. The quantile is the
    smallest value that at least the share does not exceed. Raises UsageError for fewer than two clusters.
    """
    order = np.argsort(values)
    _, members = np.unique(clusters, return_inverse=True)
    count = members.max() + 1
    if count < 2:
        raise UsageError(say("{n} item gives no interval.", n=count), expected=say("at least two items."))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    found = np.empty(draws + 1)
    for i, times in enumerate([np.ones(count), *drawn]):
        weights = times[members[order]].cumsum()
        found[i] = values[order[np.searchsorted(weights, share * weights[-1] * (1 - 1e-12))]]
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return Estimate(float(found[0]), float(low), float(high), int(count))
