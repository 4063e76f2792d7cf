"""Chapter 06's figures: speed against the roof, and the length tail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exaone_nb.conversation.answers import Answer
from exaone_nb.serve.bench import Bench

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe-Ito colours, safe for colour blindness; hatches tell the bars apart in print.
LOOK = [
    ("#0072B2", ""),
    ("#E69F00", "//"),
    ("#009E73", ".."),
    ("#CC79A7", "xx"),
    ("#56B4E9", "\\\\"),
    ("#D55E00", "--"),
]


def speed_bars(found: Sequence[Bench], title: str = "") -> Figure:
    """Decode tokens/s per scheme, one group per batch size; a black line marks the roof where it is known.

    The line is solid where bandwidth binds and dotted where arithmetic does.
    """
    import matplotlib.pyplot as plt

    batches = [decode.batch for decode in found[0].decodes]
    figure, many = plt.subplots(
        1,
        len(batches),
        figsize=(1.6 + 1.1 * len(found) * len(batches), 3.6),
        layout="constrained",
        squeeze=False,
    )
    for column, (axes, batch) in enumerate(zip(many[0], batches, strict=True)):
        for place, bench in enumerate(found):
            colour, hatch = LOOK[place % len(LOOK)]
            rate = bench.decodes[column].tokens_per_second
            low, high = rate.interval or (rate.mean, rate.mean)
            axes.bar(place, rate.mean, 0.7, color=colour, hatch=hatch, edgecolor="white")
            axes.errorbar(
                place, rate.mean, [[rate.mean - low], [high - rate.mean]], color="#333333", capsize=4
            )
            roof = bench.roof_rates[column]
            if roof:
                by_arithmetic = bool(bench.roof_bounds) and bench.roof_bounds[column] == "compute"
                axes.plot(
                    [place - 0.4, place + 0.4],
                    [roof, roof],
                    color="black",
                    linewidth=2.5,
                    linestyle=":" if by_arithmetic else "-",
                )
                axes.text(place, roof, f"{rate.mean / roof:.0%}\n", ha="center", va="center", fontsize=9)
        axes.set_xticks(range(len(found)), [_name(bench) for bench in found], rotation=20, ha="right")
        axes.set_title(f"batch {batch}")
        axes.margins(y=0.15)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#dddddd")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    many[0][0].set_ylabel("generated tokens per second")
    if title:
        figure.suptitle(title)
    return figure


def finish_curve(runs: dict[str, Sequence[Answer]]) -> Figure:
    """Share of finished answers against time, one line per checkpoint: the flat end is the tail."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for place, (name, answers) in enumerate(runs.items()):
        ends = sorted(answer.seconds or 0.0 for answer in answers)
        shares = [100 * (number + 1) / len(ends) for number in range(len(ends))]
        axes.step(
            [0, *ends],
            [0, *shares],
            where="post",
            color=LOOK[place % len(LOOK)][0],
            linestyle=("-", "--", ":", "-.")[place % 4],
            linewidth=2,
            label=name,
        )
    axes.axhline(95, color="#888888", linewidth=1)
    axes.text(0, 95, " 95 %", va="bottom", color="#555555")
    axes.set_xlabel("seconds since the batch was sent")
    axes.set_ylabel("answers finished, %")
    axes.set_ylim(0, 103)
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def speed_words(found: Sequence[Bench]) -> str:
    """The bars in words, for alt text."""
    parts = []
    for row, decode in enumerate(found[0].decodes):
        rates = ", ".join(f"{_name(b)} {b.decodes[row].tokens_per_second.mean:,.1f}" for b in found)
        parts.append(f"at batch {decode.batch}: {rates}")
    return "Generated tokens per second " + "; ".join(parts) + "."


def recorded_bars(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Recorded decode speeds (data/measured/speed_*.json): hollow bars, so that nobody takes them for today's."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(1.6 + 1.1 * len(rows), 3.6), layout="constrained")
    for place, row in enumerate(rows):
        axes.bar(
            place,
            row["tokens_per_second"],
            0.7,
            fill=False,
            edgecolor=LOOK[place % len(LOOK)][0],
            linewidth=2,
        )
        rate, interval = row["tokens_per_second"], row.get("tokens_per_second_interval")
        if interval:
            axes.errorbar(
                place, rate, [[rate - interval[0]], [interval[1] - rate]], color="#333333", capsize=4
            )
        axes.text(place + 0.06, rate, f"{rate:.1f}", ha="left", va="bottom")
        roof = row.get("roofline_tokens_per_second")
        if roof:
            axes.plot([place - 0.4, place + 0.4], [roof, roof], color="black", linewidth=2.5)
    axes.set_xticks(range(len(rows)), [row["scheme"] for row in rows])
    axes.set_ylabel("generated tokens per second")
    axes.set_title(title, fontsize=10)
    axes.margins(y=0.15)
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _name(bench: Bench) -> str:
    return bench.scheme if bench.weights == "dummy" else bench.model
