"""The inference chapter's figures: speed against the roof, and the length tail."""

from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.conversation.answers import Answer
from exaone_nb.library_types import Axes, Figure
from exaone_nb.messages import say
from exaone_nb.serve.tables import label_of, rate_of
from exaone_nb.show.figures import FAINT, INK, clean, style

BARS_BESIDE = 4  # more bars than these in a panel, and the panels stand below each other


def speed_bars(rows: Sequence[dict[str, Any]], title: str = "", *, recorded: bool = False) -> Figure:
    """Decode tokens/s of the rows of `speed_rows`, one panel per batch size; a black line marks the roof.

    The line is solid where bandwidth binds and dotted where arithmetic does. Recorded bars are hollow, so that nobody
    takes them for today's.
    """
    import matplotlib.pyplot as plt

    batches = list(dict.fromkeys(row["batch"] for row in rows))
    most = max(sum(row["batch"] == batch for row in rows) for batch in batches)
    stacked = most > BARS_BESIDE and len(batches) > 1
    shape = (len(batches), 1) if stacked else (1, len(batches))
    size = (7, 2.8 * len(batches)) if stacked else (1.6 + 1.1 * len(rows), 3.6)
    figure, panels = plt.subplots(*shape, figsize=size, layout="constrained", squeeze=False)
    for axes, batch in zip(panels.flat, batches, strict=True):
        mine = [row for row in rows if row["batch"] == batch]
        for place, row in enumerate(mine):
            _bar(axes, place, row, recorded)
        axes.set_xticks(range(len(mine)), [label_of(row) for row in mine], rotation=20, ha="right")
        axes.set(ylim=(0, 1.15 * _top(mine)), title=say("batch {batch}", batch=batch))
        clean(axes, "y")
    for axes in panels[:, 0]:
        axes.set_ylabel(say("generated tokens per second"))
    figure.suptitle(title, fontsize=10)
    return figure


def _top(rows: Sequence[dict[str, Any]]) -> float:
    """What a panel must hold: bars, roofs, and whiskers as long as they leave room for them; two rounds say little."""
    rates = [rate_of(row) for row in rows]
    largest = max(
        [rate.value for rate in rates] + [row.get("roofline_tokens_per_second") or 0 for row in rows]
    )
    return max([largest] + [min(rate.high, 2 * largest) for rate in rates if rate.interval])


def _bar(axes: Axes, place: int, row: dict[str, Any], recorded: bool) -> None:
    look, rate, roof = style(place), rate_of(row), row.get("roofline_tokens_per_second")
    filled = {"fill": False, "edgecolor": look.colour, "linewidth": 2} if recorded else look.area()
    axes.bar(place, rate.value, 0.7, **filled)
    if rate.interval:
        reach = [[rate.value - rate.low], [rate.high - rate.value]]
        axes.errorbar(place, rate.value, reach, color=INK, capsize=4)
    digits = ".1f" if rate.value < 100 else ",.0f"
    axes.text(place + 0.06, rate.value, f"{rate.value:{digits}}", ha="left", va="bottom")
    if roof:
        line = ":" if row.get("roofline_bound") == "compute" else "-"
        axes.plot([place - 0.4, place + 0.4], [roof, roof], color="black", linewidth=2.5, linestyle=line)
        # To the left of the whisker, as the rate stands to its right.
        axes.text(place - 0.06, roof, f"{rate.value / roof:.0%}\n", ha="right", va="center", fontsize=9)


def finish_curve(runs: Mapping[str, Sequence[Answer]]) -> Figure:
    """Share of finished answers against time, one line per checkpoint: the flat end is the tail."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    draw_finished(axes, runs)
    return figure


def draw_finished(axes: Axes, runs: Mapping[str, Sequence[Answer]]) -> None:
    """One line per run into `axes`: the share of its answers that were finished after so many seconds."""
    for place, (name, answers) in enumerate(runs.items()):
        ends = sorted(answer.seconds or 0.0 for answer in answers)
        shares = [100 * (number + 1) / len(ends) for number in range(len(ends))]
        axes.step([0, *ends], [0, *shares], where="post", label=name, **style(place).curve() | {"marker": ""})
    axes.axhline(95, color=FAINT, linewidth=1)
    # Above its line at the left end, where a curve comes only after all others have ended.
    axes.text(0.01, 95.5, "95 %", transform=axes.get_yaxis_transform(), ha="left", va="bottom", color=INK)
    axes.set(ylim=(0, 106), xlabel=say("seconds since the batch was sent"), ylabel=say("answers finished, %"))
    clean(axes)
    axes.legend(frameon=False, loc="lower right")
