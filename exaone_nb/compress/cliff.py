"""Where it falls: every Linear rounded to fewer and fewer bits, with one scale per tensor, channel or group.

Weights alone, to nearest, the head left alone; nothing is written. Fewer weights per scale cost bits of their own: a
16-bit scale per 32 weights is half a bit per weight, so a line that lies lower is not yet a better bargain.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.compress.damage import Document, summary
from exaone_nb.compress.search import measure
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs, Scheme
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
    import torch

    linear = {
        name: module.weight.shape[1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    places = {}
    for sharing in sharings(list(linear.values())):
        for width in bits:
            group = sharing if isinstance(sharing, int) else None
            places[sharing, width] = QuantArgs(width, "int", "group" if group else str(sharing), group)
    trials = {
        f"{sharing} {width}": dict.fromkeys(linear, Scheme("weights", args))
        for (sharing, width), args in places.items()
    }
    found = measure(model, trials, texts, dtype)
    weights = {name: model.get_submodule(name).weight.numel() for name in linear}
    rows = []
    for sharing, width in places:
        scales = {
            name: 1 if sharing == "tensor" else count / (linear[name] if sharing == "channel" else sharing)
            for name, count in weights.items()
        }
        stored = width + SCALE_BITS * sum(scales.values()) / sum(weights.values())
        row = {"bits": width, "sharing": sharing, "stored": stored}
        rows.append(row | summary(found[f"{sharing} {width}"]))
    return rows


def picture(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Model -> rows of `cliff`: KL against bits above, share of equal top tokens below, a line per sharing."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import PercentFormatter

    from exaone_nb.show.figures import clean, styles_of

    figure, grid = plt.subplots(
        2, len(rows), figsize=(4.3 * len(rows) + 1, 5.6), sharex=True, sharey="row", squeeze=False
    )
    words = {"tensor": say("one scale per tensor"), "channel": say("one per channel")}
    names = dict.fromkeys(row["sharing"] for found in rows.values() for row in found)
    looks = styles_of(words.get(name) or say("one per group of {size}", size=name) for name in names)
    for column, (model, found) in enumerate(rows.items()):
        for name, look in zip(names, looks.items(), strict=True):
            mine = sorted((row for row in found if row["sharing"] == name), key=lambda row: row["bits"])
            for axes, measure_name in zip(grid[:, column], ("kl", "same_top"), strict=True):
                _curve(axes, [row["bits"] for row in mine], [row[measure_name] for row in mine], *look)
        top, bottom = grid[:, column]
        top.set(title=model, yscale="log")
        bottom.set(
            xlabel=say("bits per weight, scales apart"),
            xlim=(max(BITS) + 0.3, min(BITS) - 0.3),
            ylim=(0, 1.02),
        )
        bottom.yaxis.set_major_formatter(PercentFormatter(1))
        bottom.set_xticks(BITS)
    grid[0, 0].set_ylabel(say("KL, nats per token"))
    grid[1, 0].set_ylabel(say("same most likely token"))
    for axes in grid.flat:
        clean(axes)
    grid[0, -1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _curve(axes: Any, bits: Sequence[int], values: Sequence[Estimate], label: str, look: Any) -> None:
    if not bits:
        return
    axes.plot(bits, [one.value for one in values], label=label, **look.curve())
    axes.fill_between(
        bits, [one.low for one in values], [one.high for one in values], color=look.colour, alpha=0.15
    )
