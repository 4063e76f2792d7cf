"""Where EXAONE-4.0-1.2B stands among small models, by published scores only (data/published_scores.csv).

The lecture's two tables are used, because they carry asterisks. The lecture does not say what an asterisk means, so
it is shown as printed and nothing is concluded from it.
"""

import statistics
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.library_types import Figure
from exaone_nb.messages import say
from exaone_nb.published import scores
from exaone_nb.show.figures import INK, Style, clean, styles_of
from exaone_nb.show.table import Column, Table, columns

OURS = "EXAONE-4.0-1.2B"
SOURCE = "SMALL-SIZE"
MODES = ("non-reasoning", "reasoning")


def small_models(mode: str) -> list[dict[str, Any]]:
    """The published rows of the small models in one mode, ours first. Raises UsageError for another mode."""
    if mode not in MODES:
        raise UsageError(say("No mode {mode!r}.", mode=mode), expected=say("non-reasoning or reasoning."))
    return sorted(scores(mode=mode, source=SOURCE), key=lambda row: row["model"] != OURS)


def printed_table(mode: str) -> Table:
    """Benchmarks down, models across, cells as the source prints them: the score, its asterisk, or N/A."""
    rows = small_models(mode)
    by_benchmark: dict[str, dict[str, Any]] = {}
    for row in rows:
        # Where the source stars a score, the cell is what stands there, not a number.
        starred = row["note"] == "*" and row["value"] is not None
        line = by_benchmark.setdefault(row["benchmark"], {"benchmark": row["benchmark"]})
        line[row["model"]] = f"{row['value']:g}*" if starred else row["value"]
    models = columns(dict.fromkeys(row["model"] for row in rows), "g", missing=say("N/A"))
    return Table([Column("benchmark", say("benchmark")), *models], list(by_benchmark.values()))


def standing_table(mode: str) -> Table:
    """Per other model: on how many benchmarks ours is above it, of how many both have, and the gaps in points."""
    by_model: dict[str, dict[str, float]] = {}
    for row in small_models(mode):
        if row["value"] is not None:
            by_model.setdefault(row["model"], {})[row["benchmark"]] = row["value"]
    ours = by_model.pop(OURS)
    shown = [
        Column("against", say("against"), code=True),
        Column("above", say("above on")),
        Column("of", say("of")),
        Column("median_gap", say("median gap, points"), "+.1f"),
        Column("lead", say("largest lead"), "+.1f"),
        Column("lead_in", say("in")),
        Column("deficit", say("largest deficit"), "+.1f", missing=say("none")),
        Column("deficit_in", say("in")),
    ]
    names, rows = [column.name for column in shown], []
    for other, theirs in by_model.items():
        gaps = sorted((ours[name] - value, name) for name, value in theirs.items() if name in ours)
        points = [gap for gap, _ in gaps]
        behind = gaps[0] if points[0] < 0 else (None, None)
        above, middle = sum(gap > 0 for gap in points), statistics.median(points)
        rows.append(dict(zip(names, (other, above, len(gaps), middle, *gaps[-1], *behind), strict=True)))
    return Table(shown, rows)


def published_figure(mode: str) -> Figure:
    """A dot per model and benchmark; hollow where the source prints an asterisk."""
    import matplotlib.pyplot as plt

    rows = small_models(mode)
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))[::-1]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(benchmarks) + 1.2))
    for model, look in {OURS: Style(INK, marker="*"), **styles_of(models[1:])}.items():
        shown = [row for row in rows if row["model"] == model and row["value"] is not None]
        axes.scatter(
            [row["value"] for row in shown],
            [benchmarks.index(row["benchmark"]) for row in shown],
            c=["white" if row["note"] == "*" else look.colour for row in shown],
            edgecolors=look.colour,
            marker=look.marker,
            s=90 if model == OURS else 34,
            linewidths=1.4,
            zorder=4 if model == OURS else 3,
        )
        axes.scatter([], [], color=look.colour, marker=look.marker, label=model)
    axes.set_yticks(range(len(benchmarks)), benchmarks)
    axes.set_xlabel(say("published score"))
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    clean(axes)
    return figure
