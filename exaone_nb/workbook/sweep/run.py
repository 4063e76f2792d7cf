"""A sweep from beginning to end: what still holds is kept, the rest is run, the leaderboard grows with each result."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json
from exaone_nb.messages import say
from exaone_nb.workbook.chapters import discover, in_order, select
from exaone_nb.workbook.store import NOT_YET, exclusive
from exaone_nb.workbook.sweep import engines, leaderboard
from exaone_nb.workbook.sweep.engines import TaskResult, why_to_run
from exaone_nb.workbook.sweep.grid import Grid


@dataclass(frozen=True)
class SweepReport:
    """`results` in the order of the grid; `page` is the leaderboard."""

    folder: Path
    results: tuple[TaskResult, ...]
    page: Path

    @property
    def exit_code(self) -> int:
        return 0 if all(r.status in ("ok", "kept") for r in self.results) else 1

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
    file, another = grid.folder / "sweep.json", say("Give this grid another name, or another --out.")
    document = {"name": grid.name, "chapters": list(grid.chapters), "threads": grid.threads}
    if file.exists():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            same = before["chapters"] == document["chapters"]
            same = same and all(runs.get(run["name"]) == run["parameters"] for run in before["runs"])
            threads = before["threads"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{file} is damaged.",
                expected="the grid that was swept into this folder.",
                remedy="Delete this one file; the runs beside it are kept, and what still holds is not run again.",
            ) from error
        if not same:
            raise WorkbookError(
                f"{grid.folder.name} holds another sweep.",
                expected="the same chapters, and at least the runs it already has.",
                remedy=another,
            )
        if threads != grid.threads:
            raise WorkbookError(
                f"The runs in {grid.folder.name} have {threads} threads each, and this grid asks for {grid.threads}.",
                expected="the same cpus_per_run: the last bits of a checkpoint depend on it.",
                remedy=another,
            )
    write_json(
        file, document | {"runs": [{"name": name, "parameters": given} for name, given in runs.items()]}
    )


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
        wanted, remedy = "how many runs at once, 1 or more.", "Leave --jobs out for one."
        raise UsageError(f"jobs is {jobs}.", expected=wanted, remedy=remedy)
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
        page = leaderboard.write(grid, results, reasons)
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
                    page = leaderboard.write(grid, results, reasons)
                    progress(results[result.name], len(results), len(grid.runs))
    return SweepReport(grid.folder, tuple(results[run.name] for run in grid.runs), page)
