"""One table over all runs of a sweep: HTML to read, CSV to go on with."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_json, write_text
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.workbook.store import NOT_YET
from exaone_nb.workbook.sweep.engines import TaskResult
from exaone_nb.workbook.sweep.grid import Grid

DONE = ("ok", "kept")


def rows(
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


def table(rows: list[dict[str, Any]]) -> Table:
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


def write(
    grid: Grid, results: Mapping[str, TaskResult], reasons: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Write leaderboard.csv, leaderboard.json and index.html into the sweep's folder; return the page."""
    from exaone_nb.workbook.report import look
    from exaone_nb.workbook.scrub import Scrubber

    found = table(Scrubber().document(rows(grid, results, reasons)))
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
