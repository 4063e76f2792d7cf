"""One JSON document on stdout, or a human view; never both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def emit(as_json: bool, document: Any, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON, or let `human` draw on a rich console."""
    if as_json:
        json.dump(document, sys.stdout, ensure_ascii=False, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    else:
        from rich.console import Console  # a tenth of a second that --json need not wait for

        human(Console())
