"""What notebooks use to show figures, tables and notes, so that they read well in JupyterLab and in a report."""

import base64
import io
import re
import warnings
from functools import cache
from html import escape
from typing import Any

from exaone_nb.library_types import DataFrame, Figure
from exaone_nb.messages import say
from exaone_nb.show.figures import HANGUL_FONTS, drawn_with
from exaone_nb.show.table import Column, Table, is_number
from exaone_nb.statistics.estimate import Estimate

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

    media_type, picture, settings = "svg+xml", io.BytesIO(), drawn_with(figure)
    by_browser = "svg.fonttype" in settings
    with plt.rc_context(settings), warnings.catch_warnings():
        if by_browser:
            _say_which_fonts()
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(picture, format="svg", bbox_inches="tight", metadata={"Date": None})
        if picture.tell() > LARGEST_SVG_BYTES and not by_browser:
            media_type, picture = "png", io.BytesIO()
            figure.savefig(picture, format="png", dpi=160, bbox_inches="tight")
    plt.close(figure)
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    text = f"<figcaption>{with_code(escape(caption))}</figcaption>" if caption else ""
    display(
        HTML(
            f'<figure class="enb"><img alt="{escape(alt, quote=True)}" style="max-width:100%" '
            f'src="data:image/{media_type};base64,{data}">{text}</figure>'
        )
    )


@cache
def _say_which_fonts() -> None:
    names = ", ".join(HANGUL_FONTS)
    note(
        say(
            "No font with Hangul is installed here, so your browser draws the words of figures. Install one of: {names}.",
            names=names,
        )
    )


def show_table(table: Table | DataFrame, caption: str = "") -> None:
    """Display a table, or a data frame made on the page; every cell is escaped, so model output stays text."""
    from IPython.display import HTML, display

    display(HTML(as_html(table if isinstance(table, Table) else of_frame(table), caption)))


def of_frame(frame: DataFrame) -> Table:
    """The columns of a data frame as a Table: numbers stay numbers, anything else is text. The index is left out."""
    import pandas as pd

    columns, values = [], []
    for place, (heading, series) in enumerate(frame.items()):
        held = [None if pd.api.types.is_scalar(each) and pd.isna(each) else each for each in series.tolist()]
        columns.append(Column(str(place), str(heading), _form(held)))
        values.append(held)
    names = [column.name for column in columns]
    return Table(columns, [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])


def _form(values: list[Any]) -> str:
    """The digits after the point that the finest of the values needs, six at most."""
    fractions = [each for each in values if isinstance(each, float)]
    if not fractions or not all(is_number(each) for each in values if each is not None):
        return ""
    if any(0 < abs(each) < SMALLEST for each in fractions):
        return ".4g"
    return f".{max(1, *(len(f'{each:.6f}'.rstrip('0').partition('.')[2]) for each in fractions))}f"


def as_html(table: Table, caption: str = "") -> str:
    """The table as HTML: numbers to the right, words to the left, what is code set as code, long words breakable.

    `data-sort` carries the number itself, by which the report's script sorts.
    """
    caption = caption or table.caption
    sides = ["right" if table.is_number(column) else "left" for column in table.columns]
    looks = list(zip(table.columns, sides, strict=True))
    head = "".join(f'<th style="text-align: {side}">{breakable(column.title)}</th>' for column, side in looks)
    body = "\n".join(
        "<tr>" + "".join(_cell(column, column.value(row), side) for column, side in looks) + "</tr>"
        for row in table.rows
    )
    above = f"<caption><span>{with_code(escape(caption))}</span></caption>\n" if caption else ""
    return f'<table class="enb sortable">\n{above}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def _cell(column: Column, value: Any, side: str) -> str:
    text = column.text(value)
    look = f' class="number" data-sort="{value}"' if is_number(value) else ""
    if isinstance(value, Estimate):  # "0.41 (0.38 to 0.44)" may take two lines, not four
        text, look = text.replace(" to ", "\u00a0to\u00a0"), f' class="interval" data-sort="{value.value}"'
    inside = escape(text) if look else breakable(text)
    if isinstance(value, Estimate):
        inside = inside.replace("(", "<wbr>(", 1)  # where no space stands before it: "0.41(0.38~0.44)"
    if len(text) > SENTENCE and not look:
        look = ' class="long"'  # on a phone its column stays wide enough to read
    if column.code and inside:
        inside = f"<code>{inside}</code>"
    elif column.ours:
        inside = with_code(inside)
    return f'<td{look} style="text-align: {side}">{inside}</td>'


def with_code(html: str) -> str:
    """Escaped text in which `…` is set as code, and in which no line ends inside a name, a date, a quantity or "…self_attn"."""
    pieces = re.split(r"`([^`]+)`", re.sub(r"…(?=\w)", "…\u2060", html))
    pieces[::2] = map(names_stay, pieces[::2])
    pieces[1::2] = (f"<code>{hyphens_stay(code)}</code>" for code in pieces[1::2])
    return "".join(pieces)


def names_stay(html: str) -> str:
    """HTML in which no line ends inside "8-bit", "2026-11-26" or "EXAONE-4.0-1.2B", nor inside "95 %" or "12 ms"."""
    return TORN.sub(_stay, html)


def _stay(match: re.Match[str]) -> str:
    if match[0] == " ":
        return "\u00a0"
    name = match[1] or ""
    return _in_one_line(name) if len(name) < LONG_NAME and any(map(str.isdigit, name)) else match[0]


def hyphens_stay(code: str) -> str:
    """HTML of a piece of code in which no line ends after the hyphens of a command or an option: `exaone-nb`, `--gguf`."""
    return HYPHENATED.sub(lambda match: _in_one_line(match[0]), code)


def _in_one_line(html: str) -> str:
    return f'<span class="word" style="white-space: nowrap">{html}</span>'


# From the first length on a word may go on in the next line after its punctuation, from the second on before a capital
# as well (ScaledMMLinearKernel), and from the third on anywhere.
LONG_WORD, LONG_NAME, LONGEST_WORD = 17, 28, 40
# Not between "--" and "jinja", and not in "Q4_K_M".
AFTER_PUNCTUATION = r"(?<=[^\W_][^\W_][._/:,=-])(?=[^\W\d_][^\W_])|(?<=[|\]})])(?=[^\s\d._|>\])}])"
BEFORE_A_CAPITAL = r"|(?<=[a-zM])(?=[A-Z][a-z]{3})"
# A browser would break "2026-11-26", "Qwen3-1.7B", "QK-Reorder-LN" and "lm-eval" after a hyphen, and "--jinja" after its second.
HYPHENS_THAT_STAY = re.compile(r"(?=\S*[\dA-Z])\S*-\S*|\W*-\S+|(?=\S{3,12}$)\S+-\S+")
HYPHENATED = re.compile(rf"(?<![^\s>])(?=\S*-)[\w./=-]{{2,{LONG_NAME}}}(?![^\s<])")
BEFORE_A_UNIT = r"(?<=\d) (?=%|(?:ms|[kKMGT]i?B)(?![A-Za-z]))"
TORN = re.compile(rf"<code>.*?</code>|<[^>]*>|([\w.]+(?:-[\w.]+)+)|{BEFORE_A_UNIT}", re.DOTALL)
LISTED = re.compile(r"(?:(?:^|\n)- .*)+\n?")
SMALLEST = 1e-4
SENTENCE = 48  # characters: longer texts are sentences


def breakable(text: str) -> str:
    """Text as HTML whose long words may be broken, so that one name or one prompt does not push a column off the page.

    A short name, a date and an option stay whole; a line ends where the text has one.
    """
    text = re.sub(BEFORE_A_UNIT, "\u00a0", text.strip("\n"))
    return "".join(map(_word, re.split(r"(\s+)", text)))


def _word(word: str) -> str:
    if not word or word.isspace():
        return "<br>" if "\n" in word else word
    if len(word) < LONG_WORD or (word.startswith("-") and len(word) < LONG_NAME):
        return _whole(word)
    pieces = re.split(AFTER_PUNCTUATION + (BEFORE_A_CAPITAL if len(word) >= LONG_NAME else ""), word)
    if len(word) < LONGEST_WORD:
        return "<wbr>".join(map(_whole, pieces))
    return f'<span style="overflow-wrap: anywhere">{"<wbr>".join(map(escape, pieces))}</span>'


def _whole(piece: str) -> str:
    if HYPHENS_THAT_STAY.fullmatch(piece):
        return _in_one_line(escape(piece))
    return escape(piece)


def note(text: str, kind: str = "note") -> None:
    """Display a visible remark (`kind`: note, warning or recorded). The text is escaped; `…` in it is set as code, and
    lines that begin with "- " as a list."""
    from IPython.display import HTML, display

    said = LISTED.sub(_list, with_code(escape(text))).replace("\n", "<br>")
    display(HTML(f'<aside class="enb {escape(kind, quote=True)}" role="note">{said}</aside>'))


def _list(lines: re.Match[str]) -> str:
    items = "".join(f"<li>{line[2:]}</li>" for line in lines[0].strip().splitlines())
    return f'<ul style="margin: 0">{items}</ul>'
