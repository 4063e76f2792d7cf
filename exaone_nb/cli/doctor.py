"""The verb `doctor`."""

import typer
from rich.console import Console
from rich.text import Text

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.show.table import drawn

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def doctor(as_json: JsonFlag = False) -> None:
    """What this machine can do: requirements, engines, schemes that can be made and served here."""
    from exaone_nb.workbook.doctor import diagnose

    found = diagnose()

    def human(console: Console) -> None:
        for check in found.checks:
            mark = Text(f"[{check.verdict}]", style=COLOURS[check.verdict])
            console.print(mark, Text(f"{check.name}: {check.found}"))
            if check.remedy:
                console.print(Text(f"       {check.remedy}"))
        console.print(drawn(found.scheme_table()))

    emit(as_json, found.as_dict(), human)
    if not found.healthy:
        raise typer.Exit(1)
