"""Verbs of the workbook wing, one module each."""

from __future__ import annotations

import typer

from exaone_nb.cli import workbook_diff, workbook_run, workbook_sweep


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
    workbook_run.register(app)
    workbook_diff.register(app)
    workbook_sweep.register(app)
