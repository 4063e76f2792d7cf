"""One checkpoint explained: every tensor, totals that add up to the file, and what does not fit its config.

`inspect_model` reads headers where there are weights. A catalog model needs none: its config and its
quantization_config say what the published files hold (without the files' headers, so without file sizes).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.duplicates import Duplicate, find_duplicates
from exaone_nb.anatomy.layouts import is_known, layout_notes, text_config
from exaone_nb.anatomy.logical import Expectation, expectations, logical_elements
from exaone_nb.anatomy.names import component_of, layer_of
from exaone_nb.anatomy.reader import Checkpoint, read_headers
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.config import read_quantization


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor. `logical` is the number of parameters it stands for, None when its packing is unknown."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    component: str
    layer: int | None
    logical: int | None
    elements: int

    def document(self) -> dict[str, Any]:
        """Plain data. (asdict copies deep: for all tensors of a model it takes longer than reading the headers.)"""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True)
class Total:
    """A sum over some rows."""

    tensors: int
    bytes: int
    elements: int
    logical: int | None


@dataclass(frozen=True)
class Mismatch:
    """A tensor whose shape is not the one the config calls for: `left` in the file, `right` in the config."""

    name: str
    left: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found. The rows' bytes, the headers and the length fields add up to `file_bytes`."""

    name: str
    rows: tuple[Row, ...]
    checkpoint: Checkpoint | None  # None: told from the config alone
    quantization: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> Total:
        """All rows."""
        return _total(self.rows)

    @property
    def sound(self) -> bool:
        """True when nothing is missing, nothing is left over, no shape is wrong and the index agrees."""
        index_agrees = self.checkpoint is None or not self.checkpoint.problems
        return not (self.missing or self.extra or self.mismatches) and index_agrees

    def by(self, key: Callable[[Row], Any]) -> dict[Any, Total]:
        """Totals by component, dtype or layer: `by(lambda row: row.component)`, most bytes first."""
        groups: dict[Any, list[Row]] = defaultdict(list)
        for row in self.rows:
            groups[key(row)].append(row)
        totals = {name: _total(rows) for name, rows in groups.items()}
        return dict(sorted(totals.items(), key=lambda item: -item[1].bytes))

    def component_bytes(self) -> dict[str, int]:
        """Bytes by component, largest first."""
        return {name: total.bytes for name, total in self.by(lambda row: row.component).items()}

    def document(self, tensors: bool = True) -> dict[str, Any]:
        """Plain data for --json."""
        files = self.checkpoint.files if self.checkpoint else ()
        return {
            "name": self.name,
            "from": "headers" if self.checkpoint else "config",
            "file_bytes": self.checkpoint.file_bytes if self.checkpoint else None,
            "total": asdict(self.total),
            "files": [
                {
                    "name": f.name,
                    "file_bytes": f.file_bytes,
                    "header_bytes": f.header_bytes,
                    "data_bytes": f.data_bytes,
                }
                for f in files
            ],
            "by_component": {
                name: asdict(total) for name, total in self.by(lambda row: row.component).items()
            },
            "by_dtype": {name: asdict(total) for name, total in self.by(lambda row: row.dtype).items()},
            "by_layer": {
                "outside" if layer is None else str(layer): asdict(total)
                for layer, total in self.by(lambda row: row.layer).items()
            },
            "quantization": list(self.quantization),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "duplicates": [asdict(duplicate) for duplicate in self.duplicates],
            "index_problems": list(self.checkpoint.problems) if self.checkpoint else [],
            "notes": list(self.notes),
            "requests": self.checkpoint.requests if self.checkpoint else 0,
            "wire_bytes": self.checkpoint.wire_bytes if self.checkpoint else 0,
            **({"tensors": [row.document() for row in self.rows]} if tensors else {}),
        }


def inspect_model(
    model: str | Path | Place, revision: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Inspection:
    """Inspect a catalog name, local folder or file, http(s) address or hub id. Raises WorkbookError for bad input."""
    place = model if isinstance(model, Place) else resolve(model)
    if place.kind == "catalog" and revision is None and (place.path is None or not place.path.exists()):
        return explain_config(place.config(), place.name)
    checkpoint = read_headers(place, revision, progress)
    return explain(checkpoint)


def explain(checkpoint: Checkpoint) -> Inspection:
    """The inspection of headers that were read."""
    config, notes = checkpoint.config, []
    quantization = read_quantization(config)
    expected: dict[str, Expectation] = {}
    if is_known(config):
        expected = expectations(config)
        notes += layout_notes(config)
    elif config:
        notes.append(
            f"No layout for model_type {config.get('model_type')!r}: the file cannot be held against its config."
        )
    else:
        notes.append("There is no config.json beside the file: nothing to hold it against.")
    if quantization and not quantization.understood:
        notes += quantization.sentences()[:1]
    rows = []
    for entry in checkpoint.entries:
        wanted = expected.get(entry.name)
        rows.append(
            Row(
                entry.name,
                entry.dtype,
                entry.shape,
                entry.bytes,
                wanted.spec.component if wanted else component_of(entry.name),
                wanted.spec.layer if wanted else layer_of(entry.name),
                logical_elements(entry, quantization, wanted),
                entry.elements,
            )
        )
    inspection = Inspection(
        name=checkpoint.name,
        rows=tuple(rows),
        checkpoint=checkpoint,
        quantization=tuple(quantization.sentences()) if quantization else (),
        notes=tuple(notes),
    )
    if not expected:
        return inspection
    return _held_against(inspection, expected, config)


def explain_config(config: dict[str, Any], name: str) -> Inspection:
    """What the published files of a config hold, without reading any. Raises WorkbookError for an unknown family."""
    quantization = read_quantization(config)
    rows = tuple(
        Row(
            tensor.name,
            tensor.dtype,
            tensor.shape,
            tensor.bytes,
            wanted.spec.component,
            wanted.spec.layer,
            wanted.logical,
            _elements(tensor.shape),
        )
        for wanted in expectations(config).values()
        for tensor in (wanted.tensor,)
    )
    return Inspection(
        name=name,
        rows=rows,
        checkpoint=None,
        quantization=tuple(quantization.sentences()) if quantization else (),
        notes=("Told from the config alone; no file was read.", *layout_notes(config)),
    )


def _held_against(
    inspection: Inspection, expected: dict[str, Expectation], config: dict[str, Any]
) -> Inspection:
    checkpoint, notes = inspection.checkpoint, list(inspection.notes)
    names = {row.name for row in inspection.rows}
    duplicates = find_duplicates(checkpoint, config)
    doubled = {duplicate.copy for duplicate in duplicates}
    extra = [name for name in names - expected.keys() if name not in doubled]
    decoder = text_config(config)
    layers = fields.layers(decoder)
    drafts = [name for name in extra if (layer_of(name) or 0) >= layers or name.startswith("mtp.")]
    if drafts and fields.get(config, "num_nextn_predict_layers"):
        extra = [name for name in extra if name not in set(drafts)]
        notes.append(
            f"{len(drafts)} tensors of the draft layer for multi-token prediction are not part of the model proper."
        )
    if duplicates and not checkpoint.folder:
        notes.append("The data was not fetched, so the copies are told by name and shape, not by content.")
    mismatches = [
        Mismatch(row.name, row.shape, expected[row.name].tensor.shape)
        for row in inspection.rows
        if row.name in expected and row.shape != expected[row.name].tensor.shape
    ]
    other = {
        row.dtype
        for row in inspection.rows
        if row.name in expected and row.dtype != expected[row.name].tensor.dtype
    }
    if other:
        notes.append(
            f"Some tensors are stored as {', '.join(sorted(other))} where the config's dtype says otherwise."
        )
    return Inspection(
        name=inspection.name,
        rows=_without_second_count(inspection.rows, doubled),
        checkpoint=checkpoint,
        quantization=inspection.quantization,
        missing=tuple(sorted(expected.keys() - names)),
        extra=tuple(sorted(extra)),
        mismatches=tuple(mismatches),
        duplicates=duplicates,
        notes=tuple(notes),
    )


def _without_second_count(rows: Iterable[Row], doubled: set[str]) -> tuple[Row, ...]:
    """A table stored twice is one set of parameters."""
    return tuple(
        Row(r.name, r.dtype, r.shape, r.bytes, r.component, r.layer, 0, r.elements)
        if r.name in doubled
        else r
        for r in rows
    )


def _total(rows: Iterable[Row]) -> Total:
    rows = list(rows)
    known = all(row.logical is not None for row in rows)
    return Total(
        len(rows),
        sum(row.bytes for row in rows),
        sum(row.elements for row in rows),
        sum(row.logical for row in rows) if known else None,
    )


def _elements(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def require_sound(inspection: Inspection) -> None:
    """Raise WorkbookError naming the first things that do not fit; used by the command line for its exit code."""
    if inspection.sound:
        return
    parts = []
    if inspection.missing:
        parts.append(f"{len(inspection.missing)} tensors are missing (first: {inspection.missing[0]})")
    if inspection.extra:
        parts.append(f"{len(inspection.extra)} tensors are left over (first: {inspection.extra[0]})")
    if inspection.mismatches:
        first = inspection.mismatches[0]
        parts.append(
            f"{len(inspection.mismatches)} shapes differ (first: {first.name}, {first.left} / {first.right})"
        )
    if inspection.checkpoint and inspection.checkpoint.problems:
        parts.append(f"the index disagrees ({inspection.checkpoint.problems[0]})")
    raise WorkbookError(
        f"{inspection.name} does not fit its config: {'; '.join(parts)}.",
        expected="every tensor that the config calls for, in its shape, and no other.",
        remedy="Check that config.json and the weights belong together.",
    )
