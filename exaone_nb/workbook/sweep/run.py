"""A sweep from beginning to end: what is finished is kept, the rest is run, the leaderboard grows with each result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exaone_nb.workbook.sweep import engines, leaderboard
from exaone_nb.workbook.sweep.grid import Grid, pin
from exaone_nb.workbook.sweep.task import TaskResult, finished


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
        return {
            "folder": str(self.folder),
            "leaderboard": str(self.page),
            "runs": [result.as_dict() for result in self.results],
        }


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
    """Run what is not finished yet. A failed run does not stop the others; call again to repeat only those.

    Raises UsageError or WorkbookError before anything runs; KeyboardInterrupt after all processes have ended.
    """
    grid.folder.mkdir(parents=True, exist_ok=True)
    pin(grid)
    results: dict[str, TaskResult] = {}
    waiting = []
    for run in grid.runs:
        if finished(grid.folder / run.name) and not force:
            results[run.name] = TaskResult(run.name, "kept")
            progress(results[run.name], len(results), len(grid.runs))
        else:
            waiting.append(run)
    page = leaderboard.write(grid, results)
    if waiting:
        work = (
            engines.on_ray(grid, waiting, address, store)
            if on == "ray"
            else engines.local(grid, waiting, jobs)
        )
        for result in work:
            results[result.name] = result
            page = leaderboard.write(grid, results)
            progress(result, len(results), len(grid.runs))
    return SweepReport(grid.folder, tuple(results[run.name] for run in grid.runs), page)
