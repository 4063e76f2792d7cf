"""Tables of GGUF files: what each type weighs as predicted, as written and as published."""

from typing import Any

from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table

KIND = Column("type", code=True)
PREDICTED = Column("file_bytes", say("bytes, predicted"), ",")
PUBLISHED = Column("published_bytes", say("GB, published"), ".3g", 1e-9)
BITS = Column("bits_per_weight", say("bits per weight"), ".2f")
TYPES = Column("types", say("tensors"))


def plan_table(document: dict[str, Any]) -> Table:
    """One line per type, from the document of `size --gguf`."""
    rows = [{"type": kind} | _row(entry) for kind, entry in document["types"].items()]
    heads = [
        KIND,
        PREDICTED,
        Column("bytes_without_keys", say("bytes without the vocabulary"), ","),
        BITS,
        TYPES,
        PUBLISHED,
        Column("published_head_twice", say("published with the head twice")),
    ]
    caption = say("{model}: GGUF files by llama.cpp's rule of types", model=document["model"])
    table = Table(heads, rows, caption).without_empty()
    settled = all(row["file_bytes"] is not None for row in rows)
    return table.only(
        column.name for column in table.columns if not settled or column.name != "bytes_without_keys"
    )


def converted_table(*documents: dict[str, Any]) -> Table:
    """The three figures of each file that was written: predicted, written, published."""
    rows = [
        _row(document) | {"type": document["type"], "file_bytes": document["predicted_bytes"]}
        for document in documents
    ]
    heads = [
        KIND,
        PREDICTED,
        Column("written_bytes", say("bytes, written"), ","),
        PUBLISHED,
        BITS,
        TYPES,
        Column("seconds", form=".1f"),
    ]
    return Table(heads, rows, ", ".join(document["file"] for document in documents)).without_empty()


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    counts = entry["types"].items()
    return entry | {"types": [say("{count} {kind}", count=count, kind=kind) for kind, count in counts]}
