"""The verb `sweep`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from exaone_nb.cli.output import JsonFlag, console, emit

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
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Runs at once on this machine.")] = 1,
    address: Annotated[str, typer.Option("--address", help="Ray cluster, HOST:PORT.")] = "auto",
    store: Annotated[
        str, typer.Option("--store", help="fsspec address for results, where nodes share no disk.")
    ] = "",
    out: Annotated[str, typer.Option("--out", "-o", help="Folder. Default: runs/NAME.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and the estimate, and stop.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Ask every run again; unchanged chapters are still kept.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run chapters for every point of a grid, one run folder each, and one leaderboard."""
    from exaone_nb.workbook.sweep.grid import read

    grid = read(grid_file, out)
    if dry_run:
        emit(as_json, _plan(grid), lambda console: _print_plan(console, grid))
        return
    from exaone_nb.workbook.sweep.run import sweep as run_sweep

    errors = console(stderr=True)
    if not as_json:
        _print_plan(errors, grid)

    def show(result: TaskResult, done: int, total: int) -> None:
        if not as_json:
            why = f": {result.why}" if result.why else ""
            errors.print(
                f"[{done}/{total}] {result.name}: {result.status}, {result.seconds:.0f} s{why}", markup=False
            )

    report = run_sweep(grid, on.value, jobs=jobs, address=address, store=store, force=force, progress=show)
    emit(as_json, report.as_dict(), lambda console: _print_summary(console, report))
    raise typer.Exit(report.exit_code)


def _plan(grid: Grid) -> dict[str, object]:
    return {
        "name": grid.name,
        "chapters": list(grid.chapters),
        "runs": [{"name": run.name, "parameters": run.parameters} for run in grid.runs],
        "estimated_minutes": round(grid.minutes * len(grid.runs), 1),
    }


def _print_plan(console: Console, grid: Grid) -> None:
    table = Table(
        title=f"Sweep {grid.name}: chapters {', '.join(grid.chapters)}", title_justify="left", box=None
    )
    for name in ("run", *grid.axes):
        table.add_column(name)
    for run in grid.runs:
        table.add_row(run.name, *(str(value) for value in run.varied.values()))
    console.print(table)
    total = grid.minutes * len(grid.runs)
    console.print(
        f"{len(grid.runs)} runs, about {total:.0f} minutes one after the other (the chapters' recorded minutes with "
        f"default parameters on nano; other models take longer). Threads per run (cpus_per_run): {grid.threads}.",
        highlight=False,
    )


def _print_summary(console: Console, report: SweepReport) -> None:
    counts: dict[str, int] = {}
    for result in report.results:
        counts[result.status] = counts.get(result.status, 0) + 1
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    console.print(f"Leaderboard: {report.page}", soft_wrap=True, markup=False)
