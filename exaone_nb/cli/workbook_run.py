"""The verb `run`: executes chapters and renders the report."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer import Argument, Option
from typer.core import TyperCommand

from exaone_nb.cli.output import JsonFlag, console, emit, tell
from exaone_nb.errors import Terminated, UsageError
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.workbook.chapters import Chapter
    from exaone_nb.workbook.runner import Event, RunReport

_STATES = {
    "ok": say("done"),
    "cached": say("kept"),
    "failed": say("FAILED"),
    "skipped": say("skipped"),
    "interrupted": say("stopped"),
}
_COLOURS = {"ok": "green", "cached": "green", "failed": "red"}


class PairsOfWords(TyperCommand):
    """Accepts papermill's `-p NAME VALUE` beside `-p NAME=VALUE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        joined, rest = [], iter(args)
        for word in rest:
            joined.append(word)
            if word == "--":
                joined += rest
            elif word in ("-p", "--parameter") and (name := next(rest, None)) is not None:
                if "=" not in name and (value := next(rest, None)) is None:
                    got = say("-p {pair} names no value.", pair=name)
                    raise UsageError(got, expected="-p NAME VALUE or -p NAME=VALUE.")
                joined.append(name if "=" in name else f"{name}={value}")
        return super().parse_args(ctx, joined)


def run(
    chapters: Annotated[list[str] | None, Argument(help="07, 07_quantization, 00-04. Default: all.")] = None,
    out: Annotated[str, Option("--out", "-o", help="Under runs/, or a path. Default: model's name.")] = "",
    parameter: Annotated[
        list[str] | None,
        Option("--parameter", "-p", metavar="NAME VALUE", help="Set a parameter; 05.NAME for one chapter."),
    ] = None,
    parameters_file: Annotated[
        Path | None,
        Option("--parameters-file", "-f", help='YAML with NAME: value, and "05": {NAME: value}.'),
    ] = None,
    jobs: Annotated[int, Option("--jobs", "-j", help="Light chapters at once; 0: cores, at most 4.")] = 0,
    force: Annotated[bool, Option("--force", help="Run chapters even when nothing changed.")] = False,
    timeout: Annotated[float | None, Option(help="Seconds per chapter; default: each one's own.")] = None,
    memory: Annotated[float | None, Option(help="GB for all chapters. Default: 80 % of the free.")] = None,
    single: Annotated[bool, Option("--single", help="Also write report.html, all in one file.")] = False,
    pdf: Annotated[bool, Option("--pdf", help="Also write report.pdf, by an installed Chromium.")] = False,
    notebooks: Annotated[Path | None, Option(help="Another folder of notebooks.")] = None,
    estimate: Annotated[
        str,
        Option(metavar="WHERE", help="Print what each chapter would cost (here, or a card: L4) and stop."),
    ] = "",
    help_notebook: Annotated[bool, Option("--help-notebook", help="Print the parameters and stop.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Execute notebooks into runs/NAME and render the report; unchanged chapters are kept."""
    from exaone_nb.language import chapters_folder
    from exaone_nb.workbook.chapters import discover, select

    folder = notebooks or chapters_folder()
    if not folder.is_dir():
        got = say("There is no folder {folder}.", folder=str(folder))
        raise UsageError(got, remedy="Name the folder with the notebooks.")
    if help_notebook:
        chosen = select(discover(folder), chapters or [])
        emit(as_json, _schema(chosen), lambda console: _print_schema(console, chosen))
        return
    from exaone_nb.workbook import runner
    from exaone_nb.workbook.values import read_given

    given = read_given(parameter or [], parameters_file)
    if estimate:
        from exaone_nb.show.table import drawn
        from exaone_nb.workbook.cost_words import table

        card = "" if estimate == "here" else estimate
        costs = table(runner.predict(chapters or [], given, out, folder=folder, card=card))
        emit(as_json, costs.records(), lambda console: console.print(drawn(costs)))
        return
    progress = Progress(as_json)
    try:
        report = runner.run(
            chapters or [],
            given,
            out,
            jobs,
            force,
            folder=folder,
            timeout_s=timeout,
            memory_gb=memory,
            single=single,
            pdf=pdf,
            progress=progress.show,
        )
    except KeyboardInterrupt as stop:
        progress.close()
        tell(say("Stopped. What finished is kept; the same command continues."))
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    finally:
        progress.close()
    emit(as_json, report.as_dict(), lambda console: _print_summary(console, report))
    raise typer.Exit(report.exit_code)


class Progress:
    """One line that moves on a terminal. In a log each chapter's start and end, and every `every` seconds where it is."""

    def __init__(self, silent: bool, every: float = 30) -> None:
        self._console = console(stderr=True)
        self._console.quiet = silent
        self._running: dict[str, tuple[float, int, int]] = {}  # name -> (began, cell, cells)
        self._status = None
        self._ended, self._lock = threading.Event(), threading.Lock()
        if self._console.is_terminal and not silent:
            self._status = self._console.status(say("starting"))
            self._status.start()
        ticker = threading.Thread(target=self._tick, args=[1 if self._status else every], daemon=True)
        ticker.start()

    def show(self, event: Event) -> None:
        name = event.chapter.slug
        with self._lock:
            began = self._running.get(name, (time.monotonic(), 0, 0))[0]
            if event.kind == "start":
                self._running[name] = (began, 0, 0)
                if self._status is None:
                    from exaone_nb.workbook.store import NOT_YET

                    if event.text in ("", NOT_YET):  # the first time needs no reason
                        running = say("{name}: running", name=name)
                    else:
                        running = say("{name}: running ({why})", name=name, why=event.text)
                    self._console.print(running, highlight=False, markup=False)
                for line in event.notes:
                    self._console.print(f"{name}: {escape(line)}", highlight=False, soft_wrap=True)
            elif event.kind == "fetch":
                text = say("fetching the weights of {name} before the first chapter", name=event.text)
                self._console.print(text, highlight=False, markup=False)
            elif event.kind == "unfetched":
                text = say("the weights are not here, so some chapters will fail. {why}", why=event.text)
                self._console.print(text, highlight=False, markup=False)
            elif event.kind == "cell":
                self._running[name] = (began, event.done, event.total)
            else:
                ran = self._running.pop(name, None) is not None
                seconds = say(", {s:.0f} s", s=time.monotonic() - began) if ran else ""
                text = f": {escape(event.text)}" if event.text else ""
                mark = f"[{_COLOURS.get(event.kind, 'yellow')}]{_STATES[event.kind]}[/]"
                self._console.print(f"{name}: {mark}{seconds}{text}", highlight=False)
            self._move()

    def _tick(self, every: float) -> None:
        """A cell may take minutes and says nothing itself, so the clock says where the chapters are."""
        while not self._ended.wait(every):
            with self._lock:
                for line in [] if self._status else self._places():
                    self._console.print(line, highlight=False)
                self._move()

    def _places(self) -> list[str]:
        now = time.monotonic()
        return [
            say("{name}: cell {at} of {cells}, {seconds:.0f} s", name=name, at=at, cells=cells, seconds=now - began)
            if cells
            else say("{name}: starting, {seconds:.0f} s", name=name, seconds=now - began)
            for name, (began, at, cells) in self._running.items()
        ]  # fmt: skip

    def _move(self) -> None:
        if self._status is not None:
            self._status.update("  ".join(self._places()) or "…")

    def close(self) -> None:
        self._ended.set()
        if self._status is not None:
            self._status.stop()


def _schema(chapters: list[Chapter]) -> list[dict[str, Any]]:
    return [
        {name: getattr(c, name) for name in ("title", "minutes", "memory_gb", "heavy")}
        | {
            "chapter": c.number,
            "notebook": c.path.name,
            "after": list(c.after),
            "parameters": [asdict(parameter) for parameter in c.parameters],
        }
        for c in chapters
    ]


def _print_schema(console: Console, chapters: list[Chapter]) -> None:
    from exaone_nb.show.table import Column, Table, drawn
    from exaone_nb.workbook.parameters import RUN_DIR

    columns = [
        Column("name", say("parameter"), code=True),
        Column("type", say("type"), code=True),
        Column("default", say("default"), code=True),
        Column("help", say("meaning")),
    ]
    for chapter in chapters:
        rows = [
            vars(p) | {"default": repr(p.default), "help": f"{p.help} ({p.values})" if p.values else p.help}
            for p in chapter.parameters
            if p.name != RUN_DIR  # set by --out
        ]
        caption = say("{c.slug}: {question}", c=chapter, question=chapter.question or chapter.title)
        console.print(drawn(Table(columns, rows, caption)))


def _print_summary(console: Console, report: RunReport) -> None:
    from exaone_nb.show.table import Column, Table, drawn
    from exaone_nb.workbook.report.look import duration

    columns = [
        Column("chapter", say("chapter")),
        Column("status", say("status")),
        Column("predicted", say("predicted (s)"), ",.0f"),
        Column("seconds", say("seconds"), ",.1f"),
        Column("predicted_bytes", say("predicted (GB)"), ",.2f", scale=1e-9),
        Column("peak_bytes", say("peak memory (GB)"), ",.2f", scale=1e-9),
    ]
    rows = [
        {
            "chapter": f"{made.number} {made.title}",
            "status": _STATES[made.state],
            "seconds": made.seconds or None,
            "peak_bytes": made.peak_bytes or None,
            "predicted": made.predicted and made.predicted.seconds,
            "predicted_bytes": made.predicted and made.predicted.bytes,
        }
        for made in report.outcomes
    ]
    console.print(drawn(Table(columns, rows)))
    for made in report.outcomes:
        if failure := made.failure:
            where = say(", code cell {number}", number=failure.cell) if failure.cell else ""
            # A refusal of our own is its own reason: it need not be said twice.
            error = "" if failure.kind == "refused" else say(": {error}", error=failure.error[:600])
            failed = say("{number} failed", number=made.number)
            console.print(f"[red]{failed}[/] ({failure.kind}{where}){escape(error)}")
            reasons = say("  Why: {why}\n  What to do: {remedy}", why=failure.why, remedy=failure.remedy)
            console.print(reasons, markup=False)
        elif made.state == "skipped":
            skipped = say("{number} skipped", number=made.number)
            console.print(f"[yellow]{skipped}[/]: {escape(made.why)}")
    pages = " ".join(map(str, report.pages))
    seconds = duration(report.record.seconds)
    ended = say("{seconds} in all. Report: {pages}", seconds=seconds, pages=pages)
    console.print(ended, soft_wrap=True, highlight=False, markup=False)
