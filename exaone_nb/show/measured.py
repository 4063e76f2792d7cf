"""What was measured once and is kept in data/measured/: tables that name their model, machine and date.

scripts/record_real.py writes such a record; its rows are checkpoints, the unquantized one first.
"""

from typing import Any

from exaone_nb import catalog
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate

REAL_MODEL = "smollm2-135m_cpu"


def record(name: str = REAL_MODEL) -> dict[str, Any]:
    """A record of data/measured/. Raises WorkbookError when there is none."""
    return catalog.read_config(DATA / "measured" / f"{name}.json")


def told(document: dict[str, Any]) -> str:
    """What was measured, on what and when, and what the model is: to stand beside the tables."""
    return say("Recorded {d[date]}, {d[machine_in_words]}. {d[how]} {d[about]}", d=document)


def _estimate(found: dict[str, Any] | None) -> Estimate | None:
    if found is None:
        return None
    low, high = found["interval"] or (None, None)
    return Estimate(found["value"], low, high, found["n"])


def _rows(document: dict[str, Any], *measured: str) -> list[dict[str, Any]]:
    return [row | {name: _estimate(row.get(name)) for name in measured} for row in document["rows"]]


def loss_table(document: dict[str, Any], caption: str = "") -> Table:
    """Bytes, and what was lost on text: KL, perplexity, and how often the most likely token stays the same."""
    whole = document["rows"][0]["bytes"]
    rows = [row | {"share": row["bytes"] / whole} for row in _rows(document, "kl", "perplexity", "same_top")]
    base = rows[0]
    base["kl"] = base["same_top"] = None
    heads = [
        Column("recipe", code=True),
        Column("scheme", code=True),
        Column("bytes", form=","),
        Column("share", say("of the unquantized"), ".1%"),
        Column("perplexity", form=",.1f"),
        Column("kl", say("KL from the model, nats per token"), ".4f"),
        Column("same_top", say("same most likely token"), ".1%"),
        Column("served", say("vLLM serves it on that machine")),
    ]
    return Table(heads, rows, caption)


def loss_words(document: dict[str, Any]) -> str:
    """The losses in a sentence, largest first."""
    rows = sorted(document["rows"][1:], key=lambda row: -row["kl"]["value"])
    parts = [
        say(
            "{row[scheme]} ({row[recipe]}) {changed:.0f}",
            row=row,
            changed=100 * (1 - row["same_top"]["value"]),
        )
        for row in rows
    ]
    return say("So many of 100 next tokens change: {parts}.", parts=", ".join(parts))


def accuracy_table(document: dict[str, Any], caption: str = "") -> Table:
    """Right answers, and the items on which exactly one of the two models is right."""
    rows = [row for row in _rows(document, "accuracy") if row["accuracy"] is not None]
    heads = [
        Column("recipe", code=True),
        Column("scheme", code=True),
        Column("accuracy", form=".3f"),
        Column("lost", say("only the base is right")),
        Column("won", say("only this one is right")),
        Column("p", say("p, exact McNemar"), ".3g"),
    ]
    return Table(heads, rows, caption)


def speed_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the served checkpoints, one per batch size, as the inference chapter's own tables have them."""
    return [speed | {"name": row["recipe"]} for row in document["rows"] for speed in row.get("speed", ())]
