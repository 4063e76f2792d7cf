"""The verb `sweep`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exaone_nb.cli.output import JsonFlag, console, emit, tell
from exaone_nb.errors import Terminated, UsageError

if TYPE_CHECKING:
    from exaone_nb.workbook.sweep.grid import Grid
    from exaone_nb.workbook.sweep.run import SweepReport
    from exaone_nb.workbook.sweep.task import TaskResult


class Engine(StrEnum):
    """Where the runs are executed."""

    local = "local"
    ray = "ray"


def register(app: typer.Typer) -> None:
    """Add the verb `sweep`."""
    app.command("sweep")(sweep)


def sweep(
    grid_file: Annotated[Path, typer.Argument(metavar="GRID.yaml", help="What is varied and what is fixed.")],
    on: Annotated[Engine, typer.Option("--on", help="Processes here, or a Ray cluster.")] = Engine.local,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Runs at once on this machine. Default: 1.")
    ] = None,
    address: Annotated[
        str, typer.Option("--address", help="Ray cluster, HOST:PORT. Default: the one of this machine.")
    ] = "",
    store: Annotated[
        str, typer.Option("--store", help="With Ray: fsspec address for results, where nodes share no disk.")
    ] = "",
    out: Annotated[
        str, typer.Option("--out", "-o", help="Name under runs/, or a path. Default: the grid's name.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and the estimate, and stop.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Run every run again, also where nothing changed.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run chapters for every point of a grid, one run folder each, and one leaderboard."""
    from exaone_nb.workbook.sweep.grid import read

    _require_fitting(on, jobs, address, store)
    grid = read(grid_file, out)
    from exaone_nb.workbook.sweep.run import survey
    from exaone_nb.workbook.sweep.run import sweep as run_sweep

    reasons = survey(grid)
    if force:
        reasons = {name: why or "--force" for name, why in reasons.items()}
    if dry_run:
        emit(as_json, _plan(grid, reasons), lambda console: _print_plan(console, grid, reasons))
        return
    errors = console(stderr=True)
    if not as_json:
        _print_plan(errors, grid, reasons)

    def show(result: TaskResult, done: int, total: int) -> None:
        if not as_json:
            time = "" if result.status == "kept" else f", {result.seconds:.0f} s"
            why = f": {result.why}" if result.why else ""
            errors.print(f"[{done}/{total}] {result.name}: {result.status}{time}{why}", markup=False)

    try:
        with _heard_sigterm():
            report = run_sweep(
                grid,
                on.value,
                jobs=jobs or 1,
                address=address or "auto",
                store=store,
                force=force,
                progress=show,
            )
    except KeyboardInterrupt as stop:
        tell("Stopped. Finished runs are kept; the same command continues.")
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    emit(as_json, report.as_dict(), lambda console: _print_summary(console, report))
    raise typer.Exit(report.exit_code)


def _require_fitting(on: Engine, jobs: int | None, address: str, store: str) -> None:
    """Raise UsageError for options that this engine would not hear."""
    if jobs is not None and jobs < 1:
        raise UsageError(
            f"--jobs {jobs}", expected="how many runs at once, 1 or more.", remedy="Leave it out for one."
        )
    unheard = {"--jobs": jobs is not None} if on is Engine.ray else {"--address": address, "--store": store}
    if option := next((name for name, given in unheard.items() if given), ""):
        raise UsageError(
            f"{option} says nothing with --on {on.value}.",
            expected="--jobs with --on local; --address and --store with --on ray.",
            remedy=f"Leave {option} out"
            + ("; cpus_per_run in the grid decides." if on is Engine.ray else ", or add --on ray."),
        )


@contextlib.contextmanager
def _heard_sigterm() -> Iterator[None]:
    """SIGTERM ends the runs in order, as Ctrl-C does; by itself it would leave them to be killed."""

    def stop(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plan(grid: Grid, reasons: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": grid.name,
        "folder": str(grid.folder),
        "chapters": list(grid.chapters),
        "runs": [
            {
                "name": run.name,
                "parameters": run.parameters,
                "kept": not reasons[run.name],
                "why": reasons[run.name],
            }
            for run in grid.runs
        ],
        "estimated_minutes": round(grid.minutes * sum(map(bool, reasons.values())), 1),
    }


def _print_plan(console: Console, grid: Grid, reasons: Mapping[str, str]) -> None:
    from exaone_nb.workbook.sweep.task import NOT_YET

    # Not as the table's title: that would be broken to the width of the table.
    chapters = "chapter" if len(grid.chapters) == 1 else "chapters"
    console.print(
        f"Sweep {grid.name}: {chapters} {', '.join(grid.chapters)}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    table = Table(box=None)
    told = any(why != NOT_YET for why in reasons.values())
    for name in ("run", *grid.axes, *(["state"] if told else [])):
        table.add_column(name, overflow="fold")
    for run in grid.runs:
        why = reasons[run.name]
        state = [("kept" if not why else why if why == NOT_YET else f"again: {why}")] if told else []
        cells = (", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in run.varied.values())
        table.add_row(*map(escape, (run.name, *cells, *state)))
    console.print(table)
    console.print(_estimate(grid, reasons), markup=False, highlight=False)


def _estimate(grid: Grid, reasons: Mapping[str, str]) -> str:
    todo = sum(map(bool, reasons.values()))
    kept = len(reasons) - todo
    count = _counted(len(reasons), "run")
    if not todo:
        return f"{count}, finished before; nothing is left to do."
    minutes = grid.minutes * todo
    long = "less than a minute" if minutes < 0.75 else f"about {_counted(round(minutes) or 1, 'minute')}"
    rest = f"{count}, {kept} of them kept; the other {todo}" if kept else count
    return (
        f"{rest}, {long}{' one after the other' if todo > 1 else ''} (the chapters' recorded minutes with default "
        f"parameters on nano; other models take longer). Threads per run (cpus_per_run): {grid.threads}."
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_summary(console: Console, report: SweepReport) -> None:
    counts: dict[str, int] = {}
    for result in report.results:
        counts[result.status] = counts.get(result.status, 0) + 1
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    console.print(f"Leaderboard: {report.page}", soft_wrap=True, markup=False)
