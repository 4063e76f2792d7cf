"""Reading a leaderboard like a scientist: the hackathon's public submissions, and what follows from them.

Everything here is recorded (data/hackathon/), nothing was measured by the workbook. Three questions: do the scores
fall into groups, how far apart do two submissions of the same thing land, and which conclusions survive that.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import DATA

Row = TypeVar("Row")
FOLDER = DATA / "hackathon"
# Some scores were published with two digits.
ROUNDING = 0.005
SOURCE = "public repositories of participants of LG Aimers 8, 2026-02, collected 2026-03"


@dataclass(frozen=True)
class Submission:
    """One published score. `minutes` is the server's time, `local_score` the participant's own accuracy before it.

    `artifact` is the same for submissions of one and the same thing, and empty for what was submitted once.
    """

    family: str
    method: str
    detail: str
    score: float
    minutes: float | None
    local_score: float | None
    repository: str
    where: str
    evidence: str
    date: str
    artifact: str


@dataclass(frozen=True)
class TimeGroups:
    """Submissions with a server time, split at the widest gap between times; `gap` in minutes, longest to shortest."""

    fast: tuple[Submission, ...]
    slow: tuple[Submission, ...]
    gap: tuple[float, float]

    def of_score(self, score: float) -> str:
        """Which group's scores a score lies among: "fast", "slow", or "neither"."""
        for name, members in (("fast", self.fast), ("slow", self.slow)):
            low, high = min(m.score for m in members), max(m.score for m in members)
            if low - ROUNDING <= score <= high + ROUNDING:
                return name
        return "fast" if score > max(m.score for m in self.fast) else "neither"


@dataclass(frozen=True)
class RerunNoise:
    """Standard deviation of one score when the same thing is submitted again, with its 95 % interval."""

    sd: float
    low: float
    high: float
    pairs: int

    @property
    def believable(self) -> float:
        """The difference of two single scores that plain noise exceeds in 5 % of cases."""
        return 1.96 * math.sqrt(2) * self.sd

    @property
    def safe(self) -> float:
        """The same, with the largest noise that the pairs still allow."""
        return 1.96 * math.sqrt(2) * self.high


@dataclass(frozen=True)
class Conclusion:
    """What somebody concluded from two scores, and what really differed between the two submissions."""

    belief: str
    better: float
    worse: float
    takes_effect: bool
    what_differed: str
    repository: str
    where: str

    @property
    def difference(self) -> float:
        return self.better - self.worse


def read_submissions(path: Path = FOLDER / "submissions.csv") -> tuple[Submission, ...]:
    """The rows of a submissions file. Raises WorkbookError naming the line that is not right."""
    optional = {"local_score": lambda text: float(text) if text else None}
    return _read(path, Submission, {"score": float, "minutes": _minutes, **optional})


@cache
def submissions() -> tuple[Submission, ...]:
    """The stored submissions."""
    return read_submissions()


@cache
def conclusions() -> tuple[Conclusion, ...]:
    """The stored conclusions."""
    readers = {"better": float, "worse": float, "takes_effect": "yes".__eq__}
    return _read(FOLDER / "conclusions.csv", Conclusion, readers)


def groups(found: Iterable[Submission] | None = None) -> TimeGroups:
    """Split the timed submissions at the widest gap between neighbouring times."""
    timed = sorted(
        (s for s in (submissions() if found is None else found) if s.minutes is not None),
        key=lambda s: s.minutes,
    )
    if len(timed) < 4:
        raise WorkbookError(say("{n} submissions with a time are too few to look for groups.", n=len(timed)))
    cut = max(range(1, len(timed)), key=lambda i: timed[i].minutes - timed[i - 1].minutes)
    return TimeGroups(tuple(timed[:cut]), tuple(timed[cut:]), (timed[cut - 1].minutes, timed[cut].minutes))


def rerun_noise(found: Sequence[Submission] | None = None) -> RerunNoise:
    """Noise from pairs of the same thing: sd = sqrt(mean of difference^2 / 2); its interval from chi-square."""
    from scipy.stats import chi2

    found = submissions() if found is None else found
    repeated: dict[str, list[float]] = {}
    for s in found:
        if s.artifact:
            repeated.setdefault(s.artifact, []).append(s.score)
    squares = [(scores[0] - scores[1]) ** 2 / 2 for scores in repeated.values() if len(scores) > 1]
    if not squares:
        raise WorkbookError(say("No submission is there twice, so nothing says how large the noise is."))
    n = len(squares)
    variance = sum(squares) / n
    low, high = (math.sqrt(n * variance / chi2.ppf(q, n)) for q in (0.975, 0.025))
    return RerunNoise(math.sqrt(variance), low, high, n)


def verdict(conclusion: Conclusion, split: TimeGroups, noise: RerunNoise) -> str:
    """What is left of a conclusion once groups and noise are known."""
    crosses = split.of_score(conclusion.better) == "fast" and split.of_score(conclusion.worse) == "slow"
    if not conclusion.takes_effect and crosses:
        return say("does not survive: the setting has no effect, the score jumped groups")
    if not conclusion.takes_effect:
        return say("does not survive: the setting has no effect")
    if crosses:
        return say("open: the score jumped groups, and the same recipes are found in both")
    if conclusion.difference <= noise.believable:
        return say("does not survive: within noise")
    if conclusion.difference <= noise.safe:
        return say("open: more than the noise seen, less than the noise there may be")
    return say("survives")


def local_against_server(found: Sequence[Submission] | None = None) -> tuple[float, float, int]:
    """Spearman's rank correlation of local accuracy and server score: (rho, exact p, number of submissions).

    Each artifact counts once. The p value is by permutation, since there are few.
    """
    from scipy.stats import PermutationMethod, pearsonr, rankdata

    chosen: dict[str, Submission] = {}
    for s in submissions() if found is None else found:
        if s.local_score is not None:
            chosen.setdefault(s.artifact or f"{s.repository} {s.detail}", s)
    if len(chosen) < 4:
        raise WorkbookError(
            say("{n} submissions with a local score are too few for a correlation.", n=len(chosen))
        )
    local, server = (
        rankdata([getattr(s, name) for s in chosen.values()]) for name in ("local_score", "score")
    )
    # Spearman's correlation is Pearson's of the ranks.
    found = pearsonr(local, server, method=PermutationMethod(n_resamples=100_000))
    return float(found.statistic), float(found.pvalue), len(chosen)


def _minutes(text: str) -> float | None:
    if not text:
        return None
    minutes, colon, seconds = text.partition(":")
    if not colon or not 0 <= int(seconds) < 60:
        raise ValueError(f"{text!r} is no time")
    return int(minutes) + int(seconds) / 60


def _read(path: Path, kind: type[Row], readers: Mapping[str, Callable[[str], Any]]) -> tuple[Row, ...]:
    """A CSV file as records of a dataclass whose fields are its columns; `readers` make more than text of some."""
    columns = set(kind.__dataclass_fields__)
    found = []
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        if set(reader.fieldnames or ()) != columns:
            raise WorkbookError(
                say(
                    "{path.name} has the columns {found}.",
                    path=path,
                    found=", ".join(reader.fieldnames or ()),
                ),
                expected=", ".join(columns),
                remedy=say("Restore the file from the repository."),
            )
        for row in reader:
            try:
                found.append(kind(**{name: readers.get(name, str)(text) for name, text in row.items()}))
            except ValueError as error:
                raise WorkbookError(
                    say("{name} line {line}: {why}.", name=path.name, line=reader.line_num, why=str(error)),
                    expected=say("numbers, and minutes as m:ss."),
                    remedy=say("Correct the line."),
                ) from error
    return tuple(found)
