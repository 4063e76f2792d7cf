"""Figures of the scoreboard. Every candidate keeps one colour and one marker, so that print and colour blindness do
not hide it; a hollow marker is a candidate that another one beats on everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exaone_nb.score.scoreboard import Estimate, Row, Scoreboard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which stays distinct for colour-blind readers; black is kept for the base.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FAINT = "#222222", "#8a8a8a"


def scoreboard_figure(board: Scoreboard, title: str = "") -> Figure:
    """Three panels: accuracy against bytes, accuracy against time per token, and the score with its interval."""
    import matplotlib.pyplot as plt

    looks = _looks(board)
    figure, (sizes, speeds, scores) = plt.subplots(
        1, 3, figsize=(12.6, 4.3), gridspec_kw={"width_ratios": [1, 1, 1.2], "wspace": 0.13}
    )
    unit, scale = _byte_unit(max(row.file_bytes for row in board.rows))
    for row in board.rows:
        _point(sizes, row, row.file_bytes / scale, None, looks[row.recipe])
        time = row.seconds_per_token
        _point(speeds, row, time.value * 1e3, _spread(time, 1e3), looks[row.recipe])
    speeds.sharey(sizes)
    speeds.tick_params(labelleft=False)
    base = board.row(board.baseline)
    for axes, x in ((sizes, base.file_bytes / scale), (speeds, base.seconds_per_token.value * 1e3)):
        axes.axvline(x, color=FAINT, linewidth=0.8, linestyle=":")
        axes.axhline(base.accuracy.value, color=FAINT, linewidth=0.8, linestyle=":")
        clean(axes)
    sizes.set_xlim(left=0)
    speeds.set_xlim(left=0)
    sizes.set_xlabel(f"checkpoint, {unit}")
    speeds.set_xlabel("time per token, ms")
    sizes.set_ylabel(f"accuracy, mean of {len(board.tasks)} task{'s' if len(board.tasks) > 1 else ''}")
    sizes.set_title("smaller is left, better is up", fontsize=10, color=INK, loc="left")
    speeds.set_title("faster is left, better is up", fontsize=10, color=INK, loc="left")
    _scores(scores, board, looks)
    if title:
        figure.suptitle(title, x=0.125, y=1.02, ha="left", fontsize=13, color=INK)
    return figure


def alt_text(board: Scoreboard) -> str:
    """What the figure shows, for a reader who cannot see it."""
    parts = [
        f"{row.recipe}: accuracy {row.accuracy.value:.3f}, {row.file_bytes / 1e6:,.2f} MB, "
        f"{row.seconds_per_token.value * 1e3:.3g} ms per token, score {row.score.value:.3f} "
        f"({row.score.low:.3f} to {row.score.high:.3f})"
        for row in board.rows
    ]
    return "Scoreboard of accuracy, bytes and speed. " + "; ".join(parts) + "."


def _looks(board: Scoreboard) -> dict[str, tuple[str, str]]:
    """Colour and marker per recipe; the base is black, the others keep theirs whatever the ranking."""
    others = sorted(row.recipe for row in board.rows if row.recipe != board.baseline)
    looks = {board.baseline: (INK, MARKERS[0])}
    for i, name in enumerate(others):
        looks[name] = (COLOURS[i % len(COLOURS)], MARKERS[1 + i % (len(MARKERS) - 1)])
    return looks


def _point(axes: Axes, row: Row, x: float, x_spread: list[list[float]] | None, look: tuple[str, str]) -> None:
    _marked(axes, row, look, x, row.accuracy.value, xerr=x_spread, yerr=_spread(row.accuracy))


def _marked(axes: Axes, row: Row, look: tuple[str, str], x: float, y: float, **errors: Any) -> None:
    """A candidate's mark with its error bars, hollow when another candidate beats it on everything."""
    colour, marker = look
    axes.errorbar(
        x,
        y,
        fmt=marker,
        markersize=8,
        color=colour,
        markerfacecolor="white" if row.dominated_by else colour,
        markeredgewidth=1.6,
        elinewidth=1.4,
        capsize=3,
        zorder=3,
        **errors,
    )


def _spread(estimate: Estimate, scale: float = 1.0) -> list[list[float]]:
    """How far the interval reaches below and above the value, as matplotlib wants it."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return [[max(0.0, below) * scale], [max(0.0, above) * scale]]


def _scores(axes: Axes, board: Scoreboard, looks: dict[str, tuple[str, str]]) -> None:
    best = board.best
    left = min(row.score.low for row in board.rows)
    right = max(row.score.high for row in board.rows)
    width = max(right - left, 0.02)
    axes.axvspan(best.score.low, best.score.high, color=looks[best.recipe][0], alpha=0.09, linewidth=0)
    for height, row in enumerate(reversed(board.rows)):
        colour, score = looks[row.recipe][0], row.score
        _marked(axes, row, looks[row.recipe], score.value, height, xerr=_spread(score))
        if row is best:
            verdict = "best"
        elif row.within_noise:
            verdict = "within noise of the best"
        else:
            verdict = f"{row.behind.value:.3f} behind"
        weight = "bold" if row is best else "normal"
        axes.text(
            right + 0.06 * width,
            height,
            f"{row.recipe}\n",
            va="center",
            fontsize=10,
            color=colour,
            fontweight=weight,
            linespacing=1.3,
        )
        axes.text(
            right + 0.06 * width,
            height,
            f"\n{score.value:.3f}, {verdict}",
            va="center",
            fontsize=8.5,
            color=INK,
            linespacing=1.3,
        )
    base = board.row(board.baseline).score.value
    axes.axvline(base, color=FAINT, linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.6, len(board.rows) - 0.4)
    axes.set_xlim(left - 0.05 * width, right + 0.95 * width)
    axes.set_yticks([])
    ticks = [tick for tick in axes.get_xticks() if left - 0.05 * width <= tick <= right + 0.02 * width]
    axes.set_xticks(ticks)
    axes.set_xlabel("score, 95 % interval", loc="left")
    axes.set_title(_formula(board), fontsize=10, color=INK, loc="left")
    clean(axes)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(left - 0.05 * width, right + 0.02 * width)
    axes.grid(axis="y", visible=False)


def _formula(board: Scoreboard) -> str:
    return "score = " + board.weights.formula.removeprefix("max(").removesuffix(", 0)")


def clean(axes: Axes) -> None:
    """Quiet axes: a light grid, no frame on top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)


def _byte_unit(size: float) -> tuple[str, float]:
    return ("GB", 1e9) if size >= 1e9 else ("MB", 1e6)
