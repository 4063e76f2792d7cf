"""The scoreboard as tables, as files (CSV, one HTML page), and as a figure with its alt text.

Every candidate keeps one colour and one marker in all panels; a hollow marker is a candidate that another one beats on
everything.
"""

from pathlib import Path
from typing import Any

from exaone_nb.files import write_text
from exaone_nb.language import language
from exaone_nb.library_types import Axes, Figure
from exaone_nb.messages import say
from exaone_nb.score.scoreboard import BoardRow, Scoreboard
from exaone_nb.show.figures import INK, Style, alt, clean, styles_of
from exaone_nb.show.notebook import as_html
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate

REFERENCE = {"color": INK, "linewidth": 1.2, "linestyle": ":"}
HEADING = {"fontsize": 10, "color": INK, "loc": "left"}
PAGE = Path(__file__).with_name("scoreboard.html")
# What one needs to choose; the other columns of a board stand in `details_table` and in the files.
CHOICE = (
    "recipe", "engine", "runs_as", "score", "behind", "verdict", "share_best", "accuracy", "file_bytes", "seconds_per_token",
)  # fmt: skip
DETAILS = (
    "recipe", "perf_norm", "off_prediction", "roofline_fraction", "concurrency", "memory_remark", "dominated_by",
    "unusable_answers",
)  # fmt: skip


def full_table(board: Scoreboard) -> Table:
    """One row per candidate, best score first, with everything that is known of it: the file formats' table."""
    columns = [
        Column("recipe", say("recipe"), code=True),
        Column("scheme", say("scheme"), code=True),
        Column("engine", say("measured in")),
        Column("runs_as", say("the engine ran it as"), code=True),
        Column("score", say("score"), ".3f"),
        Column("behind", say("behind the best"), ".3f"),
        Column("verdict", say("verdict")),
        Column("accuracy", say("accuracy"), ".3f"),
        Column("seconds_per_token", say("ms per token"), ".3g", scale=1e3),
        Column("perf_norm", say("accuracy, of the base"), ".1%"),
        Column("speed_norm", say("SpeedNorm"), "+.3f"),
        Column("size_norm", say("SizeNorm"), "+.3f"),
        Column("file_bytes", say("bytes"), ","),
        Column("predicted_bytes", say("bytes predicted"), ","),
        Column("off_prediction", say("bytes off the prediction"), "+,"),
        Column("roofline_fraction", say("decoding, share of the best possible speed"), ".0%"),
        Column("within_noise", say("within noise of the best")),
        Column("share_best", say("came out best in"), ".0%"),
        Column("share_front", say("beaten by nobody in"), ".0%"),
        Column("unusable_answers", say("unusable answers")),
        Column("concurrency", say("requests of the whole context at once on one {gpu}", gpu=board.gpu), ","),
        Column("context", say("tokens of the whole context"), ","),
        Column("memory_remark", say("memory on {gpu}", gpu=board.gpu)),
        Column("dominated_by", say("beaten on everything by"), code=True),
    ]
    rows = [vars(row) | {"verdict": verdict_of(board, row)} for row in board.rows]
    for row in rows:
        row["off_prediction"] = row["predicted_bytes"] and row["file_bytes"] - row["predicted_bytes"]
    caption = say(
        "{board.weights.formula}; {tasks}; {board.items:,} items; base: {board.baseline}; 95 % intervals",
        board=board,
        tasks=", ".join(board.tasks),
    )
    return Table(columns, rows, caption)


def board_table(board: Scoreboard) -> Table:
    one = len({row.engine for row in board.rows}) == 1  # then it explains nothing
    return full_table(board).only(name for name in CHOICE if not one or name != "engine").without_empty()


def details_table(board: Scoreboard) -> Table:
    """What explains the board: predictions, roofline, memory, dominance, answers that could not be used."""
    return full_table(board).only(DETAILS).without_empty()


def write_tables(board: Scoreboard, folder: str | Path) -> list[Path]:
    """Write scoreboard.csv and scoreboard.html into `folder` and return their paths. Cells are escaped."""
    from jinja2 import Template
    from markupsafe import Markup

    folder, table = Path(folder), full_table(board)
    page = Template(PAGE.read_text(encoding="utf-8"), autoescape=True, keep_trailing_newline=True)
    said = {"title": say("Scoreboard"), "scrolls": say("This table scrolls to the right →")}
    html = page.render(lang=language(), table=Markup(as_html(table.without_empty())), **said)
    return [
        write_text(folder / "scoreboard.csv", table.to_csv()),
        write_text(folder / "scoreboard.html", html),
    ]


def verdict_of(board: Scoreboard, row: BoardRow) -> str:
    """Where a candidate stands beside the best one."""
    if row is board.best:
        return say("best")
    return say("within noise of the best") if row.within_noise else say("behind")


def scoreboard_figure(board: Scoreboard, title: str = "") -> Figure:
    """Three panels: accuracy against bytes, accuracy against time per token, and the score with its interval."""
    import matplotlib.pyplot as plt

    # The base is black, the others keep their look whatever the ranking.
    others = sorted(row.recipe for row in board.rows if row.recipe != board.baseline)
    looks = {board.baseline: Style(INK, marker="*"), **styles_of(others)}
    figure, (sizes, speeds, scores) = plt.subplots(
        1, 3, figsize=(12.6, 4.3), gridspec_kw={"width_ratios": [1, 1, 1.2], "wspace": 0.13}
    )
    largest = max(row.file_bytes for row in board.rows)
    unit, scale = ("GB", 1e-9) if largest >= 1e9 else ("MB", 1e-6)
    for row in board.rows:
        height, time, look = row.accuracy.value, row.seconds_per_token * 1e3, looks[row.recipe]
        _mark(sizes, row, look, row.file_bytes * scale, height, yerr=_spread(row.accuracy))
        _mark(speeds, row, look, time.value, height, xerr=_spread(time), yerr=_spread(row.accuracy))
    speeds.sharey(sizes)
    speeds.tick_params(labelleft=False)
    base = board.row(board.baseline)
    for axes, x in ((sizes, base.file_bytes * scale), (speeds, base.seconds_per_token.value * 1e3)):
        axes.axvline(x, **REFERENCE)
        axes.axhline(base.accuracy.value, **REFERENCE)
        clean(axes)
        axes.set_xlim(left=0)
    accuracy = say("accuracy, mean over {tasks} tasks", tasks=len(board.tasks))
    sizes.set(xlabel=say("checkpoint, {unit}", unit=unit), ylabel=accuracy)
    speeds.set_xlabel(say("time per token, ms"))
    sizes.set_title(say("smaller is left, better is up"), **HEADING)
    speeds.set_title(say("faster is left, better is up"), **HEADING)
    _scores(scores, board, looks)
    if title:
        figure.suptitle(title, x=0.125, y=1.02, ha="left", fontsize=13, color=INK)
    return figure


def alt_text(board: Scoreboard) -> str:
    """What the figure shows, for a reader who cannot see it."""
    parts = {
        _name(row): say(
            "accuracy {row.accuracy.value:.3f}, {megabytes:,.2f} MB, {ms.value:.3g} ms per token, "
            "score {row.score.value:.3f} ({row.score.low:.3f} to {row.score.high:.3f})",
            **{"row": row, "megabytes": row.file_bytes / 1e6, "ms": row.seconds_per_token * 1e3},
        )
        for row in board.rows
    }
    return alt(say("Scoreboard of accuracy, bytes and speed."), parts)


def _name(row: BoardRow) -> str:
    return say("{row.recipe}, run as {row.runs_as}", row=row) if row.runs_as else row.recipe


def _mark(axes: Axes, row: BoardRow, look: Style, x: float, y: float, **errors: Any) -> None:
    """A candidate's mark with its error bars, hollow when another candidate beats it on everything."""
    face = "white" if row.dominated_by else look.colour
    mark = {"fmt": look.marker, "markersize": 8, "markerfacecolor": face, "markeredgewidth": 1.6}
    axes.errorbar(x, y, color=look.colour, elinewidth=1.4, capsize=3, zorder=3, **mark, **errors)


def _spread(estimate: Estimate) -> list[list[float]]:
    """How far the interval reaches below and above the value, as matplotlib wants it."""
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]


def _scores(axes: Axes, board: Scoreboard, looks: dict[str, Style]) -> None:
    best = board.best
    left = min(row.score.low for row in board.rows)
    right = max(row.score.high for row in board.rows)
    width = max(right - left, 0.02)
    axes.axvspan(best.score.low, best.score.high, color=looks[best.recipe].colour, alpha=0.09, linewidth=0)
    for height, row in enumerate(reversed(board.rows)):
        look, score = looks[row.recipe], row.score
        _mark(axes, row, look, score.value, height, xerr=_spread(score))
        far = row is not best and not row.within_noise
        verdict = say("{points:.3f} behind", points=row.behind.value) if far else verdict_of(board, row)
        standing = say("{score:.3f}, {verdict}", score=score.value, verdict=verdict)
        place, words = right + 0.06 * width, {"va": "center", "linespacing": 1.3}
        # The mark beside it has the colour; pink or orange letters on white are hard to read.
        name = {"fontsize": 10, "color": INK, "fontweight": "bold" if row is best else "normal"}
        axes.text(place, height, f"{_name(row)}\n", **name, **words)
        axes.text(place, height, f"\n{standing}", fontsize=8.5, color=INK, **words)
    axes.axvline(board.row(board.baseline).score.value, **REFERENCE)
    axes.set_ylim(-0.6, len(board.rows) - 0.4)
    first, last = left - 0.05 * width, right + 0.02 * width
    axes.set_xlim(first, right + 0.95 * width)
    axes.set_yticks([])
    axes.set_xticks([tick for tick in axes.get_xticks() if first <= tick <= last])
    axes.set_xlabel(say("score, 95 % interval"), loc="left")
    axes.set_title(say("score = {formula}", formula=board.weights.sum_in_words), **HEADING)
    clean(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(first, last)
