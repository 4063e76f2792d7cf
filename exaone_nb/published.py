"""Scores others have published, as `data/published_scores.csv` holds them.

Recorded numbers, never measured here: each row carries its source and date, and whoever shows one shows both.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.paths import DATA

FILE = DATA / "published_scores.csv"
COLUMNS = ("model", "mode", "benchmark", "category", "value", "note", "source", "date")


def read_scores(path: Path = FILE) -> list[dict[str, Any]]:
    """Every row of a score file as a dict of `COLUMNS`; `value` is a float, or None where the source says N/A.

    Raises WorkbookError naming the line when the columns or a value are not what they should be.
    """
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise WorkbookError(
                f"{path.name} has the columns {reader.fieldnames}.",
                expected=", ".join(COLUMNS),
                remedy="Restore the file from the repository.",
            )
        rows: list[dict[str, Any]] = []
        for row in reader:
            try:
                value = float(row["value"]) if row["value"] else None
            except ValueError:
                raise WorkbookError(
                    f"{path.name} line {reader.line_num}: {row['value']!r} is not a number.",
                    expected="a score, or nothing where the source says N/A.",
                    remedy="Correct the line.",
                ) from None
            rows.append({**row, "value": value})
    return rows


@cache
def _stored() -> tuple[dict[str, Any], ...]:
    return tuple(read_scores())


def scores(*, model: str = "", mode: str = "", benchmark: str = "", source: str = "") -> list[dict[str, Any]]:
    """The stored rows, narrowed by exact `model`, `mode` and `benchmark` and by a part of `source`.

    The lecture deck repeats the README's two 1.2B tables (it adds the asterisks), so name a `source` when one
    row per model and benchmark is wanted, for instance `source="README"`.
    """
    wanted = {"model": model, "mode": mode, "benchmark": benchmark}
    return [
        dict(row)
        for row in _stored()
        if all(not value or row[key] == value for key, value in wanted.items()) and source in row["source"]
    ]


@cache
def sizes() -> tuple[dict[str, str], ...]:
    """Rows of data/published_sizes.csv: bytes of files, index totals and parameter counts that others have stated.

    `head_twice` is "yes" where a tied head was stored a second time, `rounded` where the source gives few digits.
    """
    with open(DATA / "published_sizes.csv", encoding="utf-8", newline="") as handle:
        return tuple(csv.DictReader(handle))
