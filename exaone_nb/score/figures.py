"""Chapter 07's figures: intervals of the differences, and what a number of items can see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exaone_nb.score.compare import Comparison
from exaone_nb.statistics import planning as planner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Shape and colour both carry the verdict (Okabe-Ito colours, safe for colour blindness and print).
LOOK = {
    "worse": ("#D55E00", "v"),
    "better": ("#0072B2", "^"),
    "within noise": ("#555555", "o"),
    "identical": ("#555555", "s"),
}


def differences(comparisons: Sequence[Comparison]) -> Figure:
    """One line per comparison: the difference in points with its 95 % interval, zero marked."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(comparisons)), layout="constrained")
    used = set()
    for row, c in enumerate(comparisons):
        colour, marker = LOOK[c.verdict]
        low, high = (100 * end for end in c.interval)
        axes.plot([low, high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        label = c.verdict if c.verdict not in used else None
        axes.plot(100 * c.difference, row, marker, color=colour, markersize=8, linestyle="none", label=label)
        used.add(c.verdict)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(comparisons)), [f"{c.candidate} · {c.task}" for c in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("difference to the base in points, with its paired 95 % interval")
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def visible_drops(shares: Sequence[float], marks: Sequence[tuple[str, int]]) -> Figure:
    """Smallest visible drop in points against the number of items, one line per share of differing items."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    counts = np.unique(np.geomspace(20, 20000, 60).astype(int))
    for share, style in zip(shares, ("-", "--", ":", "-."), strict=False):
        drops = [planner.smallest_drop(int(n), share) for n in counts]
        points = [np.nan if drop is None else 100 * drop for drop in drops]
        axes.plot(
            counts, points, style, color="#0072B2", linewidth=2, label=f"{100 * share:.0f} % of items differ"
        )
    for label, n in marks:
        axes.axvline(n, color="#bbbbbb", linewidth=1)
        axes.annotate(
            label,
            (n, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation=90,
            va="bottom",
            ha="right",
            fontsize=8,
            color="#555555",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.set_xlabel("items")
    axes.set_ylabel("smallest drop seen (points)")
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False)
    return figure
