"""The verb `doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.console import Console

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table
from exaone_nb.show.terminal import drawn

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""

    @app.command()
    def doctor(as_json: JsonFlag = False) -> None:
        """What this machine can do: requirements, engines, schemes that can be made and served here."""
        from exaone_nb.workbook.doctor import diagnose

        found = diagnose()

        def human(console: Console) -> None:
            for check in found.checks:
                colour = COLOURS[check.verdict]
                console.print(
                    f"[{colour}]\\[{check.verdict}][/{colour}] {check.name}: {check.found}", highlight=False
                )
                if check.remedy:
                    console.print(f"       {check.remedy}", highlight=False)
            title = say("Quantization schemes on this {device}", device=found.device)
            columns = [
                Column("scheme", code=True), Column("make"), Column("serve"), Column("serve_why", say("why"))
            ]  # fmt: skip
            console.print(drawn(Table(columns, [asdict(row) for row in found.schemes], title)))

        emit(as_json, found.as_dict(), human)
        if not found.healthy:
            raise typer.Exit(1)
