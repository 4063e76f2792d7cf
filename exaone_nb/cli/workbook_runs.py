"""Verbs over several runs: `sweep` makes them, `diff` compares two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from exaone_nb.cli.output import JsonFlag, console, emit, tell, writable
from exaone_nb.errors import Terminated, UsageError
from exaone_nb.library_types import Console
from exaone_nb.messages import as_written, say
from exaone_nb.show.table import Column, Table, drawn

if TYPE_CHECKING:
    from exaone_nb.workbook.diff import RunDiff
    from exaone_nb.workbook.sweep.engines import TaskResult
    from exaone_nb.workbook.sweep.grid import Grid
    from exaone_nb.workbook.sweep.run import SweepReport


RunsOn = Literal["local", "ray"]


def sweep(
    grid_file: Annotated[Path, Argument(metavar="GRID.yaml", help="What is varied and what is fixed.")],
    on: Annotated[RunsOn, Option("--on", help="Processes here, or a Ray cluster.")] = "local",
    jobs: Annotated[int | None, Option("--jobs", "-j", help="Runs at once here. Default: 1.")] = None,
    address: Annotated[str, Option(help="Ray cluster, HOST:PORT. Default: this machine's.")] = "",
    store: Annotated[str, Option(help="With Ray, no shared disk: fsspec address for results.")] = "",
    out: Annotated[str, Option("--out", "-o", help="Under runs/, or a path. Default: the grid's name.")] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Show the runs and the estimate, and stop.")] = False,
    force: Annotated[bool, Option("--force", help="Run all again, also what did not change.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run chapters for every point of a grid, one run folder each, and one leaderboard."""
    from exaone_nb.workbook.runner import sigterm_is_an_interrupt
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
        with sigterm_is_an_interrupt():
            report = run_sweep(
                grid,
                on,
                jobs=jobs or 1,
                address=address or "auto",
                store=store,
                force=force,
                progress=show,
            )
    except KeyboardInterrupt as stop:
        tell(say("Stopped. Finished runs are kept; the same command continues."))
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    emit(as_json, report.as_dict(), lambda console: _print_summary(console, report))
    raise typer.Exit(report.exit_code)


def _require_fitting(on: RunsOn, jobs: int | None, address: str, store: str) -> None:
    """Raise UsageError for an option that the chosen engine ignores, and for a number of jobs below 1."""
    if jobs is not None and jobs < 1:
        got = say("--jobs {jobs}", jobs=jobs)
        raise UsageError(got, expected="1 or more runs at once.", remedy="Leave it out for one.")
    ignored = {"--jobs": jobs is not None} if on == "ray" else {"--address": address, "--store": store}
    if option := next((name for name, given in ignored.items() if given), ""):
        raise UsageError(
            say("{option} has no effect with --on {on}.", option=option, on=on),
            expected="--jobs with --on local; --address and --store with --on ray.",
            remedy=say(
                "Leave {option} out, or change --on. On Ray cpus_per_run in the grid decides.",
                option=option,
            ),
        )


def _plan(grid: Grid, reasons: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": grid.name,
        "folder": str(grid.folder),
        "chapters": list(grid.chapters),
        "runs": [
            {"name": run.name, "parameters": run.parameters, "kept": not why, "why": why}
            for run in grid.runs
            for why in (reasons[run.name],)
        ],
        "estimated_minutes": round(grid.minutes * sum(map(bool, reasons.values())), 1),
    }


def _print_plan(console: Console, grid: Grid, reasons: Mapping[str, str]) -> None:
    from exaone_nb.workbook.store import NOT_YET

    def state(why: str) -> str:
        if why in ("", NOT_YET):
            return why or say("kept")
        return say("again: {why}", why=why)

    # Not as the table's title: that would be broken to the width of the table.
    numbers = ", ".join(grid.chapters)
    title = say("Sweep {name}, chapters: {numbers}", name=grid.name, numbers=numbers)
    console.print(title, soft_wrap=True, markup=False, highlight=False)
    columns = [Column("run", say("run")), *map(Column, grid.axes)]
    if any(why != NOT_YET for why in reasons.values()):
        columns.append(Column("state", say("state")))
    rows = [{"run": run.name, **run.varied, "state": state(reasons[run.name])} for run in grid.runs]
    console.print(drawn(Table(columns, rows)))
    console.print(_estimate(grid, reasons), markup=False, highlight=False)


def _estimate(grid: Grid, reasons: Mapping[str, str]) -> str:
    """How many runs there are, and how long those take that are not kept."""
    todo = sum(map(bool, reasons.values()))
    runs = len(reasons)
    counts = say("Runs: {runs}, kept: {kept}, to do: {todo}", runs=runs, kept=runs - todo, todo=todo)
    if not todo:
        return counts
    return say(
        "{counts}, in about {minutes:,.1f} minutes one after the other (the chapters' recorded minutes with default "
        "parameters on nano; other models take longer). Threads per run (cpus_per_run): {threads}.",
        counts=counts,
        minutes=grid.minutes * todo,
        threads=grid.threads,
    )


def _print_summary(console: Console, report: SweepReport) -> None:
    counts = Counter(result.status for result in report.results)
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    console.print(say("Leaderboard: {page}", page=report.page), soft_wrap=True, markup=False)


def diff(
    before: Annotated[str, Argument(help="A run: its name under runs/, or its folder.")],
    after: Annotated[str, Argument(help="The run to compare with it.")],
    html: Annotated[Path | None, Option(help="Also write the comparison as one HTML file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What changed between two runs: parameters, versions, machine, chapters, results."""
    from exaone_nb.files import write_text
    from exaone_nb.results import RunFolder
    from exaone_nb.workbook.diff import compare_runs

    folders = [RunFolder.at(name).path for name in (before, after)]
    for name, folder in zip((before, after), folders, strict=True):
        if not folder.exists():
            expected = say("a name under runs/, or a folder that `exaone-nb run --out NAME` made.")
            raise UsageError(say("There is no run {name}.", name=name), expected=expected)
    found = compare_runs(*folders)
    if html is not None:
        with writable("--html", html):
            write_text(html, found.html())
    emit(as_json, found.as_dict(), lambda console: _print_diff(console, found))


def _print_diff(console: Console, found: RunDiff) -> None:
    n = len(found.changes)
    text = say("{f.before} -> {f.after}: {n} differences, {f.equal_results} results equal", f=found, n=n)
    console.print(text, markup=False)
    if found.changes:
        heads = [
            Column("section"),
            Column("name", say("what"), code=True),
            Column("before", as_written(found.before)),
            Column("after", as_written(found.after)),
            Column("note"),
        ]
        console.print(drawn(Table(heads, [change.told for change in found.changes])))
