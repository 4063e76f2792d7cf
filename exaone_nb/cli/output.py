"""One JSON document on stdout, or a human view; never both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


# In a pipe or a log there is no screen to fit: rich's 80 columns would cut names and break lines that one searches.
LOG_COLUMNS = 140


def console(stderr: bool = False) -> Console:
    """A rich console as wide as the terminal, or LOG_COLUMNS where there is none (COLUMNS in the environment wins)."""
    from rich.console import Console  # a tenth of a second that --json need not wait for

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else LOG_COLUMNS
    return Console(stderr=stderr, width=width)


def emit(as_json: bool, document: Any, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON, or let `human` draw on a rich console."""
    if as_json:
        json.dump(document, sys.stdout, ensure_ascii=False, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    else:
        human(console())
