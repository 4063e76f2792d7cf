"""Drawings of the arrangements, made from the same descriptions that the modules run (`anatomy.arrangements`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exaone_nb.anatomy.arrangements import ARRANGEMENTS, Arrangement
from exaone_nb.show.figures import INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NORM, BLOCK, STREAM = ORANGE, "#C9DCF0", INK
STEP_HEIGHT, BOX = 1.0, (1.9, 0.62)


def layer_steps(arrangement: Arrangement) -> list[tuple[str, str, str]]:
    """(block, step, label) from the input of a layer to its output; the label is what the box says."""
    found = []
    for block, norm in zip(("attention", "MLP"), arrangement.norms, strict=True):
        for step in arrangement.order:
            label = {"norm": norm, "block": block, "add": "+"}[step]
            if step == "block" and block == "attention" and arrangement.qk_norm:
                label = "attention\nwith q_norm, k_norm"
            found.append((block, step, label))
    return found


def draw_arrangements(arrangements: Sequence[Arrangement] | None = None) -> Figure:
    """The layers side by side, read from bottom to top; the line on the left is the residual stream."""
    import matplotlib.pyplot as plt

    chosen = list(arrangements or ARRANGEMENTS.values())
    figure, axes = plt.subplots(1, len(chosen), figsize=(2.9 * len(chosen), 5.6), squeeze=False)
    for axis, arrangement in zip(axes[0], chosen, strict=True):
        _draw_layer(axis, arrangement)
    figure.tight_layout()
    return figure


def _draw_layer(axis: Axes, arrangement: Arrangement) -> None:
    steps = layer_steps(arrangement)
    left, right = 0.0, 1.75
    top = len(steps) * STEP_HEIGHT + 0.5
    axis.plot([left, left], [-0.6, top], color=STREAM, lw=2.2, zorder=1)
    axis.annotate(
        "", (left, top + 0.35), (left, top - 0.05), arrowprops={"arrowstyle": "-|>", "color": STREAM}
    )
    branch_open = False  # between leaving the stream and the addition, boxes stand on the branch
    for index, (_, step, label) in enumerate(steps):
        y = index * STEP_HEIGHT
        following = [s for _, s, _ in steps[index : (index // 3 + 1) * 3]]
        on_branch = "add" in following  # a step after the addition acts on the stream itself
        if step == "add":
            axis.plot([right, right, left], [y - 0.6, y, y], color=STREAM, lw=1.3, zorder=1)
            axis.plot(left, y, "o", ms=13, mfc="white", mec=STREAM, zorder=3)
            axis.text(left, y - 0.01, "+", ha="center", va="center", fontsize=12, zorder=4)
            branch_open = False
            continue
        if on_branch and not branch_open:
            axis.plot([left, right, right], [y - 0.5, y - 0.5, y], color=STREAM, lw=1.3, zorder=1)
            branch_open = True
        elif on_branch:
            axis.plot([right, right], [y - STEP_HEIGHT, y], color=STREAM, lw=1.3, zorder=1)
        _box(axis, right if on_branch else left, y, label, step == "norm")
    axis.text(left + 0.12, -0.62, "stream in", fontsize=8, va="center")
    axis.set_title(arrangement.name, fontsize=11)
    axis.set_xlim(-1.15, right + 1.15)
    axis.set_ylim(-1.0, top + 0.5)
    axis.axis("off")


def _box(axis: Axes, x: float, y: float, label: str, is_norm: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    width, height = BOX
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0.02",
            facecolor=NORM if is_norm else BLOCK,
            edgecolor=STREAM,
            hatch="//" if is_norm else None,
            lw=1,
            zorder=2,
        )
    )
    label = label.replace("_layernorm", "\n_layernorm") if len(label) > 16 else label
    background = {"facecolor": NORM, "edgecolor": "none", "pad": 0.6} if is_norm else None
    axis.text(x, y, label, ha="center", va="center", fontsize=7.2, zorder=3, bbox=background)
