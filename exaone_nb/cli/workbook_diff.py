"""The verb `diff`: what changed between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from exaone_nb.cli.output import JsonFlag, emit, writable
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table, drawn

if TYPE_CHECKING:
    from rich.console import Console

    from exaone_nb.workbook.diff import RunDiff


def diff(
    before: Annotated[str, Argument(help="A run: its name under runs/, or its folder.")],
    after: Annotated[str, Argument(help="The run to compare with it.")],
    html: Annotated[Path | None, Option(help="Also write the comparison as one HTML file.")] = None,
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
    for name, folder in zip((before, after), folders, strict=True):
        if not folder.exists():
            expected = say("a name under runs/, or a folder that `exaone-nb run --out NAME` made.")
            raise UsageError(say("There is no run {name}.", name=name), expected=expected)
    found = compare_runs(*folders)
    if html is not None:
        with writable("--html", html):
            write_text(html, found.html())
    emit(as_json, found.as_dict(), lambda console: _print(console, found))


def _print(console: Console, found: RunDiff) -> None:
    n = len(found.changes)
    text = say("{f.before} -> {f.after}: {n} differences, {f.equal_results} results equal", f=found, n=n)
    console.print(text, markup=False)
    if found.changes:
        heads = [
            Column("section"),
            Column("name", say("what"), code=True),
            Column("before", found.before, missing=say("absent")),
            Column("after", found.after, missing=say("absent")),
            Column("note"),
        ]
        console.print(drawn(Table(heads, [vars(change) for change in found.changes])))
