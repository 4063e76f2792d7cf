"""The tables of a checkpoint (what is stored, tensor by tensor and in sums) and its map."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.inspection import Inspection, Row
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.predict import Prediction
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Figure
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.figures import canvas
from exaone_nb.show.memory_figures import COMPONENTS, label_strips
from exaone_nb.show.table import Column, Table, columns, in_bytes
from exaone_nb.written import read_yaml

MODEL = Column("model", code=True)
BYTES = Column("bytes", say("bytes of data"), ",")
BITS = Column("bits", say("bits per parameter"), ".2f")
TABLES = Column("tables", say("embedding and head"), ".1%")


def tensor_table(rows: Iterable[Row]) -> Table:
    heads = [
        Column("name", say("tensor"), code=True),
        Column("dtype", code=True),
        Column("shape", code=True, join=" x "),
        Column("bytes", form=","),
        Column("component", code=True),
    ]
    return Table(heads, [row.document() for row in rows])


def totals_table(inspection: Inspection, key: Callable[[Row], Any], heading: str) -> Table:
    """Sums by component or by dtype, most bytes first."""
    heads = [
        Column("part", heading, code=True),
        *columns(["tensors", "bytes"], ","),
        Column("share", form=".1%"),
        Column("logical", say("parameters"), ",", missing="?"),
    ]
    whole = max(inspection.total.bytes, 1)
    sums = inspection.by(key).items()
    return Table(heads, [vars(t) | {"part": name, "share": t.bytes / whole} for name, t in sums])


def shape_table(inspections: Mapping[str, Inspection]) -> Table:
    """The shapes of the first layer, one column per model; tensors that only some have leave a gap."""
    shapes: dict[str, dict[str, Any]] = {}
    for model, inspection in inspections.items():
        for row in inspection.rows:
            if row.layer == 0:
                shapes.setdefault(row.name, {"tensor": row.name})[model] = list(row.shape)
    heads = [Column("tensor", code=True), *columns(inspections, code=True, join=" x ")]
    return Table(heads, list(shapes.values()))


def outline_table(inspections: Mapping[str, Inspection], configs: Mapping[str, dict[str, Any]]) -> Table:
    """One line per model: what the config says beside what the tensors add up to."""
    heads = [
        MODEL,
        Column("tensors", form=","),
        Column("layers"),
        Column("hidden_size", say("hidden size"), ","),
        Column("tied", say("head tied")),
        Column("parameters", form=","),
        BYTES,
        TABLES,
    ]
    rows = []
    for model, inspection in inspections.items():
        config, total, parts = text_config(configs[model]), inspection.total, inspection.component_bytes()
        shape = {
            "layers": len(layer_kinds(config)),
            "hidden_size": config["hidden_size"],
            "tied": "head" not in parts,
        }
        sums = vars(total) | {"parameters": total.logical, "tables": _tables(parts)}
        rows.append({"model": model, **sums, **shape})
    return Table(heads, rows)


def counting_table(inspections: Mapping[str, Inspection]) -> Table:
    """Stored elements beside the parameters they stand for, and bits per parameter over everything."""
    heads = [
        MODEL,
        Column("elements", say("stored elements"), ","),
        Column("parameters", form=","),
        Column("off", say("a plain sum is off by"), "+.0%"),
        BYTES,
        BITS,
    ]
    rows = []
    for model, total in ((model, inspection.total) for model, inspection in inspections.items()):
        per_parameter = {"off": total.elements / total.logical - 1, "bits": total.bytes * 8 / total.logical}
        rows.append({"model": model, "parameters": total.logical, **vars(total), **per_parameter})
    return Table(heads, rows)


def scheme_table(
    found: Mapping[str, Prediction], refused: Mapping[str, WorkbookError], caption: str = ""
) -> Table:
    """One line per scheme: the predicted file; a scheme that does not divide the model's matrices has its reason."""
    heads = [
        Column("scheme", code=True),
        *in_bytes("file_bytes", say("file bytes")),
        Column("of_plain", say("of unquantized"), ".1%"),
        BITS,
        TABLES,
        *columns(["files", "remark"]),
    ]
    rows: list[dict[str, Any]] = [
        {
            "scheme": scheme,
            "file_bytes": prediction.file_bytes,
            "of_plain": prediction.data_bytes / prediction.unquantized_bytes,
            "bits": prediction.bits_per_parameter,
            "tables": _tables(prediction.by_component()),
            "files": len(prediction.shards),
        }
        for scheme, prediction in found.items()
    ]
    rows += [{"scheme": scheme, "remark": error.got} for scheme, error in refused.items()]
    return Table(heads, rows, caption).without_empty()


def _tables(parts: Mapping[str, int]) -> float:
    return (parts.get("embedding", 0) + parts.get("head", 0)) / sum(parts.values())


def file_map(inspections: Sequence[tuple[str, Inspection]]) -> Figure:
    """One strip per file, from its first byte of data to its last, coloured by component. Needs read headers."""
    figure, axes = canvas(8.5, 0.8 * len(inspections) + 1.3)
    used: set[str] = set()
    for place, (_, inspection) in enumerate(inspections):
        total = inspection.total.bytes
        begin = 0
        # Neighbours of one component are one stretch; tensors follow each other without a gap.
        for name, stretch in groupby(inspection.rows, attrgetter("component")):
            size = sum(row.bytes for row in stretch)
            kind = name if name in COMPONENTS else "other"
            thin = {"facecolor": COMPONENTS[kind].colour, "linewidth": 0}
            look = COMPONENTS[kind].area() if size > total / 100 else thin
            # snap: otherwise thin stretches are moved to whole pixels and some vanish
            axes.barh(place, size / 1e6, left=begin / 1e6, height=0.6, snap=False, **look)
            used.add(kind)
            begin += size
    axes.set(xlim=(0, None), xlabel=say("position in the file, MB after the header"))
    label_strips(axes, [label for label, _ in inspections], used)
    return figure


def config_table(config: dict[str, Any]) -> Table:
    """Every field of a config.json, what it means and what follows from it (data/config_fields.yaml)."""
    known = read_yaml(DATA / "config_fields.yaml")
    rows = []
    for name, value in config.items():
        told = known.get(name, {"means": say("not described here"), "decides": ""})
        said = {part: translated(text) for part, text in told.items()}
        rows.append({"field": name, "value": in_short(value), **said})
    heads = [Column("field", code=True), Column("value", code=True), Column("means"), Column("decides")]
    return Table(heads, rows)


def in_short(value: Any) -> str:
    """A value as JSON; a list of few different entries as how often each occurs."""
    if isinstance(value, list) and len(value) > len(set(map(str, value))) > 0:
        return ", ".join(f"{count} x {entry}" for entry, count in Counter(map(str, value)).items())
    return json.dumps(value, ensure_ascii=False)
