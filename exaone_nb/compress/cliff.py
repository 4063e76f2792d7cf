"""Where it falls: every Linear rounded to fewer and fewer bits, with one scale per tensor, channel or group.

Weights alone, to nearest, the head left alone; nothing is written. Fewer weights per scale cost bits of their own: a
16-bit scale per 32 weights is half a bit per weight, so a line that lies lower is not yet a better bargain.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from exaone_nb.compress.damage import Document, linear_weights, summary
from exaone_nb.compress.pictures import BESIDE
from exaone_nb.compress.search import measure
from exaone_nb.library_types import Axes, Figure
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs, Scheme
from exaone_nb.show import figures
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate

BITS = (8, 6, 5, 4, 3, 2)
SCALE_BITS = 16


def sharings(inputs: Sequence[int]) -> tuple[int | str, ...]:
    """Who shares a scale: the tensor, a channel, and groups of the two sizes of (128, 64, 32) that divide all inputs.

    128 and 32 where 128 divides them, else 64 and 32.
    """
    large = next((size for size in (128, 64) if all(n % size == 0 for n in inputs)), None)
    return (
        "tensor",
        "channel",
        *(size for size in (large, 32) if size and all(n % size == 0 for n in inputs)),
    )


def cliff(
    model: Any, texts: Sequence[Document], dtype: Any = None, bits: Sequence[int] = BITS
) -> list[dict[str, Any]]:
    """One row per width and sharing: `bits`, `sharing` ("tensor", "channel" or a group's size), `stored`, the bits per
    weight with scales, and every measure of `damage.summary`."""
    linear = linear_weights(model)
    places = {}
    for sharing in sharings([weight.shape[1] for weight in linear.values()]):
        for width in bits:
            group = sharing if isinstance(sharing, int) else None
            places[sharing, width] = QuantArgs(width, "int", "group" if group else str(sharing), group)
    trials = {
        f"{sharing} {width}": dict.fromkeys(linear, Scheme("weights", args))
        for (sharing, width), args in places.items()
    }
    found = measure(model, trials, texts, dtype)
    count = sum(weight.numel() for weight in linear.values())
    rows = []
    for sharing, width in places:
        if sharing == "tensor":
            scales = len(linear)
        elif sharing == "channel":
            scales = sum(len(weight) for weight in linear.values())
        else:
            scales = count / sharing
        stored = width + SCALE_BITS * scales / count
        row = {"bits": width, "sharing": sharing, "stored": stored}
        rows.append(row | summary(found[f"{sharing} {width}"]))
    return rows


def steps(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Model -> rows of `cliff`: by which factor the KL grows from one width to the next smaller one."""
    made = []
    for model, rows in models.items():
        found: dict[int | str, dict[int, float]] = {}
        for row in rows:
            found.setdefault(row["sharing"], {})[row["bits"]] = row["kl"].value
        for sharing, kl in found.items():
            widths = sorted(kl, reverse=True)
            factors = {f"{a} to {b}": kl[b] / kl[a] for a, b in pairwise(widths) if kl[a]}
            made.append({"model": model, "sharing": _words(sharing)} | factors)
    names = dict.fromkeys(name for row in made for name in row if name not in ("model", "sharing"))
    heads = [Column("model", say("model")), Column("sharing", say("scales"))]
    for name in names:
        a, b = name.split(" to ")
        heads.append(Column(name, say("{a} to {b}", a=a, b=b), ",.1f"))
    return Table(heads, made)


def edge(rows: Sequence[Mapping[str, Any]], sharing: int | str, share: float) -> int:
    """The first width, from above, at which fewer than `share` of the most likely tokens stay; 0 when none does."""
    mine = (row["bits"] for row in rows if row["sharing"] == sharing and row["same_top"].value < share)
    return max(mine, default=0)


def _words(sharing: int | str) -> str:
    words = {"tensor": say("one scale per tensor"), "channel": say("one per channel")}
    return words.get(sharing) or say("one per group of {size}", size=sharing)


def picture(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Model -> rows of `cliff`: KL against bits above, share of equal top tokens below, a line per sharing."""
    from matplotlib.ticker import PercentFormatter

    shape = {"sharex": True, "sharey": "row", "squeeze": False}
    figure, grid = figures.canvas(4.3 * len(rows) + 1, 5.6, nrows=2, ncols=len(rows), **shape)
    shared = dict.fromkeys(row["sharing"] for found in rows.values() for row in found)
    # Fewer and fewer weights share a scale; a tensor's and a channel's come before the groups.
    names = sorted(shared, key=lambda one: -one if isinstance(one, int) else -math.inf)
    looks = dict(zip(names, figures.styles_of(map(_words, names)).items(), strict=True))
    for (top, bottom), (model, found) in zip(grid.T, rows.items(), strict=True):
        top.set(title=model, yscale="log")
        for name in dict.fromkeys(row["sharing"] for row in found):
            mine = sorted((row for row in found if row["sharing"] == name), key=lambda row: row["bits"])
            for axes, measured in ((top, "kl"), (bottom, "same_top")):
                _curve(axes, [row["bits"] for row in mine], [row[measured] for row in mine], *looks[name])
        edges = {"xlim": (max(BITS) + 0.3, min(BITS) - 0.3), "ylim": (0, 1.02)}
        bottom.set(xlabel=say("bits per weight, without the scales"), **edges)
        bottom.yaxis.set_major_formatter(PercentFormatter(1))
        bottom.set_xticks(BITS)
    grid[0, 0].set_ylabel(say("KL, nats per token"))
    grid[1, 0].set_ylabel(say("same most likely token"))
    for axes in grid.flat:
        figures.clean(axes)
    curves = {line.get_label(): line for axes in grid[0] for line in axes.get_lines()}
    labels = [label for label, _ in looks.values()]
    grid[0, -1].legend([curves[label] for label in labels], labels, **BESIDE)
    return figure


def _curve(
    axes: Axes, bits: Sequence[int], values: Sequence[Estimate], label: str, look: figures.Style
) -> None:
    axes.plot(bits, [one.value for one in values], label=label, **look.curve())
    # A logarithmic axis has no place for 0: a band that reaches it is cut off, or it would be drawn as a block.
    is_log = axes.get_yscale() == "log"
    lows = [one.value / 10 if is_log and one.low <= 0 else one.low for one in values]
    axes.fill_between(
        bits, lows, [one.high for one in values], color=look.colour, alpha=figures.BAND_ALPHA, linewidth=0
    )
