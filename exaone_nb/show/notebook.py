"""What notebooks use to show figures, tables and notes, so that they read well in JupyterLab and in a report."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

from exaone_nb.show.table import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Above this an SVG (many points) is slower to open than a picture of it.
LARGEST_SVG_BYTES = 400_000


def show(figure: Figure, alt: str, caption: str = "") -> None:
    """Display a matplotlib figure with alt text (what one should see) and a caption (how to read it).

    Drawn as SVG with text as outlines (crisp in print, no font needed), or as PNG when that would be large.
    Closes the figure. Raises ValueError when `alt` is empty.
    """
    if not alt.strip():
        raise ValueError("show() needs alt text: say what a reader who cannot see the figure should know.")
    import matplotlib.pyplot as plt
    from IPython.display import HTML, display

    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    media_type = "image/svg+xml"
    if buffer.tell() > LARGEST_SVG_BYTES:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight")
        media_type = "image/png"
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    display(
        HTML(
            f'<figure class="enb"><img alt="{escape(alt, quote=True)}" style="max-width:100%" '
            f'src="data:{media_type};base64,{data}">{text}</figure>'
        )
    )


def show_table(table: Table | pd.DataFrame, caption: str = "", *, index: bool = False) -> None:
    """Display a table, or a data frame made on the page; every cell is escaped, so model output stays text."""
    from IPython.display import HTML, display

    if isinstance(table, Table):
        display(HTML(as_html(table, caption)))
        return
    table = table.rename_axis(
        columns=None
    )  # pivot() names the columns: an empty column, and every alignment shifted
    html = table.to_html(index=index, escape=True, border=0, classes="enb sortable", na_rep="")
    if caption:
        html = html.replace("<thead>", f"<caption>{escape(caption)}</caption>\n<thead>", 1)
    display(HTML(_legible(html, table, head=not index)))


def as_html(table: Table, caption: str = "") -> str:
    """The table as HTML: numbers to the right, words to the left, what is code set as code, long words broken."""
    caption = caption or table.caption
    sides = ["right" if table.is_number(column) else "left" for column in table.columns]
    head = "".join(
        f'<th style="text-align: {side}">{escape(column.title)}</th>'
        for side, column in zip(sides, table.columns, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            _cell(text, side, column.code)
            for text, side, column in zip(row, sides, table.columns, strict=True)
        )
        + "</tr>"
        for row in table.cells()
    )
    above = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return f'<table class="enb sortable">\n{above}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def _cell(text: str, side: str, code: bool) -> str:
    broken = "; overflow-wrap: anywhere" if re.search(rf"\S{{{LONGEST_WORD},}}", text) else ""
    inside = f"<code>{escape(text)}</code>" if code and text else escape(text)
    return f'<td style="text-align: {side}{broken}">{inside}</td>'


# A prompt shown as one string is one word to a browser, and would push the columns after it off the page.
LONGEST_WORD = 40
# As report.js has it: what stands to the right in a report does so in JupyterLab.
_NUMBER = re.compile(r"|[+\-−]?[\d,]*\.?\d+(?:[eE][+-]?\d+)?(?: ?(?:%|s|ms|[KMGT]i?B))?")
# "0.41 (0.38 to 0.44)" reads badly on four lines.
_INTERVAL = re.compile(r"[^()]{0,16}\(?[+\-−]?[\d.,]+ to [+\-−]?[\d.,]+\)?")


def _is_words(column: pd.Series) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return False
    return not all(_NUMBER.fullmatch(str(value).strip()) for value in column.dropna())


def _legible(html: str, table: pd.DataFrame, head: bool) -> str:
    """Words to the left (JupyterLab sets every cell to the right, which suits numbers only), and very long ones broken.

    Cells are escaped, so a tag is always markup. `head`: the head has as many cells as the table has columns, and can
    follow them.
    """
    words = cycle(_is_words(table.iloc[:, number]) for number in range(table.shape[1]))

    def styled(cell: re.Match[str]) -> str:
        if not next(words):
            return cell[0]
        wrap = "; overflow-wrap: anywhere" if re.search(rf"\S{{{LONGEST_WORD},}}", cell[2]) else ""
        wrap = "; white-space: nowrap" if _INTERVAL.fullmatch(cell[2]) else wrap
        return f'<{cell[1]} style="text-align: left{wrap}">'

    return re.sub(rf"<(t{'[dh]' if head else 'd'})>(?=([^<]*))", styled, html)


def note(text: str, kind: str = "note") -> None:
    """Display a visible remark (`kind`: note, warning or recorded). The text is escaped."""
    from IPython.display import HTML, display

    display(HTML(f'<aside class="enb {escape(kind, quote=True)}" role="note">{escape(text)}</aside>'))
