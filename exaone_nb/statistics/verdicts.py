"""What a comparison says at a margin: better, worse, equivalent, borderline or undecided, and what would decide it.

    equivalent    the interval at 90 % lies inside the margin: two one-sided tests at 5 % (Schuirmann 1987; for paired
                  shares Tango 1998). It goes before the others: a difference smaller than what anybody cares about.
    better, worse the interval at 95 % holds no zero, and the exact test agrees.
    borderline    one of the two says that there is a difference and the other does not.
    undecided     neither; `items_to_decide` says how many items it would take.

Verdict, words and picture come from one interval. Where several questions are asked together, Holm's method decides at
which level each interval is drawn, so that it holds no zero exactly when the corrected test rejects.

    judge([RightOrWrong(lost=50, won=20, n=1000)], p_exact=[0.00044], margins=[0.01])[0].name     # "worse"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.statistics import paired
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.planning import ALPHA, items_to_decide

VERDICTS = ("better", "worse", "equivalent", "borderline", "undecided")


class Evidence(Protocol):
    """A paired difference, candidate minus base, with the test that its interval inverts. Up is better."""

    value: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the statistic; infinite for a normal deviate."""

    def statistic(self, hypothesis: float) -> float:
        """The test statistic of the hypothesis that the true difference is this."""

    def variance(self, hypothesis: float) -> float:
        """Variance of one item's difference under that hypothesis."""

    def interval(self, level: float) -> Estimate:
        """The difference with its interval at `level`."""


@dataclass(frozen=True)
class RightOrWrong:
    """Items that are right or wrong under both models: `lost` only under the base, `won` only under the candidate."""

    lost: int
    won: int
    n: int
    freedom = math.inf

    @property
    def value(self) -> float:
        return (self.won - self.lost) / self.n

    def statistic(self, hypothesis: float) -> float:
        return paired.score_statistic(self.lost, self.won, self.n, hypothesis)

    def variance(self, hypothesis: float) -> float:
        return paired.score_variance(self.lost, self.won, self.n, hypothesis)

    def interval(self, level: float = 0.95) -> Estimate:
        return paired.score_interval(self.lost, self.won, self.n, level)


@dataclass(frozen=True)
class Verdict:
    """One of VERDICTS, with its grounds.

    `difference` has the interval at `level`, and `within` the one at `within_level` that equivalence is read from.
    `p` is of the test that belongs to the interval, `p_exact` of the exact one beside it; both are corrected by Holm's
    method in `p_holm` and `p_exact_holm`. `items_to_decide` is set for "undecided" and "borderline".
    """

    name: str
    margin: float
    difference: Estimate
    level: float
    within: Estimate
    within_level: float
    p: float
    p_holm: float
    p_exact: float
    p_exact_holm: float
    items_to_decide: int | None = None


def p_different(evidence: Evidence) -> float:
    """Two-sided p of no difference, by the test that belongs to the interval."""
    return 2 * _tail(evidence, abs(evidence.statistic(0.0)))


def p_not_equivalent(evidence: Evidence, margin: float) -> float:
    """The larger p of two one-sided tests: a small one says that the difference lies inside the margin."""
    return max(_tail(evidence, evidence.statistic(-margin)), _tail(evidence, -evidence.statistic(margin)))


def judge(
    family: Sequence[Evidence], p_exact: Sequence[float], margins: Sequence[float], alpha: float = ALPHA
) -> list[Verdict]:
    """One verdict for each question of a family, corrected together. `margins` are in the unit of the differences.

    Raises UsageError for a margin that is not above zero or a level that no interval has.
    """
    if not all(margin > 0 and math.isfinite(margin) for margin in margins):
        raise UsageError(say("The margin is not above zero."), expected=say("0.01 for one point of a score."))
    if not 0 < alpha < 0.5:
        raise UsageError(say("The level is {alpha:g}.", alpha=alpha), expected=say("between 0 and 0.5."))
    different = [p_different(evidence) for evidence in family]
    apart = [p_not_equivalent(evidence, margin) for evidence, margin in zip(family, margins, strict=True)]
    return [
        _one(evidence, margin, alpha, p=p, p_holm=min(1.0, factor * p), level=1 - alpha / factor,
             within_level=1 - 2 * alpha / inner, p_exact=exact, p_exact_holm=corrected)
        for evidence, margin, p, factor, inner, exact, corrected in zip(
            family, margins, different, paired.holm_factors(different), paired.holm_factors(apart),
            p_exact, paired.holm(p_exact), strict=True,
        )
    ]  # fmt: skip


def _one(evidence: Evidence, margin: float, alpha: float, **grounds: float) -> Verdict:
    difference, within = evidence.interval(grounds["level"]), evidence.interval(grounds["within_level"])
    clear, exactly = difference.excludes_zero, grounds["p_exact_holm"] <= alpha
    if within.low > -margin and within.high < margin:
        name = "equivalent"
    elif clear and exactly:
        name = "better" if difference.value > 0 else "worse"
    else:
        name = "borderline" if clear or exactly else "undecided"
    needed = None
    if name in ("borderline", "undecided"):
        needed = items_to_decide(evidence.value, evidence.variance, margin, alpha=alpha)
    return Verdict(
        name, margin=margin, difference=difference, within=within, items_to_decide=needed, **grounds
    )


def _tail(evidence: Evidence, statistic: float) -> float:
    if evidence.freedom == math.inf:
        return math.erfc(statistic / math.sqrt(2)) / 2
    from scipy.special import stdtr

    return float(stdtr(evidence.freedom, -statistic))
