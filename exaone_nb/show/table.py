"""A table, described once: columns that say what they hold, and rows of numbers.

    table = Table(
        [Column("scheme", "scheme", code=True), Column("bytes", "file bytes", ","), Column("share", "of BF16", ".1%")],
        [{"scheme": "W4A16", "bytes": 971_261_368, "share": 0.38}],
        caption="Predicted sizes",
    )
    table.cells()      # [["W4A16", "971,261,368", "38.0%"]], what a person sees
    table.records()    # what JSON and CSV get: the numbers themselves

Terminal (`drawn`), notebook and report (`notebook.py`) and Markdown draw the same description. A value is a
number, text, a truth value, None, an `Estimate`, or a list of those; it is put into words here and nowhere earlier.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, starmap
from typing import Any, Self

from exaone_nb.library_types import RichTable
from exaone_nb.messages import say, translated, visible
from exaone_nb.statistics.estimate import Estimate

BOUNDS = ("value", "low", "high")
# Values that programs get as they are, and people as words, in a column that is `ours`.
VALUES = (
    say("unknown"),
    say("bandwidth"),
    say("compute"),
    say("equivalent"),
    say("borderline"),
    say("undecided"),
)
VALUES += (say("met"), say("broken"), say("critical"), say("supporting"), say("advisory"))
VALUES += (say("error"), say("warning"), say("no-op"), say("note"), say("ok"), say("fail"), say("warn"))


@dataclass(frozen=True)
class Column:
    """One column. `name` is the key of its values in a row, in JSON and in CSV.

    `heading` is what a person reads (default: the name), with the unit in it where there is one; it is translated. `form` is a format
    specification of Python (",", ".1%", "+.3f"); `scale` multiplies a number before it is shown (1e-9 for GB), so that
    the row keeps the unit it was computed in. `of` names the column whose values are shown here once more, in another
    unit; programs get them once. `code` marks names, patterns and shapes, which are set like code; `ours` marks texts
    of this package, which are translated, and in which what stands between backticks is code (never text of a model or a stranger); `join` stands
    between the items of a list (" x " in a shape). `missing` stands where a row has None or no such value.
    """

    name: str
    heading: str = ""
    form: str = ""
    scale: float = 1
    of: str = ""
    code: bool = False
    ours: bool = False
    join: str = ", "
    missing: str = ""

    @property
    def title(self) -> str:
        return translated(self.heading or self.name)

    def value(self, row: dict[str, Any]) -> Any:
        """What a row holds for this column, None when it has no such value."""
        return row.get(self.of or self.name)

    def text(self, value: Any) -> str:
        """The value as a person reads it."""
        if value is None:
            return self.missing
        if isinstance(value, bool):
            return say("yes") if value else say("no")
        if isinstance(value, Estimate):
            if value.interval is None:
                return self._digits(value.value)
            middle, low, high = (self._digits(number) for number in (value.value, value.low, value.high))
            if low == middle == high:
                return middle
            return say("{value} ({low} to {high})", value=middle, low=low, high=high)
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, list | tuple):
            return self.join.join(self.text(item) for item in value)
        text = visible(str(value))
        return translated(text) if self.ours else text

    def _number(self, value: float, form: str = "") -> str:
        return format(value if self.scale == 1 else value * self.scale, form or self.form)

    def _digits(self, value: float) -> str:
        """A number of an estimate: with ".3g" 0.24 becomes 0.240, as many digits as the numbers beside it have."""
        if not self.form.endswith("g"):
            return self._number(value)
        return self._number(value, re.sub(r"(?=[,.])", "#", self.form, count=1)).rstrip(".")


@dataclass(frozen=True)
class Table:
    """Columns and rows. A row is a dict by the columns' names; what it holds beside them is not shown."""

    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]] = field(default_factory=list)
    caption: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def headings(self) -> list[str]:
        return [column.title for column in self.columns]

    def cells(self) -> list[list[str]]:
        return [[column.text(column.value(row)) for column in self.columns] for row in self.rows]

    def is_number(self, column: Column) -> bool:
        """True when at least half of the values are numbers or estimates: such columns stand to the right."""
        kinds = [is_number(v) for row in self.rows if (v := column.value(row)) is not None]
        return bool(kinds) and 2 * sum(kinds) >= len(kinds)

    def only(self, names: Iterable[str]) -> Self:
        """The table with these columns alone, in this order."""
        by_name = {column.name: column for column in self.columns}
        return Table([by_name[name] for name in names], self.rows, self.caption)

    def without(self, *names: str) -> Self:
        """The table without these columns; a name that it does not have is no matter."""
        return Table([c for c in self.columns if c.name not in names], self.rows, self.caption)

    def without_empty(self) -> Self:
        """The table without the columns in which no row has a value."""
        used = [c for c in self.columns if any(c.value(row) not in (None, "", [], ()) for row in self.rows)]
        return Table(used, self.rows, self.caption)

    def records(self) -> list[dict[str, Any]]:
        """The rows for JSON: numbers as numbers, an estimate as {value, low, high}, keys as the columns' names."""
        return [{c.name: _plain(row.get(c.name)) for c in self.columns if not c.of} for row in self.rows]

    def to_markdown(self) -> str:
        """The table in Markdown; the caption is left to the text around it."""
        rule = ["---:" if self.is_number(c) else "---" for c in self.columns]
        lines = [self.headings(), rule, *self.cells()]
        escaped = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped)

    def to_csv(self) -> str:
        """The rows as CSV with plain numbers; an estimate takes three columns (NAME, NAME_low, NAME_high)."""
        out = io.StringIO()
        flat = [dict(chain.from_iterable(starmap(_flat, row.items()))) for row in self.records()]
        writer = csv.DictWriter(out, list(dict.fromkeys(chain.from_iterable(flat))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()


def drawn(table: Table) -> RichTable:
    """A table for a `rich` console: numbers to the right, text folded rather than cut, and never read as markup."""
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=None, title=Text(table.caption) if table.caption else None, title_justify="left")
    for column in table.columns:
        side = "right" if table.is_number(column) else "left"
        made.add_column(Text(column.title), justify=side, overflow="fold")
    for row in table.cells():
        made.add_row(*map(Text, row))
    return made


def is_number(value: Any) -> bool:
    """True for a number or an `Estimate`; truth values are none."""
    return isinstance(value, int | float | Estimate) and not isinstance(value, bool)


def columns(names: Iterable[str], form: str = "", **options: Any) -> list[Column]:
    """One column per name, all alike: for tables with a column per model or per card."""
    return [Column(name, name, form, **options) for name in names]


def in_bytes(name: str, heading: str) -> list[Column]:
    """A size three times: in bytes, which is what programs get, in GB and in GiB."""
    return [
        Column(name, heading, ","),
        Column("gb", "GB", ",.3f", 1e-9, of=name),
        Column("gib", "GiB", ",.3f", 2**-30, of=name),
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {bound: getattr(value, bound) for bound in BOUNDS}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value of `records` becomes in CSV."""
    if isinstance(value, dict):
        yield from ((name if bound == "value" else f"{name}_{bound}", value[bound]) for bound in BOUNDS)
    else:
        yield name, " ".join(map(str, value)) if isinstance(value, list) else value
