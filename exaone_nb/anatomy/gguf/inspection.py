"""One GGUF file explained from its header: tensors, types, bits per weight, tokenizer, template, and what does not fit."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.gguf.header import GgufFile, read_gguf
from exaone_nb.anatomy.gguf.names import GGUF_FAMILIES, ROPE_FACTORS, GgufFamily
from exaone_nb.anatomy.gguf.types import FILE_TYPES
from exaone_nb.anatomy.gguf.values import GgufList
from exaone_nb.anatomy.header import DOWNLOAD_AGAIN
from exaone_nb.anatomy.inspection import Inspection, Row
from exaone_nb.anatomy.names import component_of, layer_of
from exaone_nb.anatomy.reader import Folder
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

SUFFIX = ".gguf"
_NAMES = {number: name for name, (number, _) in FILE_TYPES.items()}


@dataclass(frozen=True)
class GgufInspection(Inspection):
    """What `inspect` found in a GGUF file. A weight is a parameter here: nothing is packed across tensors."""

    file: GgufFile | None = None

    @property
    def index_problems(self) -> tuple[str, ...]:
        """Where the keys and the tensors disagree."""
        return tuple(_disagreements(self.file))

    @property
    def bits_per_weight(self) -> float:
        """Bits of data per weight, over everything."""
        return self.total.bytes * 8 / max(self.total.elements, 1)

    def document(self) -> dict[str, Any]:
        """Plain data for --json."""
        file = self.file
        return super().document() | {
            "from": "header",
            "file_bytes": file.file_bytes,
            "files": [
                {
                    "name": file.name,
                    "file_bytes": file.file_bytes,
                    "header_bytes": file.header_bytes,
                    "data_bytes": file.data_bytes,
                    "padding_bytes": file.padding_bytes,
                }
            ],
            "version": file.version,
            "alignment": file.alignment,
            "bits_per_weight": round(self.bits_per_weight, 4),
            "keys": {name: _plain(value) for name, value in file.values.items()},
            "requests": file.requests,
            "wire_bytes": file.wire_bytes,
        }


def is_gguf(place: Place) -> bool:
    """True for a file or an address whose name says that it is a GGUF file."""
    return place.kind in ("file", "url") and place.name.lower().endswith(SUFFIX)


def inspect_gguf(place: Place | str | Path) -> GgufInspection:
    """Inspect a GGUF file on this disk or behind an address; only its header is read. Raises WorkbookError."""
    place = place if isinstance(place, Place) else resolve(place)
    if place.kind == "file":
        file = read_gguf(Folder(place.path), place.path.name)
    else:
        from exaone_nb.anatomy import remote

        source = remote.web(place.url)
        try:
            file = read_gguf(source, source.only)
        finally:
            source.close()
    return explain_gguf(file)


def explain_gguf(file: GgufFile) -> GgufInspection:
    """The inspection of a header that was read."""
    rows = tuple(
        Row(
            tensor.name,
            tensor.type.name,
            tensor.shape,
            tensor.bytes,
            component_of(tensor.name),
            layer_of(tensor.name),
            0 if tensor.name == ROPE_FACTORS else tensor.elements,
            tensor.elements,
        )
        for tensor in file.tensors
    )
    return GgufInspection(file.name, rows, None, notes=tuple(_notes(file)), file=file)


def require_consistent(inspection: GgufInspection) -> None:
    """Raise WorkbookError with the first thing in which the keys and the tensors disagree."""
    if problems := inspection.index_problems:
        raise WorkbookError(
            say(
                "{name} disagrees with itself in {count} places, first: {problem}.",
                name=inspection.name,
                count=len(problems),
                problem=problems[0],
            ),
            expected=say("keys and tensors of one model."),
            remedy=DOWNLOAD_AGAIN,
        )


def tokenizer_line(file: GgufFile) -> str:
    """The vocabulary in one sentence; empty for a file without one."""
    tokens, merges = _size(file, "tokens"), _size(file, "merges")
    if not tokens:
        return ""
    template = file.values.get("tokenizer.chat_template")
    return say(
        "tokenizer: {model}, cut {cut}, {tokens:,} tokens, {merges:,} merges, template of {letters:,} characters",
        model=file.values.get("tokenizer.ggml.model", "?"),
        cut=file.values.get("tokenizer.ggml.pre", "?"),
        tokens=tokens,
        merges=merges,
        letters=len(template) if isinstance(template, str) else 0,
    )


def kind_of(file: GgufFile) -> str:
    """Architecture and type of the file as its keys name them."""
    architecture = _text(file, "general.architecture")
    return say("{architecture}, {kind}", architecture=architecture, kind=type_of(file))


def type_of(file: GgufFile) -> str:
    """Type of the file as its keys name it, as Q4_K_M."""
    number = file.values.get("general.file_type")
    return _NAMES.get(number, say("type {number}", number="?" if number is None else number))


def _text(file: GgufFile, key: str) -> str:
    value = file.values.get(key)
    return value if isinstance(value, str) else "?"


def _family(file: GgufFile) -> GgufFamily | None:
    name = _text(file, "general.architecture")
    return next((each for each in GGUF_FAMILIES.values() if each.architecture == name), None)


def _size(file: GgufFile, name: str) -> int:
    value = file.values.get(f"tokenizer.ggml.{name}")
    return value.count if isinstance(value, GgufList) else 0


def _plain(value: Any) -> Any:
    """A value of a key for JSON, which knows no infinity and no NaN."""
    if isinstance(value, GgufList):
        first = [_plain(item) for item in value.first]
        return {"type": value.type, "count": value.count, "bytes": value.bytes, "first": first}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _notes(file: GgufFile) -> list[str]:
    notes = []
    if not isinstance(file.values.get("general.architecture"), str):
        notes.append(say("There is no general.architecture: llama.cpp will not load this file."))
    elif _family(file) is None:
        notes.append(
            say(
                "Architecture {name} is not laid out here: the tensors cannot be held against the keys.",
                name=_text(file, "general.architecture"),
            )
        )
    parts = file.values.get("split.count")
    if isinstance(parts, int) and parts > 1:
        notes.append(
            say(
                "This is part {number} of {parts} of a model; the other parts were not read.",
                number=_part_number(file),
                parts=parts,
            )
        )
    return notes


def _part_number(file: GgufFile) -> int | str:
    number = file.values.get("split.no", 0)
    return number + 1 if isinstance(number, int) else "?"


def _disagreements(file: GgufFile) -> list[str]:
    """Where keys and tensors of a family that is known here do not belong together."""
    name, family = _text(file, "general.architecture"), _family(file)
    parts = file.values.get("split.count", 1)
    if family is None or not file.tensors or (isinstance(parts, int) and parts > 1):
        return []
    shapes = {tensor.name: tensor.shape for tensor in file.tensors}
    key = partial("{}.{}".format, name)
    layers, width = file.values.get(key("block_count")), file.values.get(key("embedding_length"))
    if not isinstance(layers, int) or not isinstance(width, int):
        return [say("there is no {name}.block_count or {name}.embedding_length", name=name)]
    problems = []
    stored = {layer for layer in map(layer_of, shapes) if layer is not None}
    if layers != len(stored) or max(stored, default=-1) != layers - 1:
        problems.append(
            say("{name}.block_count is {layers:,}, the tensors are of {count:,} layers", name=name, layers=layers, count=len(stored))
        )  # fmt: skip
    else:
        wanted = ["token_embd.weight", "output_norm.weight"]
        wanted += [f"blk.{layer}.{part}.weight" for layer in range(layers) for part in family.parts.values()]
        problems += [say("there is no {tensor}", tensor=tensor) for tensor in wanted if tensor not in shapes]
    table = shapes.get("token_embd.weight")
    tokens = _size(file, "tokens")
    if table is not None and (len(table) != 2 or table[1] != width):
        problems.append(
            say("{name}.embedding_length is {width:,}, the embedding is {shape}", name=name, width=width, shape=" x ".join(map(str, table)))
        )  # fmt: skip
    elif table is not None and tokens and table[0] != tokens:
        problems.append(
            say("the vocabulary has {tokens:,} tokens, the embedding {rows:,} rows", tokens=tokens, rows=table[0])
        )  # fmt: skip
    return problems
