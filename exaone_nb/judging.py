"""The hackathon's score, as a function of what a workbook can measure.

    Score     = max(w_p * PerfNorm + w_s * SpeedNorm + w_b * SizeNorm, 0)
    PerfNorm  = accuracy / accuracy of the base                   a ratio: it can exceed 1
    SpeedNorm = 1 - (seconds per token / seconds per token of the base)      it can be negative
    SizeNorm  = 1 - (bytes / bytes of the base)                   the final phase only

The base itself scores w_p. Weights and their sources are in data/hackathon/rules.csv. How the final phase turned
bytes into points was not published; SizeNorm is written after the pattern of SpeedNorm.

    score(performance=0.63, performance_base=0.648, seconds=0.9, seconds_base=1.2)      # 0.611
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.written import read_csv


@dataclass(frozen=True)
class Rule:
    """One number of the contest's rules, with where it was read."""

    name: str
    value: float
    unit: str
    meaning: str
    source: str
    date: str


@cache
def rules() -> dict[str, Rule]:
    rows = read_csv(DATA / "hackathon" / "rules.csv")
    return {row["name"]: Rule(**row | {"value": float(row["value"])}) for row in rows}


@dataclass(frozen=True)
class Weights:
    """How much accuracy, speed and size count. They add up to 1. Raises UsageError when they do not."""

    performance: float = 0.5
    speed: float = 0.5
    size: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        parts = (self.performance, self.speed, self.size)
        if any(not math.isfinite(part) or part < 0 for part in parts) or abs(sum(parts) - 1) > 1e-6:
            raise UsageError(
                say(
                    "The weights {parts} add up to {total:g}.",
                    parts=", ".join(f"{part:g}" for part in parts),
                    total=sum(parts),
                ),
                expected="three numbers from 0 to 1 that add up to 1: accuracy, speed, size.",
            )

    @property
    def sum_in_words(self) -> str:
        """The weighted sum: `0.5 PerfNorm + 0.5 SpeedNorm`."""
        parts = [(self.performance, "PerfNorm"), (self.speed, "SpeedNorm"), (self.size, "SizeNorm")]
        return " + ".join(f"{weight:g} {name}" for weight, name in parts if weight)

    @property
    def formula(self) -> str:
        return f"max({self.sum_in_words}, 0)"


def weights_of(phase: str) -> Weights:
    """The recorded weights of "phase2" (online) or "phase3" (final). Raises UsageError for another name."""
    known = rules()
    if f"{phase}.performance" not in known:
        got = say("No weights are recorded for {phase!r}.", phase=phase)
        raise UsageError(got, expected="phase2 or phase3.")
    parts = {name: known[f"{phase}.{name}"] for name in ("performance", "speed", "size")}
    rule = parts["performance"]
    source = say("{source}, {date}", source=translated(rule.source), date=rule.date)
    return Weights(**{name: part.value for name, part in parts.items()}, source=source)


def perf_norm(performance: Any, base: Any) -> Any:
    """Accuracy as a ratio to the base; numbers or arrays. Raises WorkbookError when the base solved nothing."""
    remedy = say("PerfNorm is a ratio to the base, so a base that solves nothing has none.")
    return np.divide(performance, _above_zero(base, say("accuracy"), remedy))


def speed_norm(seconds: Any, base: Any) -> Any:
    """One minus the ratio of seconds per token; numbers or arrays."""
    again = say("Measure it again.")
    times = (_above_zero(value, say("time per token"), again) for value in (seconds, base))
    return 1 - np.divide(*times)


def size_norm(size: Any, base: Any) -> Any:
    """One minus the ratio of bytes; numbers or arrays."""
    remedy = say("Name the checkpoint that everything is compared with.")
    return 1 - np.divide(size, _above_zero(base, say("size"), remedy))


def score(
    *,
    performance: Any,
    performance_base: Any,
    seconds: Any,
    seconds_base: Any,
    size: Any = None,
    size_base: Any = None,
    weights: Weights | None = None,
) -> Any:
    """The score; every argument a number, or an array of equally likely values (see `statistics.draws`).

    Raises UsageError when the weights count size and none is given.
    """
    weights = weights or Weights()
    total = weights.performance * perf_norm(performance, performance_base)
    total = total + weights.speed * speed_norm(seconds, seconds_base)
    if weights.size:
        if size is None or size_base is None:
            raise UsageError("These weights count the file size.", expected="size and size_base.")
        total = total + weights.size * size_norm(size, size_base)
    return np.maximum(total, 0)


def _above_zero(value: Any, what: str, remedy: str) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if not np.all(np.isfinite(array)) or np.any(array <= 0):
        got = say("A {what} of {value:g} cannot be part of a score.", what=what, value=np.min(array))
        raise WorkbookError(got, expected=say("a {what} above 0.", what=what), remedy=remedy)
    return array
