"""The chapter's figures. Each function returns a matplotlib figure; colours also differ in lightness or in pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exaone_nb.compress.formats import GRID_NAMES, asymmetric_int4, grid, symmetric_scale
from exaone_nb.compress.plan import Plan
from exaone_nb.messages import say
from exaone_nb.quantization.assignment import KEPT
from exaone_nb.show.figures import BLUE, FAINT, GRID, STYLES, VERMILLION, Style, clean, patches, styles_of
from exaone_nb.show.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def scheme_map(plan: Plan, title: str = "") -> Figure:
    """Layers across, modules down; one colour and pattern per scheme, grey for what is kept."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    inside = [m for m in plan.quantizable if m.layer is not None]
    parts = [p for p in PARTS if any(m.part == p for m in inside)]
    parts += sorted({m.part for m in inside} - set(parts))
    outside = [m for m in plan.quantizable if m.layer is None]
    layers = max((m.layer for m in inside), default=0) + 1
    looks = {KEPT: Style(GRID)} | styles_of(plan.labels)
    height = len(parts) + len(outside)
    figure, axes = plt.subplots(figsize=(max(5.0, 1.5 + 0.28 * layers), 0.34 * height + 1.3))

    def cell(x: float, y: int, width: float, module: str) -> None:
        axes.add_patch(Rectangle((x, y), width, 1, **looks[plan.label_of(module)].area()))

    for m in inside:
        cell(m.layer, parts.index(m.part), 1, m.name)
    for i, m in enumerate(outside):
        cell(0, len(parts) + i, layers, m.name)
    axes.set(xlim=(0, layers), ylim=(height, 0), xlabel=say("layer"), title=title)
    axes.set_yticks(np.arange(height) + 0.5, [*parts, *(m.part for m in outside)])
    ticks = np.arange(0, layers, max(1, layers // 10))
    axes.set_xticks(ticks + 0.5, [str(t) for t in ticks])
    clean(axes, grid="")
    legend = {say("kept") if label == KEPT else label: look for label, look in looks.items()}
    axes.legend(handles=patches(legend), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def grids() -> Figure:
    """The values of each format between -1 and 1 when its largest is stretched to 1."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 2.4))
    for y, name in enumerate(GRID_NAMES):
        points = grid(name) / np.abs(grid(name)).max()
        axes.vlines(points, y - 0.35, y + 0.35, color=BLUE, linewidth=1.2 if len(points) < 40 else 0.35)
    names = [say("{name} ({count} values)", name=name, count=len(grid(name))) for name in GRID_NAMES]
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-1.03, 1.03), xlabel=say("value, largest = 1"))
    axes.invert_yaxis()
    clean(axes, grid="")
    return figure


def rounded_group(group: np.ndarray) -> Figure:
    """One group of weights on each grid: a line from every weight down to the value that it becomes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 5.2))
    labels = []
    for y, (label, values) in enumerate(_grids_of(group)):
        rounded = values[np.abs(group[:, None] - values).argmin(1)]
        axes.plot(np.stack([group, rounded]), [[y - 0.3], [y + 0.1]], color=VERMILLION, linewidth=0.5)
        axes.vlines(values, y + 0.1, y + 0.33, color=BLUE, linewidth=1.6 if len(values) < 40 else 0.35)
        error = np.linalg.norm(group - rounded) / np.linalg.norm(group)
        labels.append(say("{label}\nerror {error:.4f}", label=label, error=error))
    edge = 1.1 * np.abs(group).max()
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlim=(-edge, edge), xlabel=say("weight"))
    axes.invert_yaxis()
    clean(axes, grid="")
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
    axes.plot(rows.ravel(), ".", color=FAINT, markersize=1.5, label=say("weights, magnitude"))
    reach = {
        say("one scale per tensor"): np.full(rows.size, np.abs(weights).max()),
        say("per channel"): rows.max(1).repeat(columns),
        say("per group of {size}", size=group_size): rows.reshape(-1, group_size).max(1).repeat(group_size),
    }
    for (label, values), look in zip(reach.items(), STYLES, strict=False):
        axes.plot(values, label=label, **look.curve() | {"marker": ""})
    edges = np.arange(channels + 1) * columns
    for edge in edges[1:-1]:
        axes.axvline(edge, color=GRID, linewidth=0.8)
    axes.set_xticks(edges[:-1] + columns / 2, [say("channel {i}", i=i) for i in range(channels)])
    axes.set(xlim=(0, rows.size), ylim=(0, None), ylabel=say("largest weight the grid holds"))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    clean(axes, grid="")
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
    axes.set(xlabel=say("layer"), title=title)
    figure.colorbar(image, label=say("relative error"))
    return figure


def lines(series: dict[str, dict[str, float]], ylabel: str) -> Figure:
    """One line per recipe over the decoder layers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3))
    for (name, values), look in zip(series.items(), styles_of(series).values(), strict=True):
        axes.plot(range(len(values)), list(values.values()), label=name, **look.curve())
    axes.set(xlabel=say("after layer"), ylabel=ylabel, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    clean(axes)
    return figure


def intervals(table: Table, reference: float | None = None) -> Figure:
    """The estimates of a table's second column, named by its first; a vertical line where `reference` is."""
    import matplotlib.pyplot as plt

    names, values = table.columns[:2]
    rows = [(row[names.name], row[values.name]) for row in table.rows]
    figure, axes = plt.subplots(figsize=(6.5, 0.42 * len(rows) + 1))
    for y, (_, estimate) in enumerate(rows):
        axes.plot([estimate.low, estimate.high], [y, y], color=BLUE, linewidth=2)
        axes.plot(estimate.value, y, "o", color=VERMILLION)
    if reference is not None:
        axes.axvline(reference, color=FAINT, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set(xlabel=values.title, ylim=(len(rows) - 0.5, -0.5))
    clean(axes, grid="x")
    return figure


def calibration_sweep(rows: Sequence[dict[str, Any]], nearest: float) -> Figure:
    """Held-out error against the number of samples: every seed a point, their mean a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    sizes = sorted({row["samples"] for row in rows})
    for text, look in styles_of(row["text"] for row in rows).items():
        mine = [row for row in rows if row["text"] == text]
        found = {n: [row["error"] for row in mine if row["samples"] == n] for n in sizes}
        found = {n: errors for n, errors in found.items() if errors}
        axes.plot(list(found), [np.mean(errors) for errors in found.values()], label=text, **look.curve())
        points = [(row["samples"], row["error"]) for row in mine]
        axes.plot(*zip(*points, strict=True), look.marker, alpha=0.6, color=look.colour)
    axes.axhline(nearest, color=FAINT, linestyle="--", linewidth=1, label=say("round to nearest"))
    axes.set(xscale="log", xlabel=say("calibration samples"), ylabel=say("output error, held out"))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    clean(axes)
    return figure
