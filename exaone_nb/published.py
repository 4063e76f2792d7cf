"""Scores others have published, as `data/published_scores.csv` holds them.

Recorded numbers, never measured here: each row carries its source and date, and whoever shows one shows both.
"""

from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.written import read_csv

FILE = DATA / "published_scores.csv"
COLUMNS = ("model", "mode", "benchmark", "category", "value", "note", "source", "date")


@cache
def read_scores(path: Path = FILE) -> tuple[dict[str, Any], ...]:
    """Every row of a score file as a dict of `COLUMNS`; `value` is a float, or None where the source says N/A.

    Raises WorkbookError naming the line when the columns or a value are not what they should be.
    """
    rows: list[dict[str, Any]] = read_csv(path)
    if not rows or tuple(rows[0]) != COLUMNS:
        raise WorkbookError(
            say("{name} has the columns {names}.", name=path.name, names=", ".join(rows[0]))
            if rows
            else say("{name} has no columns: it is empty.", name=path.name),
            expected=", ".join(COLUMNS),
            remedy="Restore the file from the repository.",
        )
    for line, row in enumerate(rows, 2):
        try:
            row["value"] = float(row["value"]) if row["value"] else None
        except ValueError:
            raise WorkbookError(
                say(
                    "{name} line {line}: {value!r} is not a number.",
                    name=path.name,
                    line=line,
                    value=row["value"],
                ),
                expected="a score, or nothing where the source says N/A.",
            ) from None
    return tuple(rows)


def scores(*, model: str = "", mode: str = "", benchmark: str = "", source: str = "") -> list[dict[str, Any]]:
    """The stored rows, narrowed by exact `model`, `mode` and `benchmark` and by a part of `source`.

    The lecture deck repeats the README's two 1.2B tables (it adds the asterisks), so name a `source` when one
    row per model and benchmark is wanted, for instance `source="README"`.
    """
    wanted = {"model": model, "mode": mode, "benchmark": benchmark}
    return [
        dict(row)
        for row in read_scores()
        if all(not value or row[key] == value for key, value in wanted.items()) and source in row["source"]
    ]


@cache
def sizes() -> tuple[dict[str, str], ...]:
    """Rows of data/published_sizes.csv: bytes of files, index totals and parameter counts that others have stated.

    `head_twice` is "yes" where a tied head was stored a second time, `rounded` where the source gives few digits.
    """
    return tuple(read_csv(DATA / "published_sizes.csv"))


def gguf_sizes(model: str) -> list[dict[str, str]]:
    """The rows about GGUF files of a catalog model, `scheme` being the type of the file."""
    return [row for row in sizes() if row["kind"] == "gguf" and row["model"] == model]
