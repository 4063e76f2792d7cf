"""The chapter's figures. Each function returns a matplotlib figure; colours also differ in lightness or in pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exaone_nb.compress.formats import GRID_NAMES, asymmetric_int4, grid, symmetric_scale
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


def rounded_group(group: np.ndarray) -> Figure:
    """One group of weights on each grid: a line from every weight down to the value that it becomes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 5.2))
    labels = []
    for y, (label, values) in enumerate(_grids_of(group)):
        rounded = values[np.abs(group[:, None] - values).argmin(1)]
        axes.plot(np.stack([group, rounded]), [[y - 0.3], [y + 0.1]], color="#e07a1f", linewidth=0.5)
        axes.vlines(values, y + 0.1, y + 0.33, color="#0b3c5d", linewidth=1.6 if len(values) < 40 else 0.35)
        error = np.linalg.norm(group - rounded) / np.linalg.norm(group)
        labels.append(f"{label}\nerror {error:.4f}")
    edge = 1.1 * np.abs(group).max()
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlim=(-edge, edge), xlabel="weight")
    axes.invert_yaxis()
    return figure


def _grids_of(group: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Label -> the values a format offers for this group, scale included."""
    found = [
        (name, grid(name) * symmetric_scale(group, name)) for name in ("int4", "fp4_e2m1", "int8", "fp8_e4m3")
    ]
    scale, zero = asymmetric_int4(group)
    found.insert(1, ("int4 asymmetric", (grid("int4") - zero) * scale))
    return [("int4 symmetric" if name == "int4" else name, values) for name, values in found]


def lopsided_group(weights: np.ndarray, group_size: int = 128) -> np.ndarray:
    """The group whose largest and smallest weight differ most in size: there a zero point has something to gain."""
    groups = weights.reshape(-1, group_size)
    high, low = groups.max(1), groups.min(1)
    return groups[np.argmax(np.abs(high + low) / (high - low))]


def shared_scales(weights: np.ndarray, channels: int = 6, group_size: int = 128) -> Figure:
    """The first channels' weights, and how far the grid reaches with one scale per tensor, channel or group."""
    import matplotlib.pyplot as plt

    rows = np.abs(weights[:channels])
    columns = weights.shape[1]
    figure, axes = plt.subplots(figsize=(8.5, 3.2))
    axes.plot(rows.ravel(), ".", color="#999999", markersize=1.5, label="weights, magnitude")
    reach = {
        "one scale per tensor": np.full(rows.size, np.abs(weights).max()),
        "per channel": rows.max(1).repeat(columns),
        f"per group of {group_size}": rows.reshape(-1, group_size).max(1).repeat(group_size),
    }
    for (label, values), colour, style in zip(
        reach.items(), ("#0b3c5d", "#e07a1f", "#4c9f70"), ("-", "--", "-"), strict=True
    ):
        axes.plot(values, style, color=colour, linewidth=1.6, label=label)
    edges = np.arange(channels + 1) * columns
    for edge in edges[1:-1]:
        axes.axvline(edge, color="#cccccc", linewidth=0.8)
    axes.set_xticks(edges[:-1] + columns / 2, [f"channel {i}" for i in range(channels)])
    axes.set(xlim=(0, rows.size), ylim=(0, None), ylabel="largest weight the grid holds")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
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
