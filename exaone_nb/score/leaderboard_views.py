"""The public submissions as a picture (score against server time, and all scores by method), and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from exaone_nb.messages import say
from exaone_nb.score.leaderboard import RerunNoise, Submission, TimeGroups, conclusions, verdict
from exaone_nb.show.figures import BLUE, FAINT, INK, VERMILLION, clean, styles_of
from exaone_nb.show.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = ("W8A8", "FP8", "W4A16 mixed", "W4A16", "BF16", "trained", "pruned")


def conclusions_table(split: TimeGroups, noise: RerunNoise) -> Table:
    """What participants concluded from two scores, what differed, and what is left of it."""
    columns = [
        Column("belief", say("what was concluded")),
        Column("better", say("score"), ".4f"),
        Column("worse", say("against"), ".4f"),
        Column("difference", say("difference"), ".4f"),
        Column("what_differed", say("what differed")),
        Column("verdict", say("what is left of it")),
        Column("repository", say("source")),
    ]
    rows = [
        vars(c) | {"difference": c.difference, "verdict": verdict(c, split, noise)} for c in conclusions()
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
        timed = [s for s in found if s.family == name and s.minutes is not None]
        times.scatter(
            [s.minutes for s in timed],
            [s.score for s in timed],
            color=look.colour,
            marker=look.marker,
            s=46,
            label=name if timed else None,
            zorder=3,
        )
        scores = sorted(s.score for s in found if s.family == name)
        # Neighbours that would overlap are set apart by a fixed pattern, not by chance.
        heights = [height + 0.16 * ((i % 3) - 1) for i in range(len(scores))]
        families.scatter(scores, heights, color=look.colour, marker=look.marker, s=32, alpha=0.85, zorder=3)
    times.axvspan(*split.gap, color="#f1f1f1", linewidth=0)
    low, high = times.get_ylim()
    times.text(
        sum(split.gap) / 2,
        low + 0.03 * (high - low),
        say("nothing\nin between"),
        ha="center",
        fontsize=8.5,
        color=INK,
    )
    times.legend(frameon=False, fontsize=8.5, loc="upper right")
    times.set_xlabel(say("minutes on the server"))
    times.set_ylabel(say("score"))
    timed_count = len(split.fast) + len(split.slow)
    times.set_title(say("{n} submissions with a known time", n=timed_count), fontsize=10, loc="left")
    clean(times)
    families.axvline(0.5, color=FAINT, linestyle=":", linewidth=0.9)
    families.set_yticks(
        range(len(FAMILIES)),
        [f"{name} ({sum(s.family == name for s in found)})" for name in reversed(FAMILIES)],
    )
    families.set_xlabel(say("score; shaded: the range of the fast (blue) and the slow (orange) group"))
    families.set_title(say("all {n} published scores", n=len(found)), fontsize=10, loc="left")
    clean(families)
    return figure
