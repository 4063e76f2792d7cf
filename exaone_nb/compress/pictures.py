"""The chapter's figures. Each function returns a matplotlib figure; colours also differ in lightness or in pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exaone_nb.compress.formats import GRID_NAMES, grid, round_to_grid
from exaone_nb.compress.plan import KEPT, Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
COLOURS = ("#dddddd", "#0b3c5d", "#e07a1f", "#4c9f70", "#8e5ea2")
HATCHES = ("", "", "//", "..", "xx")


def scheme_map(plan: Plan, title: str = "") -> Figure:
    """Layers across, modules down; one colour and pattern per scheme, grey for what is kept."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    inside = [m for m in plan.quantizable if m.layer is not None]
    parts = [p for p in PARTS if any(m.part == p for m in inside)]
    parts += sorted({m.part for m in inside} - set(parts))
    outside = [m for m in plan.quantizable if m.layer is None]
    layers = max((m.layer for m in inside), default=0) + 1
    labels = [KEPT, *dict.fromkeys(plan.labels)]
    figure, axes = plt.subplots(
        figsize=(max(5.0, 1.5 + 0.28 * layers), 0.34 * (len(parts) + len(outside)) + 1.3)
    )

    def cell(x: float, y: int, width: float, module: str) -> None:
        index = labels.index(plan.label_of(module))
        style = {
            "facecolor": COLOURS[index % 5],
            "hatch": HATCHES[index % 5],
            "edgecolor": "white",
            "linewidth": 0.6,
        }
        axes.add_patch(Rectangle((x, y), width, 1, **style))

    for m in inside:
        cell(m.layer, parts.index(m.part), 1, m.name)
    for i, m in enumerate(outside):
        cell(0, len(parts) + i, layers, m.name)
    axes.set(xlim=(0, layers), ylim=(len(parts) + len(outside), 0), xlabel="layer", title=title)
    axes.set_yticks(np.arange(len(parts) + len(outside)) + 0.5, [*parts, *(m.part for m in outside)])
    ticks = np.arange(0, layers, max(1, layers // 10))
    axes.set_xticks(ticks + 0.5, [str(t) for t in ticks])
    handles = [
        Patch(
            facecolor=COLOURS[i % 5],
            hatch=HATCHES[i % 5],
            edgecolor="white",
            label="kept" if x == KEPT else x,
        )
        for i, x in enumerate(labels)
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def grids() -> Figure:
    """The values of each format between -1 and 1 when its largest is stretched to 1."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 2.4))
    for y, name in enumerate(GRID_NAMES):
        points = grid(name) / np.abs(grid(name)).max()
        axes.vlines(points, y - 0.35, y + 0.35, color="#0b3c5d", linewidth=1.2 if len(points) < 40 else 0.35)
    names = [f"{name} ({len(grid(name))} values)" for name in GRID_NAMES]
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-1.03, 1.03), xlabel="value, largest = 1")
    axes.invert_yaxis()
    return figure


def rounded_weights(weights: np.ndarray, group_size: int = 128) -> Figure:
    """Histogram of a module's weights, and where its first group lands on the int4 and fp4 grids."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    axes[0].hist(weights.ravel(), bins=120, color="#0b3c5d")
    axes[0].set(title="all weights of the module", xlabel="weight", ylabel="count", yscale="log")
    group = np.sort(weights[0, :group_size])
    axes[1].plot(group, group, color="#999999", linewidth=1, label="exact")
    for name, top, style in (("int4", 7.5, "-"), ("fp4_e2m1", 6.0, "--")):
        rounded = round_to_grid(group, name, np.abs(group).max() / top)
        axes[1].step(group, rounded, where="mid", linestyle=style, label=name, linewidth=1.4)
    axes[1].set(title=f"first group of {group_size}", xlabel="weight", ylabel="rounded")
    axes[1].legend(frameon=False)
    figure.tight_layout()
    return figure


def error_map(errors: dict[str, float], title: str = "") -> Figure:
    """Relative error by layer and module, the numbers written into the cells when there is room."""
    import matplotlib.pyplot as plt

    layers = sorted({int(name.split(".layers.")[1].split(".")[0]) for name in errors if ".layers." in name})
    parts = [p for p in PARTS if any(name.endswith("." + p) for name in errors)]
    table = np.full((len(parts), len(layers)), np.nan)
    for name, value in errors.items():
        part = name.rpartition(".")[2]
        if ".layers." in name and part in parts:
            table[parts.index(part), layers.index(int(name.split(".layers.")[1].split(".")[0]))] = value
    figure, axes = plt.subplots(figsize=(max(4.5, 1.5 + 0.5 * len(layers)), 0.38 * len(parts) + 1.2))
    image = axes.imshow(table, cmap="cividis", aspect="auto")
    if len(layers) <= 12:
        middle = (np.nanmin(table) + np.nanmax(table)) / 2
        for (y, x), value in np.ndenumerate(table):
            axes.text(
                x,
                y,
                f"{value:.3f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value < middle else "black",
            )
    axes.set_yticks(range(len(parts)), parts)
    axes.set_xticks(range(len(layers)), [str(n) for n in layers])
    axes.set(xlabel="layer", title=title)
    figure.colorbar(image, label="relative error")
    return figure


def lines(series: dict[str, dict[str, float]], ylabel: str) -> Figure:
    """One line per recipe over the decoder layers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3))
    for (name, values), marker, style in zip(
        series.items(), "os^vDP*X" * 4, ("-", "--", ":", "-.") * 8, strict=False
    ):
        axes.plot(range(len(values)), list(values.values()), marker=marker, linestyle=style, label=name)
    axes.set(xlabel="after layer", ylabel=ylabel, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return figure


def intervals(rows: Sequence[tuple[str, Any]], xlabel: str, reference: float | None = None) -> Figure:
    """Values with their intervals, one per row; a vertical line where `reference` is."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 0.42 * len(rows) + 1))
    for y, (_, interval) in enumerate(rows):
        axes.plot([interval.low, interval.high], [y, y], color="#0b3c5d", linewidth=2)
        axes.plot(interval.value, y, "o", color="#e07a1f")
    if reference is not None:
        axes.axvline(reference, color="#999999", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    return figure


def calibration_sweep(rows: Sequence[dict[str, Any]], nearest: float) -> Figure:
    """Held-out error against the number of samples: every seed a point, their mean a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    for text, marker, style in zip(
        dict.fromkeys(r["text"] for r in rows), "os^D", ("-", "--", ":", "-."), strict=False
    ):
        mine = [r for r in rows if r["text"] == text]
        sizes = sorted({r["samples"] for r in mine})
        means = [np.mean([r["error"] for r in mine if r["samples"] == size]) for size in sizes]
        drawn = axes.plot(sizes, means, linestyle=style, label=text)
        axes.plot(
            [r["samples"] for r in mine],
            [r["error"] for r in mine],
            marker,
            alpha=0.6,
            color=drawn[0].get_color(),
        )
    axes.axhline(nearest, color="#999999", linestyle="--", linewidth=1, label="round to nearest")
    axes.set(xscale="log", xlabel="calibration samples", ylabel="output error, held out")
    axes.set_xticks(
        sorted({r["samples"] for r in rows}), [str(n) for n in sorted({r["samples"] for r in rows})]
    )
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure
