"""The figures of the layer: arrangements, curves over depth and context, masks, ribbons of layers, as matplotlib figures.

The arrangements are drawn from the same descriptions that the modules run (`anatomy.arrangements`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.anatomy.arrangements import ARRANGEMENTS, Arrangement
from exaone_nb.anatomy.attention import cached_layers
from exaone_nb.architecture.probes import Input
from exaone_nb.architecture.race import Run
from exaone_nb.library_types import Axes, Figure, Tensor
from exaone_nb.messages import say
from exaone_nb.show.figures import (
    BAND_ALPHA,
    BLUE,
    INK,
    ORANGE,
    SKY,
    Style,
    arrange,
    canvas,
    clean,
    style,
    styles_of,
)

LOCAL, GLOBAL = Style(SKY, hatch="///"), Style(BLUE)
NORM, BLOCK = ORANGE, "#C9DCF0"


def _panels(count: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure with `count` axes in a row, each `width` x `height` inches, and these axes."""
    figure, axes = canvas(width * count, height, ncols=count, squeeze=False, **options)
    return figure, axes[0]


def layer_steps(arrangement: Arrangement) -> list[tuple[str, str, str]]:
    """(block, step, label) from the input of a layer to its output; the label is what the box says."""
    found = []
    blocks = list(zip((say("attention"), "MLP"), arrangement.block_norms, strict=True))
    if arrangement.parallel:
        blocks = [(say("attention and MLP,\nside by side"), arrangement.norms)]
    for block, names in blocks:
        norms = iter(names)
        for step in arrangement.order:
            label = next(norms) if step == "norm" else {"block": block, "add": "+"}[step]
            if step == "block" and block != "MLP" and arrangement.qk_norm:
                label = say("attention\nwith q_norm, k_norm")
            found.append((block, step, label))
    return found


PER_ROW = 3
MOST_NAMED = 6  # lines whose names a legend has room for


def draw_arrangements(arrangements: Sequence[Arrangement] = tuple(ARRANGEMENTS.values())) -> Figure:
    """The layers side by side, read from bottom to top; the line on the left is the residual stream."""
    rows = -(-len(arrangements) // PER_ROW)
    columns = min(len(arrangements), PER_ROW)
    figure, panels = canvas(3.1 * columns, 4.1 * rows, nrows=rows, ncols=columns, squeeze=False)
    for axes in panels.flat[len(arrangements) :]:
        axes.axis("off")
    for axes, arrangement in zip(panels.flat, arrangements, strict=False):
        _draw_layer(axes, arrangement)
    arrange(figure)
    return figure


def draw_attention() -> Figure:
    """Inside attention, read from bottom to top: without and with a norm on queries and keys."""
    figure, panels = _panels(2, 4.4, 5)
    for axes, normed in zip(panels, (False, True), strict=True):
        _draw_attention(axes, normed)
    arrange(figure)
    return figure


def _draw_attention(axes: Axes, normed: bool) -> None:
    queries, keys, values = 0.0, 2.5, 5.0
    between = (queries + keys) / 2
    rows = [(queries, "q_proj"), (keys, "k_proj"), (values, "v_proj")]
    norms = [(queries, "q_norm"), (keys, "k_norm")] if normed else []
    for x, _ in rows:
        axes.plot([x, x], [-0.6, 3 if x < values else 5], color=INK, lw=1.3, zorder=1)
    for x in (queries, keys):
        axes.plot([x, between], [3, 4], color=INK, lw=1.3, zorder=1)
    axes.plot([between, between, values], [4, 5, 6], color=INK, lw=1.3, zorder=1)
    axes.plot([values, values], [5, 7.6], color=INK, lw=1.3, zorder=1)
    axes.plot([queries, values], [-0.6, -0.6], color=INK, lw=1.3)
    for x, label in rows:
        _box(axes, x, 0.2, label, False)
    for x, label in norms:
        _box(axes, x, 1.4, label, True)
    for x in (queries, keys):
        _box(axes, x, 2.6, "RoPE", False)
    _box(axes, between, 4, say("queries x keys"), False)
    _box(axes, between, 5, say("mask, softmax"), False)
    _box(axes, values, 6, say("weighted sum"), False)
    _box(axes, values, 7.1, "o_proj", False)
    axes.set_title(say("with QK norm") if normed else say("without QK norm"), fontsize=11)
    axes.text(between, -0.95, say("input of the block"), fontsize=9, ha="center", va="center")
    axes.set(xlim=(-1.3, 6.3), ylim=(-1.2, 7.8))
    axes.axis("off")


def _draw_layer(axes: Axes, arrangement: Arrangement) -> None:
    steps, size = layer_steps(arrangement), len(arrangement.order)
    left, right, top = 0.0, 1.75, len(steps) + 0.5
    axes.plot([left, left], [-0.6, top], color=INK, lw=2.2, zorder=1)
    axes.annotate("", (left, top + 0.35), (left, top - 0.05), arrowprops={"arrowstyle": "-|>", "color": INK})
    for y, (_, step, label) in enumerate(steps):
        first = y - y % size
        addition = first + arrangement.order.index("add")
        if step == "add":
            axes.plot(
                [left, right, right, left], [first - 0.5, first - 0.5, y, y], color=INK, lw=1.3, zorder=1
            )
            axes.plot(left, y, "o", ms=13, mfc="white", mec=INK, zorder=3)
            axes.text(left, y - 0.01, "+", ha="center", va="center", fontsize=12, zorder=4)
        else:  # before the addition on the branch, after it on the stream itself
            _box(axes, right if y < addition else left, y, label, step == "norm")
    axes.text(left + 0.12, -0.8, say("stream in"), fontsize=9, va="center")
    axes.set_title(arrangement.name, fontsize=11)
    axes.set(xlim=(-1.15, right + 1.15), ylim=(-1.0, top + 0.5))
    axes.axis("off")


def _box(axes: Axes, x: float, y: float, label: str, is_norm: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    look = {"facecolor": NORM, "hatch": "//"} if is_norm else {"facecolor": BLOCK}
    label = label.replace("_layernorm", "\n_layernorm") if len(label) > 16 else label
    width, height = 2.2, 0.8 if "\n" in label else 0.62
    corner = x - width / 2, y - height / 2
    axes.add_patch(
        FancyBboxPatch(
            corner, width, height, boxstyle="round,pad=0.02", edgecolor=INK, lw=1, zorder=2, **look
        )
    )
    background = {"facecolor": NORM, "edgecolor": "none", "pad": 0.6} if is_norm else None
    text = {"ha": "center", "va": "center", "fontsize": 9, "linespacing": 1.1}
    axes.text(x, y, label, zorder=3, bbox=background, **text)


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
    figure, axes = canvas(7, 3.6)
    for index, (name, (across, up)) in enumerate(lines.items()):
        axes.plot(across, up, **style(index).curve(), ms=4, label=name)
    for index, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=INK, linestyle=style(index + 1).line, lw=1.2, label=name)
    axes.set(xlabel=x, ylabel=y, xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    if not log_x:
        axes.xaxis.get_major_locator().set_params(integer=True)
    clean(axes)
    axes.legend(fontsize=8, frameon=False)
    return figure


def race_curves(runs: Sequence[Run]) -> Figure:
    """Training loss by step: one panel per learning rate, a line per arrangement, the band from seed to seed."""
    import numpy as np

    rates = sorted({run.learning_rate for run in runs})
    names = list(dict.fromkeys(run.arrangement for run in runs))
    looks = styles_of([*ARRANGEMENTS, *names])  # those of the chapter's other figures
    figure, panels = _panels(len(rates), 4.4, 3.6, sharey=True)
    for axes, rate in zip(panels, rates, strict=True):
        for name in names:
            losses = np.array([r.losses for r in runs if r.arrangement == name and r.learning_rate == rate])
            steps = np.arange(1, losses.shape[1] + 1)
            look = {**looks[name].curve(), "marker": ""}
            axes.plot(steps, losses.mean(0), **look, label=name)
            axes.fill_between(
                steps, losses.min(0), losses.max(0), color=look["color"], alpha=BAND_ALPHA, lw=0
            )
        axes.set(title=say("learning rate {rate:g}", rate=rate), xlabel=say("step"))
        clean(axes)
    panels[0].set_ylabel(say("loss, nats per token"))
    panels[0].legend(fontsize=8, frameon=False)
    return figure


def channel_maxima(inputs: Sequence[Input]) -> Figure:
    """Largest |value| of each channel, sorted, one panel per module and one line per layer."""
    import matplotlib.pyplot as plt

    modules = list(dict.fromkeys(item.module for item in inputs))
    layers = max(item.layer for item in inputs) + 1
    rows = -(-len(modules) // 2)
    figure, grid = canvas(8.8, 2.9 * rows, nrows=rows, ncols=2, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for empty in panels[len(modules) :]:
        empty.axis("off")
    for axes, module in zip(panels, modules, strict=False):
        for item in inputs:
            if item.module == module:
                shade = plt.cm.viridis(0.75 * item.layer / max(1, layers - 1))
                maxima = item.channel_max.sort(descending=True).values.numpy()
                axes.plot(maxima, color=shade, lw=1.2, label=say("layer {layer}", layer=item.layer))
        title = say("into {module}", module=module.rpartition(".")[2])
        axes.set(title=title, xlabel=say("channel, sorted"), yscale="log")
        clean(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel(say("largest |value|"))
    lines, names = panels[0].get_legend_handles_labels()
    step = max(1, len(lines) - 1) if len(lines) > MOST_NAMED else 1  # those between have the colours between
    panels[0].legend(lines[::step], names[::step], frameon=False, fontsize=9)
    arrange(figure)
    return figure


def mask_squares(panels: Mapping[str, Tensor]) -> Figure:
    """Boolean masks [query, key]; dark squares are visible."""
    figure, axes = _panels(len(panels), 2.4, 2.8)
    for axis, (name, mask) in zip(axes, panels.items(), strict=True):
        axis.pcolormesh(mask.int().numpy(), cmap="Blues", vmin=0, vmax=1.4, edgecolors="#bbbbbb", lw=0.4)
        axis.invert_yaxis()
        for side, count in zip((axis.yaxis, axis.xaxis), mask.shape, strict=True):  # the middle of a square
            side.set_ticks([position + 0.5 for position in range(0, count, 3)], range(0, count, 3))
        axis.set(xlabel=say("key"), aspect="equal")
        axis.set_title(name, fontsize=10)
    axes[0].set_ylabel(say("query"))
    arrange(figure)
    return figure


def ribbon(configs: Mapping[str, dict[str, Any]], context: int, dtype_bytes: int = 2) -> Figure:
    """One square per layer and one row per model; the row's label says what a layer of each kind keeps."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox, BboxTransformTo

    longest = max(len(cached_layers(config)) for config in configs.values())
    figure, axes = canvas(9, 0.95 * len(configs) + 0.5)
    for row, (name, config) in enumerate(configs.items()):
        y = -row * 2.6
        kept, squares = {}, {LOCAL: [], GLOBAL: []}
        for index, layer in enumerate(cached_layers(config)):
            local = layer.kind != "full"
            kind = say("local, window {window:,}", window=layer.window) if local else say("global")
            kept[kind] = dtype_bytes * layer.values_per_token() * layer.tokens_kept(context) / 2**20
            box = Bbox.from_bounds(index, y, 0.86, 0.86)
            squares[LOCAL if local else GLOBAL].append(
                Path.unit_rectangle().transformed(BboxTransformTo(box))
            )
        for (
            look,
            some,
        ) in squares.items():  # one shape per kind: printed, each hatched shape becomes a picture
            axes.add_patch(PathPatch(Path.make_compound_path(*some), **look.area()))
        sizes = "; ".join(
            say("{kind}: {mib:,.4g} MiB per layer", kind=kind, mib=mib) for kind, mib in sorted(kept.items())
        )
        axes.text(0, y + 1.1, f"{name}   {sizes}", fontsize=9.5, va="bottom")
    axes.set(xlim=(-0.5, longest + 0.5), ylim=(-2.6 * (len(configs) - 1) - 0.4, 2.2))
    axes.axis("off")
    return figure


def influence_bars(panels: Mapping[str, Tensor]) -> Figure:
    """Gradient of the last output by input position, log scale; positions with gradient zero have no bar."""
    count = len(panels)
    figure, axes = canvas(8, 1.7 * count, nrows=count, sharex=True, sharey=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], panels.items(), strict=True):
        seen = values > 0
        axis.bar(range(len(values)), values.where(seen, values.new_tensor(float("nan"))), color=BLUE)
        axis.set(yscale="log", ylabel=say("|gradient|"))
        clean(axis, grid="")
        axis.set_title(name, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel(say("input position; the output is at the right end"))
    arrange(figure)
    return figure
