"""One table over all runs of a sweep: HTML to read, CSV to go on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_text
from exaone_nb.results import RunFolder
from exaone_nb.workbook.sweep.grid import Grid
from exaone_nb.workbook.sweep.task import NOT_YET, TaskResult

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
        base = {"run": run.name, **{k: _text(v) for k, v in run.varied.items()}, "status": status}
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
    """Checkpoint -> column -> value. Beside a value stand its n and its interval, as LOW to HIGH."""
    found: dict[str, dict[str, Any]] = {}
    for result in folder.read_results():
        if result["kind"] == "machine":
            continue
        cells = found.setdefault(result["recipe"], {})
        column = " ".join(part for part in (result["kind"], result["label"]) if part)
        cells[f"{column} [{result['unit']}]"] = result["value"]
        if result["n"]:
            cells[f"{column} n"] = result["n"]
        if result["interval"]:
            low, high = result["interval"]
            cells[f"{column} interval"] = f"{low:.6g} to {high:.6g}"
    return found


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def columns(table: list[dict[str, Any]]) -> list[str]:
    """All column names in the order of their first appearance."""
    return list(dict.fromkeys(name for row in table for name in row))


def write(
    grid: Grid, results: Mapping[str, TaskResult], reasons: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Write leaderboard.csv, leaderboard.json and index.html into the sweep's folder; return the page."""
    from exaone_nb.workbook.report import look
    from exaone_nb.workbook.scrub import Scrubber

    scrubber = Scrubber()
    table = scrubber.document(rows(grid, results, reasons))
    names = columns(table)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(grid.folder / "leaderboard.csv", text.getvalue())
    write_text(grid.folder / "leaderboard.json", json.dumps(table, ensure_ascii=False, indent=2) + "\n")
    reports = {run.name: (grid.folder / run.name / "index.html").is_file() for run in grid.runs}
    done = sum(result.status in DONE for result in results.values())
    page = look.fill(
        "sweep.html",
        name=grid.name,
        table=table,
        columns=names,
        reports=reports,
        done=done,
        total=len(grid.runs),
    )
    return write_text(grid.folder / "index.html", page)
