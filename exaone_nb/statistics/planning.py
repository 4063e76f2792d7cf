"""How many items a comparison needs, and how small a drop a comparison can see.

For paired answers the spread of the difference comes from the items on which exactly one model is right, their share
being psi. The number of items to see a true drop d with two-sided level alpha and power 1 - beta (Connor 1987,
Biometrics 43:207):

    n = (z_alpha/2 sqrt(psi) + z_beta sqrt(psi - d^2))^2 / d^2

The exact test is a little more cautious than this normal form; the tests hold the two together by simulation.
"""

import bisect
import math
from collections.abc import Callable
from statistics import NormalDist

from exaone_nb.errors import UsageError
from exaone_nb.messages import say

POWER = 0.8
ALPHA = 0.05
# Beyond this no benchmark goes, and "undecided" is the answer.
MOST_ITEMS = 10**8


def items_needed(drop: float, share_differing: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Items so that a true drop (0.02 = two points) is found with this power when the models differ on that share.

    Raises UsageError when the drop is larger than the share of differing items, which is impossible.
    """
    _check(power, alpha)
    if not 0 < drop <= share_differing <= 1:
        got = say(
            "A drop of {drop:g} with {share_differing:g} of the items differing is impossible.",
            drop=drop,
            share_differing=share_differing,
        )
        raise UsageError(got, expected="0 < drop <= share of differing items <= 1.")
    return math.ceil(_items(drop, share_differing, power, alpha))


def smallest_drop(
    n: int, share_differing: float, *, power: float = POWER, alpha: float = ALPHA
) -> float | None:
    """The smallest true drop that n items show with this power; None when even the largest possible one stays hidden."""
    from scipy.optimize import brentq

    _check(power, alpha)
    if n < 2:
        raise UsageError(say("{n} items.", n=n), expected="at least two.")
    if not 0 < share_differing <= 1:
        got = say("{share_differing:g} of the items differing.", share_differing=share_differing)
        raise UsageError(got, expected="a share above 0, at most 1.")

    def missing(drop: float) -> float:
        return _items(drop, share_differing, power, alpha) - n

    if missing(share_differing) > 0:
        return None
    return float(brentq(missing, 1e-6, share_differing))


def items_to_decide(
    difference: float,
    variance: Callable[[float], float],
    margin: float,
    *,
    power: float = POWER,
    alpha: float = ALPHA,
) -> int | None:
    """The fewest items after which a comparison is decided with this power, if the answers go on as they were.

    Decided is: the two-sided test at `alpha` finds a difference, or two one-sided tests at `alpha` place it inside the
    margin. `variance(hypothesis)` is that of one item's difference, as the test takes it under a hypothesis. None where
    more than MOST_ITEMS would be needed: equal to the margin, or nearly so.
    """
    _check(power, alpha)
    two_sided, one_sided = _upper(alpha / 2), _upper(alpha)

    def decided(n: int) -> bool:
        """Whether what will be found falls into none of the gaps between "different" and "equivalent"."""
        clear = max(two_sided * math.sqrt(variance(0.0) / n), 1e-9)
        inside = [sign * (margin - one_sided * math.sqrt(variance(sign * margin) / n)) for sign in (-1, 1)]
        gaps = [(-clear, inside[0]), (inside[1], clear)] if inside[0] < inside[1] else [(-clear, clear)]
        found = NormalDist(difference, max(math.sqrt(variance(difference) / n), 1e-12))
        return sum(found.cdf(high) - found.cdf(low) for low, high in gaps if low < high) <= 1 - power

    n = 2
    while not decided(n):
        n *= 2
        if n > MOST_ITEMS:
            return None
    return bisect.bisect_left(range(n), True, lo=n // 2, key=decided)


def items_needed_unpaired(accuracy: float, drop: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Items per model when the two are compared without pairing (two independent proportions, normal form)."""
    _check(power, alpha)
    lower = accuracy - drop
    if not (drop > 0 and lower >= 0 and accuracy <= 1):
        got = say("A drop of {drop:g} from {accuracy:g} is impossible.", drop=drop, accuracy=accuracy)
        raise UsageError(got, expected="0 < drop <= accuracy <= 1.")
    variance = accuracy * (1 - accuracy) + lower * (1 - lower)
    return math.ceil(((_upper(alpha / 2) + _upper(1 - power)) / drop) ** 2 * variance)


def _items(drop: float, share: float, power: float, alpha: float) -> float:
    root = _upper(alpha / 2) * math.sqrt(share) + _upper(1 - power) * math.sqrt(max(0.0, share - drop**2))
    return (root / drop) ** 2


def _upper(tail: float) -> float:
    """The standard normal deviate above which this share lies."""
    return NormalDist().inv_cdf(1 - tail)


def _check(power: float, alpha: float) -> None:
    if not (0.5 <= power < 1 and 0 < alpha < 0.5):
        got = say("power {power:g}, alpha {alpha:g}.", power=power, alpha=alpha)
        raise UsageError(got, expected="power in [0.5, 1), alpha in (0, 0.5).")


def sensitivity(share: float, drop: float) -> str:
    """What a drop of the score takes to be seen, when a `share` of the items has another outcome."""
    fields = {"share": share, "points": 100 * drop}
    if share >= drop:
        return say(
            "When {share:.1%} of the items differ, a drop of {points:g} points needs {items:,} items.",
            items=items_needed(drop, share),
            **fields,
        )
    return say(
        "When {share:.1%} of the items differ, a drop of {points:g} points cannot happen: the largest possible one is {largest:.2g}, and it needs {items:,} items.",
        largest=100 * share,
        items=items_needed(share, share),
        **fields,
    )
