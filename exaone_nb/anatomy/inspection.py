"""One checkpoint explained: every tensor, totals that add up to the file, and what does not fit its config.

`inspect_model` reads headers where there are weights. A catalog model needs none: its config and its
quantization_config say what the published files hold (without the files' headers, so without file sizes).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.duplicates import Duplicate, find_duplicates
from exaone_nb.anatomy.header import TensorEntry
from exaone_nb.anatomy.layouts import is_known, layout_notes, text_config
from exaone_nb.anatomy.logical import Expectation, expectations, logical_elements
from exaone_nb.anatomy.names import component_of, layer_of, wrong_prefix
from exaone_nb.anatomy.packing import as_packed, written_shapes
from exaone_nb.anatomy.reader import Checkpoint, read_headers
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import joined, say
from exaone_nb.quantization.config import Quantization, read_quantization
from exaone_nb.quantization.effects import order_findings
from exaone_nb.quantization.stored import StoredTensor


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
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Total:
        """All rows."""
        return _total(self.rows)

    @property
    def index_problems(self) -> tuple[str, ...]:
        """Where the index and the files disagree, or two sets of weights lie in one folder."""
        return tuple(finding.text for finding in self.checkpoint.problems) if self.checkpoint else ()

    @property
    def sound(self) -> bool:
        """True when nothing is missing, nothing is left over, no shape is wrong and the index agrees."""
        return not (self.missing or self.extra or self.mismatches or self.index_problems)

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

    def document(self) -> dict[str, Any]:
        """Plain data for --json."""
        read = self.checkpoint
        sizes = ("name", "file_bytes", "header_bytes", "data_bytes")
        by = {key: self.by(attrgetter(key)) for key in ("component", "dtype", "layer")}
        by["layer"] = {
            "outside" if layer is None else str(layer): total for layer, total in by["layer"].items()
        }
        lists = ("quantization", "missing", "extra", "index_problems", "notes")
        return {
            "name": self.name,
            "from": "headers" if read else "config",
            "file_bytes": read.file_bytes if read else None,
            "total": vars(self.total),
            "files": [{size: getattr(file, size) for size in sizes} for file in (read.files if read else ())],
            **{f"by_{key}": {name: vars(total) for name, total in sums.items()} for key, sums in by.items()},
            **{name: list(getattr(self, name)) for name in lists},
            "mismatches": [vars(mismatch) for mismatch in self.mismatches],
            "duplicates": [vars(duplicate) for duplicate in self.duplicates],
            "requests": read.requests if read else 0,
            "wire_bytes": read.wire_bytes if read else 0,
            "tensors": [row.document() for row in self.rows],
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
        expected, packed = as_packed(expectations(config), checkpoint, quantization)
        notes += [*packed, *layout_notes(config)]
    elif config:
        notes.append(
            say(
                "No layout for model_type {family!r}: the file cannot be held against its config.",
                family=config.get("model_type"),
            )
        )
    else:
        notes.append(say("There is no config.json beside the file: nothing to hold it against."))
    notes += [finding.text for finding in checkpoint.findings if finding.level != "error"]
    if quantization and not quantization.understood:
        notes += quantization.sentences()[:1]
    orders = order_findings(quantization) if quantization else ()
    notes += [finding.text for finding in orders if finding.level == "warning"]
    written = {} if expected else written_shapes(checkpoint)
    rows = []
    for entry in checkpoint.entries:
        wanted = expected.get(entry.name)
        logical = written.get(entry.name)
        rows.append(_row(entry, wanted, logical or logical_elements(entry, quantization, wanted)))
    inspection = Inspection(
        checkpoint.name, tuple(rows), checkpoint, _sentences(quantization), notes=tuple(notes)
    )
    return _held_against(inspection, expected, config) if expected else inspection


def explain_config(config: dict[str, Any], name: str) -> Inspection:
    """What the published files of a config hold, without reading any. Raises WorkbookError for an unknown family."""
    rows = [_row(wanted.tensor, wanted, wanted.logical) for wanted in expectations(config).values()]
    notes = (say("Told from the config alone; no file was read."), *layout_notes(config))
    return Inspection(name, tuple(rows), None, _sentences(read_quantization(config)), notes=notes)


def _row(tensor: TensorEntry | StoredTensor, wanted: Expectation | None, logical: int | None) -> Row:
    """Component and layer are those of the config, or are read from the tensor's name."""
    return Row(
        tensor.name,
        tensor.dtype,
        tensor.shape,
        tensor.bytes,
        wanted.spec.component if wanted else component_of(tensor.name),
        wanted.spec.layer if wanted else layer_of(tensor.name),
        logical,
        math.prod(tensor.shape),
    )


def _sentences(quantization: Quantization | None) -> tuple[str, ...]:
    return tuple(quantization.sentences()) if quantization else ()


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
            say(
                "{count} tensors of the draft layer for multi-token prediction are not part of the model proper.",
                count=len(drafts),
            )
        )
    if duplicates and not checkpoint.folder:
        notes.append(
            say("The data was not fetched, so the copies are told by name and shape, not by content.")
        )
    held = [(row, expected[row.name].tensor) for row in inspection.rows if row.name in expected]
    if other := {row.dtype for row, tensor in held if row.dtype != tensor.dtype}:
        notes.append(
            say(
                "Some tensors are stored as {dtypes} where the config's dtype says otherwise.",
                dtypes=", ".join(sorted(other)),
            )
        )
    return replace(
        inspection,
        # A table stored twice is one set of parameters.
        rows=tuple(replace(row, logical=0) if row.name in doubled else row for row in inspection.rows),
        missing=tuple(sorted(expected.keys() - names)),
        extra=tuple(sorted(extra)),
        mismatches=tuple(
            Mismatch(row.name, row.shape, tensor.shape) for row, tensor in held if row.shape != tensor.shape
        ),
        duplicates=duplicates,
        notes=tuple(notes),
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


def require_sound(inspection: Inspection) -> None:
    """Raise WorkbookError naming the first things that do not fit; used by the command line for its exit code."""
    if inspection.sound:
        return
    if prefix := wrong_prefix(inspection.missing, inspection.extra):
        raise WorkbookError(prefix.text, remedy=prefix.remedy)
    parts = []
    if found := inspection.missing:
        parts.append(say("{n} tensors are missing (first: {first})", n=len(found), first=found[0]))
    if found := inspection.extra:
        parts.append(say("{n} tensors are left over (first: {first})", n=len(found), first=found[0]))
    if shapes := inspection.mismatches:
        first = "{a.name}, {a.left} / {a.right}".format(a=shapes[0])
        parts.append(say("{n} shapes differ (first: {first})", n=len(shapes), first=first))
    problems = inspection.checkpoint.problems if inspection.checkpoint else ()
    if not parts:
        first, count = problems[0].text, len(problems)
        raise WorkbookError(
            first
            if count == 1
            else say("{count} disagreements; the first: {first}", count=count, first=first),
            expected="an index and files that agree, and one set of weights.",
            remedy=problems[0].remedy,
        )
    together = say("Check that config.json and the weights belong together.")
    remedies = dict.fromkeys([together, *(problem.remedy for problem in problems)])
    parts += [problem.text for problem in problems[:1]]
    raise WorkbookError(
        say("{name} does not fit its config: {parts}.", name=inspection.name, parts=joined(parts)),
        expected="every tensor that the config calls for, in its shape, and no other.",
        remedy=joined(remedies, " "),
    )
