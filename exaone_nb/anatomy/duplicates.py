"""Tied weights that were written twice.

A tied head is the embedding table. Some writers store it a second time under the head's name: LLM Compressor before
0.13 did after calibrating, and several published checkpoints do. The copy costs disk and download, not memory in
serving, because loaders tie it again.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from operator import eq
from typing import Any

from exaone_nb.anatomy.header import FileHeader, TensorEntry
from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.reader import Checkpoint

TABLES = ("embed_tokens", "wte")
CHUNK = 4 << 20
# Smaller tensors repeat by chance (norms of ones, shapes), so `equal_tensors` compares only larger ones.
SMALLEST = 65_536
Location = tuple[FileHeader, TensorEntry]


@dataclass(frozen=True)
class Duplicate:
    """`copy` repeats `original`. `same_content` is None when the data is not on this disk."""

    original: str
    copy: str
    bytes: int
    same_content: bool | None


def find_duplicates(checkpoint: Checkpoint, config: dict[str, Any]) -> tuple[Duplicate, ...]:
    """Head tensors of a tied model that repeat the embedding's: by name, dtype and shape, and byte for byte if local."""
    if not is_tied(config):
        return ()
    tables: dict[tuple[Any, ...], Location] = {}
    heads: list[tuple[tuple[Any, ...], Location]] = []
    for file in checkpoint.files:
        for entry in file.entries:
            module, _, last = entry.name.rpartition(".")
            kind = (last, entry.dtype, entry.shape)
            if module.endswith(TABLES):
                tables[kind] = (file, entry)
            elif module.endswith("lm_head"):
                heads.append((kind, (file, entry)))
    return tuple(
        Duplicate(
            tables[kind][1].name,
            head[1].name,
            head[1].bytes,
            same_bytes(checkpoint, tables[kind], head) if checkpoint.folder is not None else None,
        )
        for kind, head in heads
        if kind in tables
    )


def equal_tensors(checkpoint: Checkpoint) -> list[list[str]]:
    """Groups of tensors of a local checkpoint with equal content, whatever they are called; small ones aside."""
    alike: dict[tuple[Any, ...], list[Location]] = defaultdict(list)
    for file in checkpoint.files:
        for entry in file.entries:
            if entry.bytes >= SMALLEST:
                start = sha256(next(_content(checkpoint, (file, entry), SMALLEST))).digest()
                alike[entry.dtype, entry.shape, start].append((file, entry))
    found = []
    for first, *rest in alike.values():
        same = [other for other in rest if same_bytes(checkpoint, first, other)]
        if same:
            found.append([entry.name for _, entry in (first, *same)])
    return found


def same_bytes(checkpoint: Checkpoint, one: Location, two: Location) -> bool:
    """True when two tensors of a local checkpoint hold the same bytes; stops at the first difference."""
    return all(map(eq, *(_content(checkpoint, place, CHUNK) for place in (one, two))))


def _content(checkpoint: Checkpoint, place: Location, chunk: int) -> Iterator[bytes]:
    """The bytes of a tensor in pieces of `chunk`."""
    file, entry = place
    with (checkpoint.folder / file.name).open("rb") as handle:
        handle.seek(8 + file.header_bytes + entry.begin)
        for position in range(0, entry.bytes, chunk):
            yield handle.read(min(chunk, entry.bytes - position))
