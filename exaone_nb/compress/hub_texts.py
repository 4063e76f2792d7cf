"""Rows of a data set of the hub: streamed once, as many as are needed, and kept where things are that can be made again.

The same rows are read by every recipe of a chapter, and by its studies. Kept, they are read once from the network, and the
next run needs none. How the hub's page licenses the data set is kept beside them.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_json
from exaone_nb.hub import hub_errors, licence_of
from exaone_nb.messages import say
from exaone_nb.paths import cache_folder


@dataclass(frozen=True)
class HubRows:
    """Rows from `offset` on of the split `train`. `licence` is the page's tag on `date`, empty where it has none.

    `ended` says that the data set had no more rows.
    """

    name: str
    offset: int
    licence: str
    date: str
    ended: bool
    rows: list[Any]


def kept_file(name: str, offset: int = 0, field: str = "") -> Path:
    """Where rows of ORG/NAME or ORG/NAME:SUBSET are kept."""
    parts = [name.replace("/", "__").replace(":", "--"), field, str(offset)]
    return cache_folder() / "texts" / f"{'.'.join(filter(None, parts))}.json"


def hub_rows(
    name: str, offset: int, count: int, content: Callable[[Any, int], Any], field: str = ""
) -> HubRows:
    """`count` rows of ORG/NAME or ORG/NAME:SUBSET from row `offset` on, or fewer where it ends before.

    `content(row, number)` gives what is kept of a row; numbers begin with 1. Raises what `content` raises, and
    WorkbookError when the hub does not give them.
    """
    file = kept_file(name, offset, field)
    with suppress(OSError, ValueError, TypeError):  # not there, or not as it was written: fetched again
        found = HubRows(**json.loads(file.read_text(encoding="utf-8")))
        if found.ended or len(found.rows) >= count:
            return found
    from datasets import load_dataset

    place, _, subset = name.partition(":")
    with hub_errors(say("The data set {name}", name=name)):
        stream = load_dataset(place, subset or None, split="train", streaming=True).skip(offset).take(count)
        rows = [content(row, number) for number, row in enumerate(stream, offset + 1)]
    licence = ""
    with suppress(
        WorkbookError
    ):  # the texts are there; that their page is not read is no reason to go without
        licence = licence_of(place)
    made = HubRows(name, offset, licence, datetime.now(UTC).date().isoformat(), len(rows) < count, rows)
    write_json(file, asdict(made))
    return made
