"""A sweep from beginning to end: what still holds is kept, the rest is run, the leaderboard grows with each result.

The leaderboard is one table over all runs: HTML to read, CSV to go on with.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json, write_text
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.workbook.chapters import discover, in_order, select
from exaone_nb.workbook.report import look
from exaone_nb.workbook.scrub import Scrubber
from exaone_nb.workbook.store import NOT_YET, exclusive
from exaone_nb.workbook.sweep import engines
from exaone_nb.workbook.sweep.engines import TaskResult, why_to_run
from exaone_nb.workbook.sweep.grid import Grid

DONE = ("ok", "kept")


@dataclass(frozen=True)
class SweepReport:
    """`results` in the order of the grid; `page` is the leaderboard."""

    folder: Path
    results: tuple[TaskResult, ...]
    page: Path

    @property
    def exit_code(self) -> int:
        return 0 if all(r.status in DONE for r in self.results) else 1

    def as_dict(self) -> dict[str, Any]:
        runs = [asdict(result) for result in self.results]
        return {"folder": str(self.folder), "leaderboard": str(self.page), "runs": runs}


def survey(grid: Grid) -> dict[str, str]:
    """Name of a run -> why it must run (again), in words; empty where its results are kept."""
    chosen = in_order(select(discover(grid.notebooks), grid.chapters))
    return {run.name: why_to_run(grid.folder / run.name, chosen, run.parameters) for run in grid.runs}


def pin(grid: Grid) -> None:
    """Write the grid into its folder, or check that the folder belongs to the same grid.

    Raises WorkbookError when another grid was swept into this folder, or the same with other threads, and UsageError
    when the file that says so is damaged.
    """
    runs = {run.name: run.parameters for run in grid.runs}
    file = grid.folder / "sweep.json"
    document = {"name": grid.name, "chapters": list(grid.chapters), "threads": grid.threads}
    if file.exists():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            same = before["chapters"] == document["chapters"]
            same = same and all(runs.get(run["name"]) == run["parameters"] for run in before["runs"])
            threads = before["threads"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                say("{file} is damaged.", file=file),
                expected="the grid that was swept into this folder.",
                remedy="Delete this one file; the runs beside it are kept, and what still holds is not run again.",
            ) from error
        if not same or threads != grid.threads:
            raise WorkbookError(
                say(
                    "{folder} holds another sweep, with {n} threads for each run.",
                    folder=grid.folder.name,
                    n=threads,
                ),
                expected=say(
                    "the same chapters, at least the runs it already has, and a cpus_per_run for {n} threads: the last "
                    "bits of a checkpoint depend on it.",
                    n=threads,
                ),
                remedy=say("Give this grid another name, or another --out."),
            )
    listed = [{"name": name, "parameters": given} for name, given in runs.items()]
    write_json(file, document | {"runs": listed})


def sweep(
    grid: Grid,
    on: Literal["local", "ray"] = "local",
    *,
    jobs: int = 1,
    address: str = "auto",
    store: str = "",
    force: bool = False,
    progress: Callable[[TaskResult, int, int], None] = lambda result, done, total: None,
) -> SweepReport:
    """Run what is not finished yet, and what has changed since. A failed run does not stop the others.

    Call it again to repeat the failed ones; `force` repeats all. Raises UsageError or WorkbookError before anything
    runs (another sweep in this folder is one reason); KeyboardInterrupt after all processes have ended.
    """
    if jobs < 1:
        got = say("jobs is {jobs}.", jobs=jobs)
        raise UsageError(
            got, expected="how many runs at once, 1 or more.", remedy="Leave --jobs out for one."
        )
    busy = say("Another sweep is running in {folder}.", folder=grid.folder.name)
    with exclusive(grid.folder, busy):
        pin(grid)
        reasons = survey(grid)
        waiting = [run for run in grid.runs if force or reasons[run.name]]
        results: dict[str, TaskResult] = {}
        for run in grid.runs:
            if run not in waiting:
                results[run.name] = TaskResult(run.name, "kept")
                progress(results[run.name], len(results), len(grid.runs))
        page = write_leaderboard(grid, results, reasons)
        if waiting:
            work = (
                engines.on_ray(grid, waiting, address, store, force)
                if on == "ray"
                else engines.local(grid, waiting, jobs, force)
            )
            with contextlib.closing(work):  # an exception out here must end the processes, too
                for result in work:
                    reason = reasons[result.name]
                    if result.status == "ok" and reason not in ("", NOT_YET):
                        result = replace(result, why=say("done again: {reason}", reason=reason))
                    results[result.name] = result
                    page = write_leaderboard(grid, results, reasons)
                    progress(results[result.name], len(results), len(grid.runs))
    return SweepReport(grid.folder, tuple(results[run.name] for run in grid.runs), page)


def leaderboard_rows(
    grid: Grid, results: Mapping[str, TaskResult], reasons: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """One row per run and checkpoint: what was varied, the status, and every result of a run that ended well.

    `reasons` says why a run is (re)done. A run that waits or failed shows no values: its folder may hold those of an
    earlier version, which no row beside it has.
    """
    table = []
    for run in grid.runs:
        result = results.get(run.name)
        status = "waiting" if result is None else "ok" if result.status in DONE else result.status
        why = reasons.get(run.name, "") if result is None else result.why if status != "ok" else ""
        base = {"run": run.name, **run.varied, "status": status}
        measured: dict[str, dict[str, Any]] = {}
        if status == "ok":
            try:
                measured = _measured(RunFolder(grid.folder / run.name))
            except WorkbookError as error:  # one damaged file is not the end of the sweep
                why = str(error)
        if why and why != NOT_YET:
            base["why"] = why
        table += [{**base, "checkpoint": name, **cells} for name, cells in measured.items()] or [base]
    return table


def _measured(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Checkpoint -> column -> a number, or an Estimate where there is an interval; n has a column of its own."""
    found: dict[str, dict[str, Any]] = {}
    for result in folder.read_results():
        if result["kind"] == "machine":
            continue
        cells = found.setdefault(result["recipe"], {})
        column = " ".join(part for part in (result["kind"], result["label"]) if part)
        value, interval = result["value"], result["interval"]
        cells[f"{column} [{result['unit']}]"] = Estimate(value, *interval) if interval else value
        if result["n"]:
            cells[f"{column} n"] = result["n"]
    return found


def _table(rows: list[dict[str, Any]]) -> Table:
    """The rows with a column for every name, in the order of their first appearance; six digits of a fraction."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    columns = [Column(name, form=_form(found)) for name, found in values.items()]
    return Table(columns, rows, say("One row per run and checkpoint."))


def _form(values: list[Any]) -> str:
    if any(isinstance(value, str | list) for value in values):
        return ""
    return "," if all(isinstance(value, int) for value in values) else ".6g"


def write_leaderboard(
    grid: Grid, results: Mapping[str, TaskResult], reasons: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Write leaderboard.csv, leaderboard.json and index.html into the sweep's folder; return the page."""
    found = _table(Scrubber().document(leaderboard_rows(grid, results, reasons)))
    write_text(grid.folder / "leaderboard.csv", found.to_csv())
    write_json(grid.folder / "leaderboard.json", found.records())
    page = look.fill(
        "sweep.html",
        name=grid.name,
        table=found,
        reports={run.name for run in grid.runs if (grid.folder / run.name / "index.html").is_file()},
        done=sum(result.status in DONE for result in results.values()),
        total=len(grid.runs),
    )
    return write_text(grid.folder / "index.html", page)
