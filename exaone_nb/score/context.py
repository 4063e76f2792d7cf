"""Where EXAONE-4.0-1.2B stands among small models, by published scores only (data/published_scores.csv).

The lecture's two tables are used, because they carry asterisks. The lecture does not say what an asterisk means, so
it is shown as printed and nothing is concluded from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exaone_nb.errors import UsageError
from exaone_nb.published import scores

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

OURS = "EXAONE-4.0-1.2B"
SOURCE = "SMALL-SIZE"
MODES = ("non-reasoning", "reasoning")


def small_models(mode: str) -> pd.DataFrame:
    """Long table of the small models in one mode: model, benchmark, category, value, note, source, date."""
    import pandas as pd

    if mode not in MODES:
        raise UsageError(f"No mode {mode!r}.", expected=" or ".join(MODES) + ".")
    return pd.DataFrame(scores(mode=mode, source=SOURCE))


def wide_table(mode: str) -> pd.DataFrame:
    """Benchmarks down, models across, cells as printed: the score, its asterisk, or N/A."""
    table = small_models(mode)
    table["cell"] = [
        "N/A" if value is None or value != value else f"{value:g}{note if note == '*' else ''}"
        for value, note in zip(table["value"], table["note"], strict=True)
    ]
    wide = table.pivot(index="benchmark", columns="model", values="cell")
    order = list(dict.fromkeys(table["benchmark"]))
    models = [OURS, *[m for m in dict.fromkeys(table["model"]) if m != OURS]]
    return wide.loc[order, models].fillna("").reset_index()


def standing(mode: str) -> pd.DataFrame:
    """Per other model: on how many benchmarks EXAONE-4.0-1.2B is above it, of how many both have, and the median gap."""
    import pandas as pd

    table = small_models(mode).pivot(index="benchmark", columns="model", values="value").astype(float)
    lines = []
    for other in dict.fromkeys(small_models(mode)["model"]):
        if other == OURS:
            continue
        gap = (table[OURS] - table[other]).dropna()
        lines.append(
            {
                "against": other,
                "above on": int((gap > 0).sum()),
                "of": len(gap),
                "median gap, points": round(float(gap.median()), 1),
                "largest lead": f"{gap.idxmax()} ({gap.max():+.1f})",
                "largest deficit": f"{gap.idxmin()} ({gap.min():+.1f})" if gap.min() < 0 else "none",
            }
        )
    return pd.DataFrame(lines)


def context_figure(mode: str) -> Figure:
    """A dot per model and benchmark; hollow where the source prints an asterisk."""
    import matplotlib.pyplot as plt

    from exaone_nb.score.pictures import COLOURS, INK, MARKERS, clean

    table = small_models(mode)
    benchmarks = list(dict.fromkeys(table["benchmark"]))[::-1]
    models = [OURS, *[m for m in dict.fromkeys(table["model"]) if m != OURS]]
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(benchmarks) + 1.2))
    for i, model in enumerate(models):
        colour = COLOURS[(i - 1) % len(COLOURS)] if model != OURS else INK
        rows = table[(table["model"] == model) & table["value"].notna()]
        heights = [benchmarks.index(b) for b in rows["benchmark"]]
        faces = ["white" if note == "*" else colour for note in rows["note"]]
        axes.scatter(
            rows["value"],
            heights,
            c=faces,
            edgecolors=colour,
            marker=MARKERS[i % len(MARKERS)],
            s=64 if model == OURS else 34,
            linewidths=1.4,
            zorder=4 if model == OURS else 3,
        )
        axes.scatter([], [], color=colour, marker=MARKERS[i % len(MARKERS)], label=model)
    axes.set_yticks(range(len(benchmarks)), benchmarks)
    axes.set_xlabel("published score")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    clean(axes)
    return figure
