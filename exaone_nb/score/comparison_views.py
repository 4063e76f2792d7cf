"""Scores and comparisons as tables and figures: what came out, what is real, and what a number of items can see."""

from collections.abc import Sequence

from exaone_nb.library_types import Figure
from exaone_nb.messages import say, translated
from exaone_nb.score.comparison import Comparison
from exaone_nb.score.evaluate import Score
from exaone_nb.show.figures import (
    BAND_ALPHA,
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    STYLES,
    VERMILLION,
    Style,
    canvas,
    clean,
)
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics import planning

# Shape and colour both carry the verdict.
LOOKS = {
    "worse": Style(VERMILLION, marker="v"),
    "better": Style(BLUE, marker="^"),
    "equivalent": Style(GREEN, marker="s"),
    "borderline": Style(ORANGE, marker="D"),
    "undecided": Style(INK, marker="o"),
}


def score_table(scores: Sequence[Score]) -> Table:
    """One row per model and task: score, interval, and what became of the items that were not right."""
    columns = [
        Column("recipe", say("model"), code=True),
        Column("runs_as", say("the engine ran it as"), code=True),
        Column("task", say("task"), code=True),
        Column("metric", say("metric"), code=True),
        Column("estimate", say("score, 95 %"), ".4f"),
        Column("n", say("n"), ","),
        Column("wrong", say("wrong"), ","),
        Column("unparsable", say("unparsable"), ","),
        Column("truncated", say("cut"), ","),
        Column("prompt_cut", say("prompt cut"), ","),
        Column("empty", say("empty"), ","),
        Column("seconds", say("seconds"), ".0f", missing=say("before")),
    ]
    rows = [
        vars(s) | s.outcomes | {"n": s.estimate.n, "seconds": None if s.resumed else s.seconds}
        for s in scores
    ]
    return Table(columns, rows).without_empty()


def verdict_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison: the verdict, its paired evidence, and the unpaired p beside it. Parts follow their group."""
    # A perplexity has no points: a hundredth of the base's stands for one.
    percent = any(c.lower_is_better for c in comparisons)
    unit = say("points or % of a perplexity, paired interval") if percent else say("points, paired interval")
    columns = [
        Column("candidate", say("candidate"), code=True),
        Column("task", say("task"), code=True),
        Column("part_of", say("part of"), code=True),
        Column("difference", unit, "+.1f"),
        Column("verdict", say("verdict"), ours=True),
        Column("p_value", say("p paired"), ".3g"),
        Column("unpaired_p", say("p unpaired"), ".3g"),
        Column("p_holm", say("p Holm"), ".3g"),
        Column("only_base", say("only base right")),
        Column("only_candidate", say("only candidate right")),
        Column("recovery", say("recovery"), ".1%"),
        Column("items_to_decide", say("items to decide"), ","),
    ]
    rows = []
    for c in comparisons:
        row = vars(c) | {name: getattr(c, name) for name in ("verdict", "p_value", "items_to_decide")}
        row["difference"] = c.in_points
        row |= vars(c.discordant) if c.discordant else {}
        row |= {
            "p_holm": None if c.p_holm == c.p_value else c.p_holm,
            "recovery": c.recovery and c.recovery.value,
        }
        rows.append(row)
    return Table(columns, rows).without_empty()


def differences_figure(comparisons: Sequence[Comparison]) -> Figure:
    """One line per comparison: the difference in points with the interval of its verdict, and the margin as a band.

    The thin line is the interval that says "different", the thick one inside it the interval that says "equivalent".
    """
    figure, axes = canvas(7.5, 0.9 + 0.42 * len(comparisons), layout="constrained")
    margin = 100 * max(c.margin for c in comparisons)
    axes.axvspan(-margin, margin, color=FAINT, alpha=BAND_ALPHA, linewidth=0, label=say("the margin"))
    axes.axvline(0, color=INK, linewidth=1)
    used = set()
    for row, c in enumerate(comparisons):
        look, points, inner = LOOKS[c.verdict], c.in_points, c.within * (1 / c.point)
        axes.plot([points.low, points.high], [row, row], color=look.colour, linewidth=1.5)
        axes.plot([inner.low, inner.high], [row, row], color=look.colour, linewidth=4, alpha=0.5)
        label = None if c.verdict in used else translated(c.verdict)
        axes.plot(points.value, row, look.marker, color=look.colour, markersize=8, label=label)
        used.add(c.verdict)
    axes.set_yticks(range(len(comparisons)), [f"{c.candidate} · {c.task}" for c in comparisons])
    axes.invert_yaxis()
    if any(c.lower_is_better for c in comparisons):
        axes.set_xlabel(
            say("difference to the base in points, or in % of its perplexity, with its paired interval")
        )
    else:
        axes.set_xlabel(say("difference to the base in points, with its paired interval"))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    clean(axes, "x")
    return figure


def visible_drops_figure(shares: Sequence[float], marks: Sequence[tuple[str, int]]) -> Figure:
    """Smallest visible drop in points against the number of items, one line per share of differing items."""
    import numpy as np

    figure, axes = canvas(7.5, 4.2, layout="constrained")
    counts = np.unique(np.geomspace(20, 20000, 60).astype(int))
    for share, look in zip(shares, STYLES, strict=False):
        drops = [planning.smallest_drop(int(n), share) for n in counts]
        points = [np.nan if drop is None else 100 * drop for drop in drops]
        label = say("{share:.0%} of items differ", share=share)
        axes.plot(counts, points, color=look.colour, linestyle=look.line, linewidth=2, label=label)
    for label, n in marks:
        axes.axvline(n, color=FAINT, linewidth=0.8)
        words = {"rotation": 90, "ha": "right", "va": "bottom", "fontsize": 8, "color": INK}
        axes.text(0.96 * n, 0.03, label, transform=axes.get_xaxis_transform(), **words)
    axes.set(xscale="log", yscale="log", xlabel=say("items"), ylabel=say("smallest drop seen (points)"))
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.legend(frameon=False)
    clean(axes)
    return figure
