"""The figures of the layer: curves over depth and context, masks, ribbons of layers. Each returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from exaone_nb.messages import say
from exaone_nb.show.figures import BAND_ALPHA, BLUE, INK, SKY, Style, clean, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from exaone_nb.architecture.outliers import Input
    from exaone_nb.architecture.race import Run

LOCAL, GLOBAL = Style(SKY, hatch="///"), Style(BLUE)


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """One line per name; each is (x values, y values). `levels` are y values to compare with, drawn across the figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6))
    for index, (name, (across, up)) in enumerate(lines.items()):
        axes.plot(across, up, **style(index).curve(), ms=4, label=name)
    for index, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=INK, linestyle=style(index + 1).line, lw=1.2, label=name)
    axes.set(xlabel=x, ylabel=y, xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    if not log_x:
        axes.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    clean(axes)
    axes.legend(fontsize=8, frameon=False)
    return figure


def race_curves(runs: Sequence[Run]) -> Figure:
    """Training loss by step: one panel per learning rate, a line per arrangement, the band from seed to seed."""
    import matplotlib.pyplot as plt
    import numpy as np

    rates = sorted({run.learning_rate for run in runs})
    names = list(dict.fromkeys(run.arrangement for run in runs))
    figure, panels = plt.subplots(1, len(rates), figsize=(4.4 * len(rates), 3.6), sharey=True, squeeze=False)
    for axes, rate in zip(panels[0], rates, strict=True):
        for index, name in enumerate(names):
            losses = np.array([r.losses for r in runs if r.arrangement == name and r.learning_rate == rate])
            steps = np.arange(1, losses.shape[1] + 1)
            look = {**style(index).curve(), "marker": ""}
            axes.plot(steps, losses.mean(0), **look, label=name)
            axes.fill_between(
                steps, losses.min(0), losses.max(0), color=look["color"], alpha=BAND_ALPHA, lw=0
            )
        axes.set(title=say("learning rate {rate:g}", rate=rate), xlabel=say("step"))
        clean(axes)
    panels[0][0].set_ylabel(say("loss, nats per token"))
    panels[0][0].legend(fontsize=8, frameon=False)
    return figure


def channel_maxima(inputs: Sequence[Input]) -> Figure:
    """Largest |value| of each channel, sorted, one panel per module and one line per layer."""
    import matplotlib.pyplot as plt

    modules = list(dict.fromkeys(item.module for item in inputs))
    layers = max(item.layer for item in inputs) + 1
    figure, panels = plt.subplots(1, len(modules), figsize=(3.1 * len(modules), 3.3), squeeze=False)
    for axes, module in zip(panels[0], modules, strict=True):
        for item in inputs:
            if item.module == module:
                shade = plt.cm.viridis(0.9 * item.layer / max(1, layers - 1))
                axes.plot(item.channel_max.sort(descending=True).values.numpy(), color=shade, lw=1.2)
        title = say("into {module}", module=module.rpartition(".")[2])
        axes.set(title=title, xlabel=say("channel, sorted"), yscale="log")
        clean(axes)
    panels[0][0].set_ylabel(say("largest |value|"))
    figure.tight_layout()
    return figure


def mask_squares(panels: Mapping[str, Tensor]) -> Figure:
    """Boolean masks [query, key]; dark squares are visible."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 3.3), squeeze=False)
    for axis, (name, mask) in zip(axes[0], panels.items(), strict=True):
        axis.pcolormesh(mask.int().numpy(), cmap="Blues", vmin=0, vmax=1.4, edgecolors="#bbbbbb", lw=0.4)
        axis.invert_yaxis()
        axis.set(title=name, xlabel=say("key"), aspect="equal")
    axes[0][0].set_ylabel(say("query"))
    figure.tight_layout()
    return figure


def ribbon(configs: Mapping[str, dict[str, Any]], context: int, dtype_bytes: int = 2) -> Figure:
    """One square per layer and one row per model; the row's label says what a layer of each kind keeps."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    from exaone_nb.anatomy.attention import cached_layers

    longest = max(len(cached_layers(config)) for config in configs.values())
    figure, axes = plt.subplots(figsize=(10, 0.95 * len(configs) + 0.5))
    for row, (name, config) in enumerate(configs.items()):
        y = -row * 2.6
        kept = {}
        for index, layer in enumerate(cached_layers(config)):
            local = layer.kind != "full"
            kind = say("local, window {window:,}", window=layer.window) if local else say("global")
            kept[kind] = dtype_bytes * layer.values_per_token() * layer.tokens_kept(context) / 2**20
            axes.add_patch(Rectangle((index, y), 0.86, 0.86, **(LOCAL if local else GLOBAL).area()))
        sizes = "; ".join(
            say("{kind}: {mib:,.4g} MiB per layer", kind=kind, mib=mib) for kind, mib in sorted(kept.items())
        )
        axes.text(0, y + 1.1, f"{name}   {sizes}", fontsize=8, va="bottom")
    axes.set_xlim(-0.5, longest + 0.5)
    axes.set_ylim(-2.6 * (len(configs) - 1) - 0.4, 2.2)
    axes.axis("off")
    return figure


def influence_bars(panels: Mapping[str, Tensor]) -> Figure:
    """Gradient of the last output by input position, log scale; positions with gradient zero have no bar."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(panels), 1, figsize=(8, 1.7 * len(panels)), sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, values) in zip(axes[:, 0], panels.items(), strict=True):
        seen = values > 0
        axis.bar(range(len(values)), values.where(seen, values.new_tensor(float("nan"))), color=BLUE)
        axis.set(yscale="log", ylabel=say("|gradient|"))
        clean(axis, grid="")
        axis.set_title(name, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel(say("input position; the output is at the right end"))
    figure.tight_layout()
    return figure
