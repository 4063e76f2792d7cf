"""The verb `doctor`."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from exaone_nb.cli.output import JsonFlag, emit

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
            table = Table(
                title=f"Quantization schemes on this {found.device}", box=None, title_justify="left"
            )
            for column in ("scheme", "make", "serve", "why"):
                table.add_column(column)
            for row in found.schemes:
                table.add_row(
                    row.scheme, "yes" if row.make else "no", "yes" if row.serve else "no", row.serve_why
                )
            console.print(table)

        emit(as_json, found.as_dict(), human)
        if not found.healthy:
            raise typer.Exit(1)
