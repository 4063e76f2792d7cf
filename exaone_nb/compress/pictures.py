"""The chapter's figures. Each function returns a matplotlib figure; colours also differ in lightness or in pattern."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from exaone_nb.compress.formats import TOPS, fit, grid
from exaone_nb.compress.plan import Plan
from exaone_nb.library_types import Axes, Figure
from exaone_nb.messages import say
from exaone_nb.quantization.matching import KEPT
from exaone_nb.show import figures
from exaone_nb.show.table import Table

PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Where a legend stands that would cover something.
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False}


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row per name, the first at the top, without a grid."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    figures.clean(axes, grid="")


def _points(axes: Axes, values: np.ndarray, low: float, high: float) -> None:
    """A tick per value, fine ones where there are many."""
    axes.vlines(values, low, high, color=figures.BLUE, linewidth=1.5 if len(values) < 40 else 0.35)


def scheme_map(plan: Plan, title: str = "") -> Figure:
    """Layers across, modules down; one colour and pattern per scheme, grey for what is kept."""
    from matplotlib.patches import Rectangle

    layers = max((m.layer for m in plan.quantizable if m.layer is not None), default=0) + 1
    found = {
        m.part: (m.layer is None, PARTS.index(m.part) if m.part in PARTS else len(PARTS))
        for m in plan.quantizable
    }
    parts = sorted(found, key=found.get)
    looks = {KEPT: figures.Style(figures.GRID)} | figures.styles_of(scheme.label for scheme in plan.schemes)
    height = len(parts)
    figure, axes = figures.canvas(max(5.0, 1.5 + 0.28 * layers), 0.34 * height + 1.3)
    for m in plan.quantizable:
        left, width = (0, layers) if m.layer is None else (m.layer, 1)
        look = looks[plan.label_of(m.name)].area()
        axes.add_patch(Rectangle((left, parts.index(m.part)), width, 1, **look))
    axes.set(xlim=(0, layers), ylim=(height, 0), xlabel=say("layer"), title=title)
    axes.set_yticks(np.arange(height) + 0.5, parts)
    ticks = np.arange(0, layers, max(1, layers // 10))
    axes.set_xticks(ticks + 0.5, [str(t) for t in ticks])
    figures.clean(axes, grid="")
    legend = {say("kept") if label == KEPT else label: look for label, look in looks.items()}
    axes.legend(handles=figures.patches(legend), **BESIDE)
    return figure


def grids() -> Figure:
    """The values of each format between -1 and 1 when its largest is stretched to 1."""
    figure, axes = figures.canvas(7, 2.4)
    for y, name in enumerate(TOPS):
        _points(axes, grid(name) / np.abs(grid(name)).max(), y - 0.35, y + 0.35)
    _name_rows(axes, [say("{name} ({count} values)", name=name, count=len(grid(name))) for name in TOPS])
    axes.set(xlim=(-1.03, 1.03), xlabel=say("value, largest = 1"))
    return figure


def rounded_group(group: np.ndarray) -> Figure:
    """One group of weights on each grid: a line from every weight down to the value that it becomes."""
    figure, axes = figures.canvas(8.5, 5.2)
    labels = []
    for y, name in enumerate(("int4", "int4 asymmetric", "fp4_e2m1", "int8", "fp8_e4m3")):
        scale, zero = fit(group, name)
        values = (grid(name) - zero) * scale
        rounded = values[np.abs(group[:, None] - values).argmin(1)]
        axes.plot(np.stack([group, rounded]), [[y - 0.3], [y + 0.1]], color=figures.VERMILLION, linewidth=0.5)
        _points(axes, values, y + 0.1, y + 0.33)
        label = "int4 symmetric" if name == "int4" else name
        error = np.linalg.norm(group - rounded) / np.linalg.norm(group)
        labels.append(say("{label}\nerror {error:.4f}", label=label, error=error))
    edge = 1.1 * np.abs(group).max()
    _name_rows(axes, labels)
    axes.set(xlim=(-edge, edge), xlabel=say("weight"))
    return figure


def lopsided_group(weights: np.ndarray, group_size: int = 128) -> np.ndarray:
    """The group whose largest and smallest weight differ most in size: there a zero point has something to gain."""
    groups = weights.reshape(-1, group_size)
    high, low = groups.max(1), groups.min(1)
    return groups[np.argmax(np.abs(high + low) / (high - low))]


def shared_scales(weights: np.ndarray, channels: int = 6, group_size: int = 128) -> Figure:
    """The first channels' weights, and how far the grid reaches with one scale per tensor, channel or group."""
    rows = np.abs(weights[:channels])
    columns = weights.shape[1]
    figure, axes = figures.canvas(8.5, 3.2)
    axes.plot(rows.ravel(), ".", color=figures.FAINT, markersize=1.5, label=say("weights, magnitude"))
    reach = {
        say("one scale per tensor"): np.full(rows.size, np.abs(weights).max()),
        say("per channel"): rows.max(1).repeat(columns),
        say("per group of {size}", size=group_size): rows.reshape(-1, group_size).max(1).repeat(group_size),
    }
    for (label, values), look in zip(reach.items(), figures.STYLES, strict=False):
        axes.plot(values, label=label, **look.curve() | {"marker": ""})
    edges = np.arange(channels + 1) * columns
    for edge in edges[1:-1]:
        axes.axvline(edge, color=figures.GRID, linewidth=0.8)
    axes.set_xticks(edges[:-1] + columns / 2, [say("channel {i}", i=i) for i in range(channels)])
    axes.set(xlim=(0, rows.size), ylim=(0, None), ylabel=say("largest weight the grid holds"))
    axes.legend(**BESIDE)
    figures.clean(axes, grid="")
    return figure


def lines(series: dict[str, dict[str, float]], ylabel: str) -> Figure:
    """One line per recipe over the decoder layers."""
    figure, axes = figures.canvas(6, 3)
    for (name, values), look in zip(series.items(), figures.styles_of(series).values(), strict=True):
        axes.plot(range(len(values)), list(values.values()), label=name, **look.curve())
    axes.set(xlabel=say("after layer"), ylabel=ylabel, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    figures.clean(axes)
    return figure


def intervals(table: Table, reference: float | None = None) -> Figure:
    """The estimates of a table's second column, named by its first; a vertical line where `reference` is."""
    names, values = table.columns[:2]
    rows = [(row[names.name], row[values.name]) for row in table.rows]
    figure, axes = figures.canvas(6.5, 0.42 * len(rows) + 1)
    for y, (_, estimate) in enumerate(rows):
        axes.plot([estimate.low, estimate.high], [y, y], color=figures.BLUE, linewidth=2)
        axes.plot(estimate.value, y, "o", color=figures.VERMILLION)
    if reference is not None:
        axes.axvline(reference, color=figures.FAINT, linestyle="--", linewidth=1)
    _name_rows(axes, [name for name, _ in rows])
    axes.set_xlabel(values.title)
    figures.clean(axes, grid="x")
    return figure


def calibration_sweep(rows: Sequence[dict[str, Any]], nearest: float) -> Figure:
    """Held-out error against the number of samples: every seed a point, their mean a line."""
    figure, axes = figures.canvas(6.5, 3.2)
    sizes = sorted({row["samples"] for row in rows})
    for text, look in figures.styles_of(row["text"] for row in rows).items():
        mine = [row for row in rows if row["text"] == text]
        points = [(row["samples"], row["error"]) for row in mine]
        means = {n: np.mean([error for m, error in points if m == n]) for n, _ in sorted(points)}
        axes.plot(list(means), list(means.values()), label=text, **look.curve())
        axes.plot(*zip(*points, strict=True), look.marker, alpha=0.6, color=look.colour)
    axes.axhline(nearest, color=figures.FAINT, linestyle="--", linewidth=1, label=say("round to nearest"))
    top = 1.1 * max(nearest, *(row["error"] for row in rows))
    axes.set(xscale="log", xlabel=say("calibration samples"), ylabel=say("output error, held out"))
    axes.set(ylim=(0, top))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figures.clean(axes)
    return figure
