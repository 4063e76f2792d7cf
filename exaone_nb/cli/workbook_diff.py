"""The verb `diff`: what changed between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from exaone_nb.cli.output import JsonFlag, emit

if TYPE_CHECKING:
    from exaone_nb.workbook.diff import RunDiff


def register(app: typer.Typer) -> None:
    """Add the verb `diff`."""
    app.command("diff")(diff)


def diff(
    before: Annotated[str, typer.Argument(help="A run: its name under runs/, or its folder.")],
    after: Annotated[str, typer.Argument(help="The run to compare with it.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the comparison as one HTML file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What changed between two runs: parameters, versions, machine, chapters, results."""
    from exaone_nb.files import write_text
    from exaone_nb.paths import RUNS
    from exaone_nb.workbook.diff import compare_runs

    folders = [Path(name) if Path(name).is_dir() else RUNS / name for name in (before, after)]
    found = compare_runs(*folders)
    if html is not None:
        write_text(html, found.html())
    emit(as_json, found.as_dict(), lambda console: _print(console, found))


def _print(console: Console, found: RunDiff) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(
        f"{found.before} -> {found.after}: {len(found.changes)} differences, {found.equal_results} results equal"
    )
    if not found.changes:
        return
    table = Table()
    for head in ("section", "what", found.before, found.after, "note"):
        table.add_column(head, overflow="fold")
    for c in found.changes:
        shown = ["absent" if item is None else escape(str(item)) for item in (c.before, c.after)]
        table.add_row(c.section, escape(c.name), *shown, escape(c.note))
    console.print(table)
