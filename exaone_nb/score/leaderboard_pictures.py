"""The public submissions as a picture: score against server time, and all scores by method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exaone_nb.score.leaderboard import Groups, Submission
from exaone_nb.score.pictures import COLOURS, FAINT, INK, MARKERS, clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = ("W8A8", "FP8", "W4A16 mixed", "W4A16", "BF16", "trained", "pruned")


def leaderboard_figure(found: Sequence[Submission], split: Groups) -> Figure:
    """Left: score against minutes where a time is known. Right: every score, one row per family."""
    import matplotlib.pyplot as plt

    figure, (times, families) = plt.subplots(1, 2, figsize=(12.2, 4.2), gridspec_kw={"wspace": 0.36})
    looks = {
        name: (COLOURS[i % len(COLOURS)] if name != "BF16" else INK, MARKERS[i % len(MARKERS)])
        for i, name in enumerate(FAMILIES)
    }
    for name in FAMILIES:
        timed = [s for s in found if s.family == name and s.minutes is not None]
        colour, marker = looks[name]
        times.scatter(
            [s.minutes for s in timed],
            [s.score for s in timed],
            color=colour,
            marker=marker,
            s=46,
            label=name if timed else None,
            zorder=3,
        )
    times.axvspan(*split.gap, color="#f1f1f1", linewidth=0)
    low, high = times.get_ylim()
    times.text(
        sum(split.gap) / 2,
        low + 0.03 * (high - low),
        "nothing\nin between",
        ha="center",
        fontsize=8.5,
        color=INK,
    )
    times.legend(frameon=False, fontsize=8.5, loc="upper right")
    times.set_xlabel("minutes on the server")
    times.set_ylabel("score")
    times.set_title(
        f"{len(split.fast) + len(split.slow)} submissions with a known time", fontsize=10, loc="left"
    )
    clean(times)

    for members, colour in ((split.fast, "#e3eef6"), (split.slow, "#f8e8dd")):
        families.axvspan(
            min(s.score for s in members), max(s.score for s in members), color=colour, linewidth=0, zorder=0
        )
    for height, name in enumerate(reversed(FAMILIES)):
        scores = sorted(s.score for s in found if s.family == name)
        colour, marker = looks[name]
        # Neighbours that would overlap are set apart by a fixed pattern, not by chance.
        offsets = [0.16 * ((i % 3) - 1) for i in range(len(scores))]
        families.scatter(
            scores, [height + o for o in offsets], color=colour, marker=marker, s=32, alpha=0.85, zorder=3
        )
    families.axvline(0.5, color=FAINT, linestyle=":", linewidth=0.9)
    families.set_yticks(
        range(len(FAMILIES)),
        [f"{name} ({sum(s.family == name for s in found)})" for name in reversed(FAMILIES)],
    )
    families.set_xlabel("score; shaded: the range of the fast (blue) and the slow (orange) group")
    families.set_title(f"all {len(found)} published scores", fontsize=10, loc="left")
    clean(families)
    return figure
