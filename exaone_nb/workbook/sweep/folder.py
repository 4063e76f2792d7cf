"""The folder of a sweep: one process at a time writes to it, and it belongs to one grid."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json
from exaone_nb.messages import say
from exaone_nb.workbook.store import exclusive
from exaone_nb.workbook.sweep.grid import Grid


def held(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the sweep's folder for this process. Raises WorkbookError when another sweep has it."""
    return exclusive(folder, say("Another sweep is running in {folder}.", folder=folder.name))


def pin(grid: Grid) -> None:
    """Write the grid into its folder, or check that the folder belongs to the same grid.

    Raises WorkbookError when another grid was swept into this folder, or the same with other threads.
    """
    runs = {run.name: run.parameters for run in grid.runs}
    file = grid.folder / "sweep.json"
    if file.exists():
        chapters, threads, before = _pinned(file)
        if chapters != list(grid.chapters) or any(runs.get(name) != given for name, given in before.items()):
            raise WorkbookError(
                f"{grid.folder.name} holds another sweep.",
                expected="the same chapters, and at least the runs it already has.",
                remedy="Give this grid another name, or another --out.",
            )
        if threads != grid.threads:
            raise WorkbookError(
                f"The runs in {grid.folder.name} have {threads} threads each, and this grid asks for {grid.threads}.",
                expected="the same cpus_per_run: the last bits of a checkpoint depend on it.",
                remedy="Give this grid another name, or another --out.",
            )
    document = {"name": grid.name, "chapters": list(grid.chapters), "threads": grid.threads}
    write_json(
        file, document | {"runs": [{"name": name, "parameters": given} for name, given in runs.items()]}
    )


def _pinned(file: Path) -> tuple[list[str], int, dict[str, Any]]:
    """The chapters, the threads and the runs (name -> parameters) that `pin` wrote. Raises UsageError for a damaged file."""
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        return (
            before["chapters"],
            before["threads"],
            {run["name"]: run["parameters"] for run in before["runs"]},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} is damaged.",
            expected="the grid that was swept into this folder.",
            remedy="Delete this one file; the runs beside it are kept, and what still holds is not run again.",
        ) from error
