"""Equally likely values of what was measured, so that a formula of several measurements keeps its interval.

Accuracy is drawn by resampling the items that all candidates answered: every candidate sees the same resampled
items, so the luck of the draw cancels in a comparison (the paired bootstrap). Times that were measured in the same rounds
are drawn together, others from their own interval. A formula is then applied to the draws, and its interval is read off.
"""

import math
from collections.abc import Mapping

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate

DRAWS = 10_000
Z95 = 1.959964
_BLOCK = 2_000_000


def resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means over resampled items [candidates, draws]; `values` [candidates, items], one item order for all."""
    items = values.shape[1]
    if items < 2:
        got = say("{items} item gives no interval.", items=items)
        raise WorkbookError(got, expected="at least two items.")
    if not np.isfinite(values).all():
        raise WorkbookError(
            "An item's score is not a number.", remedy="Look at that item in the samples file."
        )
    # Items on which all candidates score the same are interchangeable: with right-or-wrong answers of four
    # candidates there are at most 16 kinds, and drawing how many of each kind is the same as drawing items.
    kinds, counts = np.unique(values, axis=1, return_counts=True)
    found = np.empty((values.shape[0], draws))
    step = max(1, _BLOCK // len(counts))
    for start in range(0, draws, step):
        stop = min(start + step, draws)
        drawn = rng.multinomial(items, counts / items, size=stop - start)
        found[:, start:stop] = kinds @ drawn.T / items
    return found


def drawn(measured: Estimate, draws: int, rng: np.random.Generator, *, positive: bool = False) -> np.ndarray:
    """Draws [draws] of one measurement from its 95 % interval: normal, or log-normal where only `positive` makes sense.

    Without an interval all draws are the value itself. Raises WorkbookError for an interval that is not one.
    """
    value, low, high = measured.value, measured.low, measured.high
    if low is None or high is None:
        return np.full(draws, float(value))
    if not (math.isfinite(low) and math.isfinite(high) and low <= value <= high):
        raise WorkbookError(
            say("The interval [{m.low:g}, {m.high:g}] does not hold its own value {m.value:g}.", m=measured),
            remedy=say("Delete that result and measure again."),
        )
    if positive and low <= 0:
        raise WorkbookError(
            say("The interval [{m.low:g}, {m.high:g}] of {m.value:g} reaches to zero or below.", m=measured),
            expected=say("a time or a rate, which is above zero."),
            remedy=say("Measure it again in more rounds: exaone-nb run 09 -p ROUNDS 5"),
        )
    if positive:
        return value * np.exp(rng.normal(0, math.log(high / low) / (2 * Z95), draws))
    return rng.normal(value, (high - low) / (2 * Z95), draws)


def drawn_in_rounds(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws [candidates, draws] of mean times, from `values` [candidates, rounds] that were measured round by round.

    A slow round slows all candidates alike, so one draw moves all by the same rounds: the interval of a ratio is then
    that of the rounds' ratios. Multivariate t, on a log scale by the delta method, as `over_repeats` has it for one time.
    Raises WorkbookError for fewer than two rounds or a time that is not above zero.
    """
    rounds = values.shape[1]
    if rounds < 2 or not (np.isfinite(values).all() and (values > 0).all()):
        raise WorkbookError(
            say("The rounds of the speed measurement are no times: {values}.", values=values.tolist()),
            expected=say("two rounds at least, each with a time above zero."),
            remedy=say("Measure again: exaone-nb run 09"),
        )
    means = values.mean(axis=1, keepdims=True)
    normal = rng.normal(size=(rounds, draws))
    stretch = np.sqrt((rounds - 1) / rng.chisquare(rounds - 1, size=draws))
    moved = (values / means - 1) @ normal * stretch / math.sqrt(rounds * (rounds - 1))
    # With two rounds t has no variance: draws beyond e^50 would only overflow.
    return means * np.exp(np.clip(moved, -50, 50))


def estimate_of(value: float, draws: np.ndarray, confidence: float = 0.95) -> Estimate:
    """`value` with the central interval that holds `confidence` of the draws."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))


def share_best(draws: Mapping[str, np.ndarray]) -> dict[str, float]:
    """In which share of the draws each candidate is the highest. Ties are shared out."""
    names = list(draws)
    table = np.array([draws[name] for name in names])
    best = table == table.max(axis=0)
    return dict(zip(names, (best / best.sum(axis=0)).mean(axis=1).tolist(), strict=True))
