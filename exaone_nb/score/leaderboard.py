"""Reading a leaderboard like a scientist: the hackathon's public submissions, and what follows from them.

Everything here is recorded (data/hackathon/), nothing was measured by the workbook. Three questions: do the scores
fall into groups, how far apart do two submissions of the same thing land, and which conclusions survive that.
"""

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from exaone_nb import schema
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Figure
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.figures import BLUE, FAINT, INK, VERMILLION, clean, styles_of
from exaone_nb.show.table import Column, Table

Row = TypeVar("Row")
FOLDER = DATA / "hackathon"
FAMILIES = ("W8A8", "FP8", "W4A16 mixed", "W4A16", "BF16", "trained", "pruned")
# Some scores were published with two digits.
ROUNDING = 0.005
# What a difference of two scores is; NOISE also where a setting has no effect, so that there is nothing to be real.
REAL, NOISE, OPEN = "real", "noise", "open"
SOURCE = say("public repositories of participants of LG Aimers 8, 2026-02, collected 2026-03")


def in_words(family: str) -> str:
    """One of FAMILIES, as the reader reads it."""
    said = {"W4A16 mixed": say("W4A16 mixed"), "trained": say("trained"), "pruned": say("pruned")}
    return said.get(family, family)


def _cell(pattern: str, expected: str, convert: Callable[[str], float] = float) -> Any:
    """What stands in a cell of the files; None where it is empty and may be."""
    return schema.kind(
        Any, re.compile(pattern).fullmatch, expected, lambda text: convert(text) if text else None
    )


Number = _cell(r"-?\d+\.?\d*", "a number.")
MaybeNumber = _cell(r"(\d+\.?\d*)?", "a number, or nothing.")
Minutes = _cell(
    r"(\d+:[0-5]\d)?", "minutes as m:ss, or nothing.", lambda text: int(text[:-3]) + int(text[-2:]) / 60
)
YesNo = schema.kind(bool, ("yes", "no").__contains__, "yes or no.", "yes".__eq__)


@dataclass(frozen=True)
class Submission:
    """One published score. `minutes` is the server's time, `local_score` the participant's own accuracy before it.

    `artifact` is the same for submissions of one and the same thing, and empty for what was submitted once.
    """

    family: str
    method: str
    detail: str
    score: Number
    minutes: Minutes
    local_score: MaybeNumber
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
    """What somebody concluded from two scores, and what really differed between the two submissions.

    `counterexample` is the score of another team that did the same as the worse one, where there is one.
    """

    belief: str
    better: Number
    worse: Number
    takes_effect: YesNo
    what_differed: str
    repository: str
    where: str
    counterexample: MaybeNumber

    @property
    def difference(self) -> float:
        return self.better - self.worse


def read_rows(path: Path, kind: type[Row]) -> tuple[Row, ...]:
    """A CSV file as records of a dataclass whose fields are its columns. Raises UsageError naming the line."""
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        return tuple(schema.read(row, kind, f"{path.name} line {reader.line_num}") for row in reader)


@cache
def submissions() -> tuple[Submission, ...]:
    return read_rows(FOLDER / "submissions.csv", Submission)


def conclusions() -> tuple[Conclusion, ...]:
    """As recorded, told in the language that is spoken."""
    found = read_rows(FOLDER / "conclusions.csv", Conclusion)
    return tuple(
        replace(one, belief=translated(one.belief), what_differed=translated(one.what_differed))
        for one in found
    )


def groups() -> TimeGroups:
    """Split the timed submissions at the widest gap between neighbouring times."""
    timed = sorted((s for s in submissions() if s.minutes is not None), key=lambda s: s.minutes)
    cut = max(range(1, len(timed)), key=lambda i: timed[i].minutes - timed[i - 1].minutes)
    return TimeGroups(tuple(timed[:cut]), tuple(timed[cut:]), (timed[cut - 1].minutes, timed[cut].minutes))


def rerun_noise(found: Sequence[Submission] | None = None) -> RerunNoise:
    """Noise from pairs of the same thing: sd = sqrt(mean of difference^2 / 2); its interval from chi-square."""
    from scipy.stats import chi2

    repeated: dict[str, list[float]] = {}
    for s in submissions() if found is None else found:
        if s.artifact:
            repeated.setdefault(s.artifact, []).append(s.score)
    squares = [(scores[0] - scores[1]) ** 2 / 2 for scores in repeated.values() if len(scores) > 1]
    if not squares:
        raise WorkbookError(say("No submission is there twice, so nothing says how large the noise is."))
    n, total = len(squares), sum(squares)
    low, high = (math.sqrt(total / chi2.ppf(q, n)) for q in (0.975, 0.025))
    return RerunNoise(math.sqrt(total / n), low, high, n)


def verdict(conclusion: Conclusion, split: TimeGroups, noise: RerunNoise) -> tuple[str, str]:
    """One of REAL, NOISE and OPEN, and in words what is left of a conclusion once groups and noise are known."""
    crosses = split.of_score(conclusion.better) == "fast" and split.of_score(conclusion.worse) == "slow"
    if not conclusion.takes_effect:
        jumped = say("noise: the setting has no effect, and the scores lie in two groups")
        return NOISE, jumped if crosses else say("noise: the setting has no effect")
    if crosses:
        return OPEN, say("open: the scores lie in two groups, and the same recipes are found in both")
    if conclusion.difference <= noise.believable:
        return NOISE, say("noise: two submissions of the same can differ as much")
    if conclusion.difference <= noise.safe:
        return OPEN, say("open: more than the noise seen, less than the noise there may be")
    if conclusion.counterexample is not None:
        return OPEN, say(
            "open: another team did the same and scored {score:.3f}", score=conclusion.counterexample
        )
    return REAL, say("real: it survives")


def local_against_server(found: Sequence[Submission] | None = None) -> tuple[float, float, int]:
    """Spearman's rank correlation of local accuracy and server score: (rho, exact p, number of submissions).

    Each artifact counts once. The p value is by permutation, since there are few.
    """
    from scipy.stats import PermutationMethod, pearsonr, rankdata

    chosen: dict[str, tuple[float, float]] = {}
    for s in submissions() if found is None else found:
        if s.local_score is not None:
            chosen.setdefault(s.artifact or f"{s.repository} {s.detail}", (s.local_score, s.score))
    # Spearman's correlation is Pearson's of the ranks.
    ranks = rankdata(list(chosen.values()), axis=0).T
    rank = pearsonr(*ranks, method=PermutationMethod(n_resamples=100_000))
    return float(rank.statistic), float(rank.pvalue), len(chosen)


def conclusions_table(split: TimeGroups, noise: RerunNoise) -> Table:
    """What participants concluded from two scores, what differed, and what is left of it."""
    columns = [
        Column("belief", say("what was concluded")),
        Column("better", say("score"), ".4f"),
        Column("worse", say("against"), ".4f"),
        Column("difference", say("difference"), ".4f"),
        Column("what_differed", say("what differed"), ours=True),
        Column("verdict", say("what is left of it")),
        Column("repository", say("source")),
    ]
    rows = [
        vars(c) | {"difference": c.difference, "verdict": verdict(c, split, noise)[1]} for c in conclusions()
    ]
    return Table(columns, rows)


def leaderboard_figure(found: Sequence[Submission], split: TimeGroups) -> Figure:
    """Left: score against minutes where a time is known. Right: every score, one row per family."""
    import matplotlib.pyplot as plt

    figure, (times, families) = plt.subplots(1, 2, figsize=(12.2, 4.2), gridspec_kw={"wspace": 0.36})
    looks = styles_of(FAMILIES)
    looks["BF16"] = replace(looks["BF16"], colour=INK)
    for members, colour in ((split.fast, BLUE), (split.slow, VERMILLION)):
        scores = [s.score for s in members]
        families.axvspan(min(scores), max(scores), color=colour, alpha=0.12, linewidth=0, zorder=0)
    for height, name in enumerate(reversed(FAMILIES)):
        look = looks[name]
        timed = [(s.minutes, s.score) for s in found if s.family == name and s.minutes is not None]
        mark = {"color": look.colour, "marker": look.marker, "zorder": 3}
        if timed:
            times.scatter(*zip(*timed, strict=True), s=46, label=in_words(name), **mark)
        scores = sorted(s.score for s in found if s.family == name)
        # Neighbours that would overlap are set apart by a fixed pattern, not by chance.
        heights = [height + 0.16 * ((i % 3) - 1) for i in range(len(scores))]
        families.scatter(scores, heights, s=32, alpha=0.85, **mark)
    times.axvspan(*split.gap, color="#f1f1f1", linewidth=0)
    words = {"ha": "center", "fontsize": 8.5, "color": INK, "transform": times.get_xaxis_transform()}
    times.text(sum(split.gap) / 2, 0.03, say("nothing\nin between"), **words)
    times.legend(frameon=False, fontsize=8.5, loc="upper right")
    times.set(xlabel=say("minutes on the server"), ylabel=say("score"))
    timed_count = len(split.fast) + len(split.slow)
    times.set_title(say("{n} submissions with a known time", n=timed_count), fontsize=10, loc="left")
    clean(times)
    families.axvline(0.5, color=FAINT, linestyle=":", linewidth=0.9)
    counts = [f"{in_words(name)} ({sum(s.family == name for s in found)})" for name in reversed(FAMILIES)]
    families.set_yticks(range(len(FAMILIES)), counts)
    families.set_xlabel(say("score; shaded: the range of the fast (blue) and the slow (orange) group"))
    families.set_title(say("all {n} published scores", n=len(found)), fontsize=10, loc="left")
    clean(families)
    return figure
