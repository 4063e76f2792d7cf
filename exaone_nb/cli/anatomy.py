"""Verbs of the anatomy wing."""

from __future__ import annotations

import typer

from exaone_nb.cli import anatomy_memory


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
    anatomy_memory.register(app)
