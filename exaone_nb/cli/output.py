"""One JSON document on stdout, or a human view; never both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def emit(as_json: bool, document: Any, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON, or let `human` draw on a rich console."""
    if as_json:
        json.dump(document, sys.stdout, ensure_ascii=False, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    else:
        human(Console())
