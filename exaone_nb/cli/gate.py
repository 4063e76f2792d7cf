"""The verb gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.cli.score import Run
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.show.table import drawn

if TYPE_CHECKING:
    from exaone_nb.score.gate import Gate

STYLES = {"GO": "bold green", "NO-GO": "bold red", "UNDECIDED": "yellow"}


def gate(
    policy: Annotated[str, Argument(metavar="POLICY", help="YAML file, or a name in data/gates/.")],
    candidates: Annotated[
        list[str] | None, Argument(metavar="CANDIDATE...", help="Recipes; default: all.")
    ] = None,
    out: Run = "",
    as_json: JsonFlag = False,
) -> None:
    """GO, NO-GO or UNDECIDED by a policy of tasks, bytes and seconds. Exit code 0 only when every candidate is GO."""
    from exaone_nb.score.gate import answer_of
    from exaone_nb.score.gate import gate as hold
    from exaone_nb.score.policy import read_policy

    read = read_policy(policy)
    found = hold(RunFolder.at(out), read, candidates or ())
    document = {
        "policy": read.name,
        "purpose": read.purpose,
        "base": read.base,
        "alpha": read.alpha,
        "answer": answer_of(found),
        "candidates": [one.as_json() for one in found],
    }
    emit(as_json, document, lambda console: _show(console, found))
    if document["answer"] != "GO":
        raise typer.Exit(1)


def _show(console: Console, gates: list[Gate]) -> None:
    from exaone_nb.score.gate import gate_table

    console.print(drawn(gate_table(gates)))
    for one in gates:
        line = say("{one.candidate}: {one.answer}", one=one)
        console.print(Text(line, style=STYLES[one.answer]))
