"""The scoreboard as a table: for the notebook, as CSV with plain numbers, and as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exaone_nb.files import write_text
from exaone_nb.score.scoreboard import Estimate, Scoreboard

if TYPE_CHECKING:
    import pandas as pd


def board_table(board: Scoreboard) -> pd.DataFrame:
    """One line per candidate, best score first, values with their 95 % intervals as text."""
    import pandas as pd

    return pd.DataFrame(
        {
            "recipe": row.recipe,
            "score": _with_interval(row.score),
            "verdict": _verdict(board, i),
            "best in": f"{row.share_best:.0%}",
            "accuracy": _with_interval(row.accuracy),
            "of the base": f"{row.perf_norm.value:.1%}",
            "bytes": f"{row.file_bytes:,}",
            "off prediction": ""
            if row.predicted_bytes is None
            else f"{row.file_bytes - row.predicted_bytes:+,}",
            "ms per token": _with_interval(row.seconds_per_token, 1e3, ".3g"),
            "decoding, of the roofline": ""
            if row.roofline_fraction is None
            else f"{row.roofline_fraction:.0%}",
            f"fits on {board.gpu}": row.memory,
            "beaten on everything by": ", ".join(row.dominated_by),
            "unusable answers": row.unusable_answers,
        }
        for i, row in enumerate(board.rows)
    )


def plain_table(board: Scoreboard) -> pd.DataFrame:
    """The same as numbers, one column per bound, for a CSV."""
    import pandas as pd

    lines = []
    for row in board.rows:
        line: dict[str, object] = {"recipe": row.recipe, "scheme": row.scheme}
        for name in ("score", "behind", "accuracy", "seconds_per_token", "perf_norm", "speed_norm"):
            estimate: Estimate = getattr(row, name)
            line |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for name in (
            "size_norm",
            "file_bytes",
            "predicted_bytes",
            "roofline_fraction",
            "within_noise",
            "share_best",
            "share_front",
            "unusable_answers",
            "memory",
        ):
            line[name] = getattr(row, name)
        lines.append(line | {"dominated_by": " ".join(row.dominated_by)})
    return pd.DataFrame(lines)


def write_tables(board: Scoreboard, folder: str | Path) -> list[Path]:
    """Write scoreboard.csv and scoreboard.html into `folder` and return their paths. Cells are escaped."""
    folder = Path(folder)
    caption = (
        f"{board.weights.formula}; {', '.join(board.tasks)}; {board.items:,} items; base: {board.baseline}"
    )
    table = board_table(board).to_html(index=False, escape=True, border=0)
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Scoreboard</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff;overflow-wrap:anywhere}"
        "table{border-collapse:collapse}th,td{padding:.35rem .7rem;text-align:left;border-bottom:1px solid #ddd;"
        "overflow-wrap:normal}.scroll{overflow-x:auto}"
        "@media print{body{margin:0}.scroll{overflow:visible}th,td{font-size:.6rem;padding:.2rem;overflow-wrap:anywhere}}"
        "</style></head>\n"
        f"<body><h1>Scoreboard</h1>\n<p>{_escape(caption)}</p>\n"
        f'<div class="scroll" role="region" aria-label="Scoreboard" tabindex="0">{table}</div>\n</body></html>\n'
    )
    return [
        write_text(folder / "scoreboard.csv", plain_table(board).to_csv(index=False, lineterminator="\n")),
        write_text(folder / "scoreboard.html", page),
    ]


def _verdict(board: Scoreboard, index: int) -> str:
    row = board.rows[index]
    if index == 0:
        return "best"
    if row.within_noise:
        return "within noise of the best"
    return f"{row.behind.value:.3f} behind ({row.behind.low:.3f} to {row.behind.high:.3f})"


def _with_interval(estimate: Estimate, scale: float = 1.0, form: str = ".3f") -> str:
    value, low, high = (format(x * scale, form) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})" if (low, high) != (value, value) else value


def _escape(text: str) -> str:
    from html import escape

    return escape(text)
