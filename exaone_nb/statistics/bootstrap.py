"""The interval of a quantile by resampling, for which no formula fits.

The unit that is resampled is what was drawn independently: a document with all of its tokens.
"""

import numpy as np

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate


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
