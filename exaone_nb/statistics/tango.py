"""The score interval for a difference of paired proportions (Tango 1998, Statistics in Medicine 17:891-908).

Two models answer the same n items. `lost` items only the first gets right, `won` only the second; items on which they
agree carry no sign. The interval holds every difference that the score test does not reject, so it goes with the
McNemar score test, has a width even where nothing or everything differs, and never leaves -1 to 1.

    score_interval(lost=4, won=0, n=100)     # -0.04, from -0.098 to -0.002
"""

from __future__ import annotations

import math

from exaone_nb.errors import UsageError
from exaone_nb.statistics.estimate import Estimate

# At -1 and 1 themselves the statistic has no variance.
EDGE = 1 - 1e-12


def score_statistic(lost: int, won: int, n: int, difference: float) -> float:
    """Standard normal deviate of the hypothesis that the true difference, second minus first, is `difference`.

    The variance is the one under that hypothesis, where the likeliest share of lost items is the larger root of
    2n q² + b q + c = 0 with the b and c below (Tango's formula for q21). At 0 this is McNemar's z.
    """
    b = -(lost + won) + (2 * n - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share_lost = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * share_lost + difference - difference**2)
    distance = won - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def score_interval(lost: int, won: int, n: int, level: float = 0.95) -> Estimate:
    """The difference of the two shares of right answers, second minus first, with its interval at `level`.

    Raises UsageError for counts that are negative or add up to more than `n`.
    """
    if lost < 0 or won < 0 or n < 1 or lost + won > n:
        raise UsageError(
            f"{lost} lost and {won} won of {n} items.", expected="counts from 0 that add up to at most n."
        )
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + level / 2))
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
