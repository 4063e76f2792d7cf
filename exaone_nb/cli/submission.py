"""The verbs pack and check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.score.submission.check import Report
    from exaone_nb.score.submission.pack import Packed

STYLES = {"fail": "bold red", "warn": "yellow", "note": "cyan", "ok": "green"}


def pack(
    folder: Annotated[Path, Argument(metavar="DIR", help="Model folder.")],
    out: Annotated[Path, Option(help="The zip to write.")] = Path("submit.zip"),
    licence: Annotated[Path | None, Option(help="Licence text of the base model, packed as LICENSE.")] = None,
    adapt: Annotated[bool, Option(help="Add settings as transformers 4.57.3 names them.")] = True,
    force: Annotated[bool, Option(help="Pack although a check fails.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make submit.zip for the hackathon: model/ and nothing else, the same bytes every time."""
    from exaone_nb.score.submission.pack import pack as make

    packed = make(folder, out, licence=licence, adapt=adapt, force=force)
    document = vars(packed) | {
        "path": str(packed.path),
        "warnings": [{"check": w.code, "message": w.text, "remedy": w.remedy} for w in packed.warnings],
    }
    emit(as_json, document, lambda console: _show_packed(console, packed))


def check(
    submission: Annotated[Path, Argument(metavar="ZIP", help="submit.zip, or a model folder.")],
    load: Annotated[bool, Option(help="Load it with transformers, offline, in a process of its own.")] = True,
    boot: Annotated[bool, Option(help="Start it in vLLM with the server's arguments.")] = False,
    trust_remote_code: Annotated[bool, Option(help="Run code that the submission brings along.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what is wrong with a submission, each with its remedy. Exit code 1 when something fails."""
    from exaone_nb.score.submission.check import check as examine

    report = examine(submission, load=load, boot=boot, trust_remote_code=trust_remote_code)
    emit(as_json, report.document(), lambda console: _show_report(console, report))
    if not report.passed:
        raise typer.Exit(1)


def _show_packed(console: Console, packed: Packed) -> None:
    lines = [f"{packed.path}: {packed.bytes:,} bytes, {len(packed.files)} files", f"sha256 {packed.sha256}"]
    lines += [f"changed   {line}" for line in packed.changed]
    lines += [f"left out  {name}" for name in packed.left_out]
    console.print(Text("\n".join(lines)))
    for finding in packed.warnings:
        console.print(Text(f"warn      {finding.text} {finding.remedy}".rstrip(), style=STYLES["warn"]))


def _show_report(console: Console, report: Report) -> None:
    rows = report.document()["findings"]
    for row in rows:
        line = Text(f"[{row['level'].upper()}]".ljust(7), style=STYLES[row["level"]])
        console.print(line + Text(f"{row['check']}: {row['message']}"))
        if row["remedy"]:
            console.print(Text(f"       {row['remedy']}", style="dim"))
    failures = sum(row["level"] == "fail" for row in rows)
    end = say("{n} failed", n=failures) if failures else say("nothing failed")
    console.print(Text(f"{report.submission}: {end}"))
