"""Scores others have published, as `data/published_scores.csv` holds them.

Recorded numbers, never measured here: each row carries its source and date, and whoever shows one shows both.
"""

from functools import cache
from typing import Any

from exaone_nb.paths import DATA
from exaone_nb.written import read_csv


def scores(*, model: str = "", mode: str = "", source: str = "") -> list[dict[str, Any]]:
    """The stored rows, narrowed by exact `model` and `mode` and by a part of `source`. `value` is None where it says N/A.

    The lecture deck repeats the README's two 1.2B tables (it adds the asterisks), so name a `source` when one
    row per model and benchmark is wanted, for instance `source="README"`.
    """
    wanted = {"model": model, "mode": mode}
    return [
        row | {"value": float(row["value"]) if row["value"] else None}
        for row in read_csv(DATA / "published_scores.csv")
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
