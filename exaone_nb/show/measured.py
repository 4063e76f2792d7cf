"""What was measured once and is kept in data/measured/: tables that name their model, machine and date.

scripts/record_real.py and scripts/record_fit.py write such records. The tables here are of the first one's; its rows are
checkpoints, the unquantized one first.
"""

from typing import Any

from exaone_nb import catalog
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate

REAL_MODEL = "smollm2-135m_cpu"


def record(name: str = REAL_MODEL) -> dict[str, Any]:
    """A record of data/measured/ with its intervals as estimates. Raises WorkbookError when there is none."""
    return _revived(catalog.measured(name))


def told(document: dict[str, Any]) -> str:
    """What was measured, on what and when, and what the model is: to stand beside the tables."""
    about = document.get("about", "")
    return say(
        "Recorded {d[date]}, {d[machine_in_words]}. {d[how]} {about}", d=document, about=about
    ).rstrip()


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"value", "interval", "n"}:
        return Estimate.of(value)
    return {key: _revived(item) for key, item in value.items()}


def card_records() -> list[dict[str, Any]]:
    """The records of cards (`exaone-nb record`) in data/measured/, by card."""
    found = map(catalog.measured, catalog.measured_names())
    return sorted((d for d in found if d.get("kind") == "card"), key=lambda d: (d["card"], d["date"]))


def card_tables(document: dict[str, Any]) -> list[Table]:
    """Of one card's record: speeds, and what was predicted beside what was measured."""
    about = {"card": document["card"], "date": document["date"]}
    speeds = [row | {"seconds": Estimate.of(row["seconds"])} for row in document["speed"]]
    heads = [
        Column("model"), Column("scheme", code=True), Column("kernel", code=True), Column("phase"), Column("batch"),
        Column("context", say("tokens of context"), form=","), Column("seconds", say("seconds per step"), form=".4g"),
        Column("share_of_roofline", say("share of what is possible"), ".0%"),
    ]  # fmt: skip
    caption = say("Speed on {card}, random weights, recorded {date}", **about)
    tables = [Table(heads, speeds, caption), error_table(document)]
    if document["gptq"]:
        columns = [Column("model"), Column("module", code=True), Column("seconds", form=".3g")]
        caption = say("GPTQ of one layer on {card}, recorded {date}", **about)
        tables.append(Table(columns, document["gptq"], caption))
    return tables


def error_table(document: dict[str, Any]) -> Table:
    """Predicted and measured of one card: bytes on the card, tokens in the cache, seconds of a decode step."""
    rows = []
    for one in document["memory"]:
        for name, what in (
            ("weight_bytes", say("bytes on the card")),
            ("kv_tokens", say("tokens in the cache")),
        ):
            rows.append(_error(one, what, one["predicted"][name], one["measured"][name]))
    for row in document["speed"]:
        if row["phase"] == "decode":
            what = say("seconds per step, batch {row[batch]}, {row[context]:,} tokens", row=row)
            predicted = row["data_sheet_seconds"] or row["roofline_seconds"]
            rows.append(_error(row, what, predicted, row["seconds"]["value"]))
    heads = [
        Column("model"), Column("scheme", code=True), Column("what"), Column("predicted", form=",.6g"),
        Column("measured", form=",.6g"), Column("ratio", say("measured over predicted"), ".3f"),
    ]  # fmt: skip
    caption = say("Predicted and measured on {d[card]}, recorded {d[date]}", d=document)
    return Table(heads, [row for row in rows if row], caption)


def _error(row: dict[str, Any], what: str, predicted: float | None, measured: float | None) -> dict[str, Any]:
    if not predicted or measured is None:
        return {}
    ratio = measured / predicted
    same = {"model": row["model"], "scheme": row["scheme"], "what": what}
    return same | {"predicted": predicted, "measured": measured, "ratio": ratio}


def loss_table(document: dict[str, Any], caption: str = "") -> Table:
    """Bytes, and what was lost on text: KL, perplexity, and how often the most likely token stays the same."""
    whole = document["rows"][0]["bytes"]
    rows = [row | {"share": row["bytes"] / whole} for row in document["rows"]]
    rows[0] |= {"kl": None, "same_top": None}
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
    rows = sorted(document["rows"][1:], key=lambda row: -row["kl"].value)
    parts = [
        say(
            "{row[scheme]} ({row[recipe]}) {changed:.0f}",
            row=row,
            changed=100 * (1 - row["same_top"].value),
        )
        for row in rows
    ]
    return say("So many of 100 next tokens change: {parts}.", parts=", ".join(parts))


def accuracy_table(document: dict[str, Any], caption: str = "") -> Table:
    """Right answers, and the items on which exactly one of the two models is right."""
    rows = [row for row in document["rows"] if row.get("accuracy")]
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
