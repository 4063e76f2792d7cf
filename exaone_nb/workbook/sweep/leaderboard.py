"""One table over all runs of a sweep: HTML to read, CSV to go on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exaone_nb.files import write_text
from exaone_nb.run_folder import RunFolder
from exaone_nb.workbook.sweep.grid import Grid
from exaone_nb.workbook.sweep.task import TaskResult, finished


def rows(grid: Grid, results: Mapping[str, TaskResult]) -> list[dict[str, Any]]:
    """One row per run and checkpoint: what was varied, the status, and every result the run folder holds."""
    table = []
    for run in grid.runs:
        folder = grid.folder / run.name
        result = results.get(run.name)
        status = "ok" if finished(folder) else result.status if result else "waiting"
        base = {"run": run.name, **{k: _text(v) for k, v in run.varied.items()}, "status": status}
        if result and result.why and status != "ok":
            base["why"] = result.why
        measured = _measured(RunFolder(folder))
        table += [{**base, "checkpoint": name, **cells} for name, cells in measured.items()] or [base]
    return table


def _measured(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Checkpoint -> column -> value. An interval stands beside its value, as LOW to HIGH."""
    found: dict[str, dict[str, Any]] = {}
    for result in folder.read_results():
        if result["kind"] == "machine":
            continue
        cells = found.setdefault(result["recipe"], {})
        column = " ".join(part for part in (result["kind"], result["label"]) if part)
        cells[f"{column} [{result['unit']}]"] = result["value"]
        if result["interval"]:
            low, high = result["interval"]
            cells[f"{column} interval"] = f"{low:.6g} to {high:.6g}"
    return found


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def columns(table: list[dict[str, Any]]) -> list[str]:
    """All column names in the order of their first appearance."""
    return list(dict.fromkeys(name for row in table for name in row))


def write(grid: Grid, results: Mapping[str, TaskResult]) -> Path:
    """Write leaderboard.csv, leaderboard.json and index.html into the sweep's folder; return the page."""
    from exaone_nb.workbook.report import look
    from exaone_nb.workbook.scrub import Scrubber

    scrubber = Scrubber()
    table = scrubber.document(rows(grid, results))
    names = columns(table)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(grid.folder / "leaderboard.csv", text.getvalue())
    write_text(grid.folder / "leaderboard.json", json.dumps(table, ensure_ascii=False, indent=2) + "\n")
    reports = {run.name: (grid.folder / run.name / "index.html").is_file() for run in grid.runs}
    done = sum(finished(grid.folder / run.name) for run in grid.runs)
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
