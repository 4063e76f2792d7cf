"""What a cost says to people: sentences for the log and a page, a table of a run, and a word in an open notebook."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exaone_nb.messages import say
from exaone_nb.processes import total_bytes
from exaone_nb.show.table import Column, Table
from exaone_nb.workbook.cache import models_of
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.cost import Cost, estimate, fit, sizes_of, speeds


def before_work(chapter: Chapter, values: Mapping[str, Any], run: Path) -> list[str]:
    """Sentences for an open notebook, where nothing is cut; none where a minute will do."""
    model = next(iter(models_of(chapter, values)), "")
    sizes, found = sizes_of(model), speeds(run)
    cost = estimate(chapter, values, sizes, found)
    if cost.work_seconds < 60:
        return []
    said, (kept, smaller) = in_words(cost, {})[:1], fit(chapter, values, {}, sizes, found)
    if smaller:
        would = ", ".join(f"{name} = {json.dumps(value)}" for name, value in smaller.items())
        said.append(
            say(
                "To keep to {minutes:g} min, set {would} in the cell of the parameters.",
                minutes=kept.budget_s / 60,
                would=would,
            )
        )
    return said


def table(costs: Mapping[str, tuple[Cost, Mapping[str, Any]]]) -> Table:
    """A row per chapter (its name -> cost, what is cut), and their sum: chapters that run side by side take less.

    Chapters whose cost is not known have no numbers, and without them there is no sum.
    """
    columns = [
        Column("chapter", say("chapter")),
        Column("seconds", say("minutes"), ",.1f", scale=1 / 60),
        Column("bytes", say("memory (GB)"), ",.1f", scale=1e-9),
        Column("limit_s", say("ended after (minutes)"), ",.0f", scale=1 / 60),
        Column("smaller", say("smaller than by default")),
    ]
    rows: list[dict[str, Any]] = [
        {name: getattr(cost, name) if cost.known else None for name in ("seconds", "bytes", "limit_s")}
        | {"chapter": chapter, "smaller": [f"{name} = {json.dumps(now)}" for name, now in smaller.items()]}
        for chapter, (cost, smaller) in costs.items()
    ]
    seconds = [row["seconds"] for row in rows]
    total = None if None in seconds else sum(seconds)
    return Table(columns, [*rows, {"chapter": say("together"), "seconds": total}])


def in_words(cost: Cost, values: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Sentences about a cost, for the log and the page. `values` maps a parameter to its value and its default."""
    said = [
        say(
            "Predicted: {minutes:.1f} min and {gb:.1f} GB of memory, from {source}. A run ends it after {limit:.0f} min.",
            minutes=cost.seconds / 60,
            gb=cost.bytes / 1e9,
            source=say("speeds measured in this run") if cost.measured else say("recorded speeds"),
            limit=cost.limit_s / 60,
        )
    ]
    if not cost.known:
        said.append(say("The model's config could not be read, so what it adds is not in this."))
    if cost.bytes > (there := total_bytes()):
        more = say("That is more memory than there is here ({gb:.1f} GB): it may be killed.", gb=there / 1e9)
        said.append(more)
    for name in cost.smaller:
        now, usual = map(json.dumps, values[name])
        said.append(
            say(
                "{name} is {now} instead of {usual}, so that the chapter keeps to {minutes:g} min. "
                "To have it whole: -p {name} {usual}",
                name=name, now=now, usual=usual, minutes=cost.budget_s / 60,
            )
        )  # fmt: skip
    if cost.work_seconds > cost.budget_s > 0:
        said.append(
            say(
                "Its work does not fit into {minutes:g} min with the smallest studies.",
                minutes=cost.budget_s / 60,
            )
        )
    return said
