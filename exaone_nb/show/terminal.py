"""A table on a terminal. Names come from strangers' files, so they are text here, never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exaone_nb.show.table import Table

if TYPE_CHECKING:
    from rich.table import Table as Drawn


def drawn(table: Table) -> Drawn:
    """A `rich` table to print on a console: numbers to the right, text folded rather than cut."""
    from rich.table import Table as Drawn
    from rich.text import Text

    made = Drawn(box=None, title=Text(table.caption) if table.caption else None, title_justify="left")
    for column in table.columns:
        made.add_column(
            Text(column.title), justify="right" if table.is_number(column) else "left", overflow="fold"
        )
    for row in table.cells():
        made.add_row(*(Text(cell) for cell in row))
    return made
