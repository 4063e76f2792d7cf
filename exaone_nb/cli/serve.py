"""Verbs of the serve wing."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
