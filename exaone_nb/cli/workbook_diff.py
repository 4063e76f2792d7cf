"""The verb `diff`: what changed between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.errors import UsageError

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

    # As for `run --out`: a word is a name under runs/, a path has a slash in it.
    folders = [
        RUNS / name if "/" not in name and ((RUNS / name).is_dir() or not Path(name).exists()) else Path(name)
        for name in (before, after)
    ]
    found = compare_runs(*folders)
    if html is not None:
        try:
            write_text(html, found.html())
        except OSError as error:
            raise UsageError(
                f"--html {html} cannot be written: {error.strerror}.", expected="the name of a file to write."
            ) from error
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
