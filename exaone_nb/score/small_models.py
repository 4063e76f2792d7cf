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

OURS = "EXAONE-4.0-1.2B"
SOURCE = "SMALL-SIZE"
MODES = ("non-reasoning", "reasoning")


def small_models(mode: str) -> list[dict[str, Any]]:
    """The published rows of the small models in one mode, ours first. Raises UsageError for another mode."""
    if mode not in MODES:
        raise UsageError(say("No mode {mode!r}.", mode=mode), expected=say("non-reasoning or reasoning."))
    return sorted(scores(mode=mode, source=SOURCE), key=lambda row: row["model"] != OURS)


def standing_words(mode: str) -> str:
    """On how many benchmarks ours is above each other model, of how many both have, and the median gap in points."""
    by_model: dict[str, dict[str, float]] = {}
    for row in small_models(mode):
        if row["value"] is not None:
            by_model.setdefault(row["model"], {})[row["benchmark"]] = row["value"]
    ours, parts = by_model.pop(OURS), []
    for other, theirs in by_model.items():
        gaps = [ours[name] - value for name, value in theirs.items() if name in ours]
        counts = {"above": sum(gap > 0 for gap in gaps), "n": len(gaps), "gap": statistics.median(gaps)}
        parts.append(
            say("{other} on {above} of {n} ({gap:+.1f} points in the median)", other=other, **counts)
        )
    return say("{ours}, {mode}, is above {parts}.", ours=OURS, mode=mode, parts="; ".join(parts))


def published_figure(mode: str) -> Figure:
    """A dot per model and benchmark; hollow where the source prints an asterisk."""
    import matplotlib.pyplot as plt

    rows = small_models(mode)
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))[::-1]
    # A model keeps its look in both modes.
    models = list(dict.fromkeys(row["model"] for each in MODES for row in small_models(each)))
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(benchmarks) + 1.2))
    for model, look in {OURS: Style(INK, marker="*"), **styles_of(models[1:])}.items():
        shown = [row for row in rows if row["model"] == model and row["value"] is not None]
        if not shown:
            continue
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
