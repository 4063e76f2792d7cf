"""Tied weights that were written twice.

A tied head is the embedding table. Some writers store it a second time under the head's name: LLM Compressor before
0.13 did after calibrating, and several published checkpoints do. The copy costs disk and download, not memory in
serving, because loaders tie it again.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from exaone_nb.anatomy.header import FileHeader, TensorEntry
from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.reader import Checkpoint

TABLES = ("embed_tokens", "wte")
CHUNK = 4 << 20
# Smaller tensors repeat by chance (norms of ones, shapes), so `equal_tensors` compares only larger ones.
SMALLEST = 65_536


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
    tables: dict[str, tuple[FileHeader, TensorEntry]] = {}
    heads: list[tuple[FileHeader, TensorEntry]] = []
    for file in checkpoint.files:
        for entry in file.entries:
            module, _, last = entry.name.rpartition(".")
            if module.endswith(TABLES):
                tables[last] = (file, entry)
            elif module.endswith("lm_head"):
                heads.append((file, entry))
    found = []
    for file, head in heads:
        other = tables.get(head.name.rpartition(".")[2])
        if other is None or (other[1].dtype, other[1].shape) != (head.dtype, head.shape):
            continue
        same = same_bytes(checkpoint, other, (file, head)) if checkpoint.folder is not None else None
        found.append(Duplicate(other[1].name, head.name, head.bytes, same))
    return tuple(found)


def equal_tensors(checkpoint: Checkpoint) -> list[list[str]]:
    """Groups of tensors of a local checkpoint with equal content, whatever they are called; small ones aside."""
    alike: dict[tuple[Any, ...], list[tuple[FileHeader, TensorEntry]]] = defaultdict(list)
    for file in checkpoint.files:
        with (checkpoint.folder / file.name).open("rb") as handle:
            for entry in file.entries:
                if entry.bytes >= SMALLEST:
                    handle.seek(8 + file.header_bytes + entry.begin)
                    start = sha256(handle.read(SMALLEST)).digest()
                    alike[entry.dtype, entry.shape, start].append((file, entry))
    found = []
    for first, *rest in alike.values():
        same = [other for other in rest if same_bytes(checkpoint, first, other)]
        if same:
            found.append([entry.name for _, entry in (first, *same)])
    return found


def same_bytes(
    checkpoint: Checkpoint, one: tuple[FileHeader, TensorEntry], two: tuple[FileHeader, TensorEntry]
) -> bool:
    """True when two tensors of a local checkpoint hold the same bytes; stops at the first difference."""
    with ExitStack() as stack:
        handles = []
        for file, entry in (one, two):
            handle = stack.enter_context((checkpoint.folder / file.name).open("rb"))
            handle.seek(8 + file.header_bytes + entry.begin)
            handles.append(handle)
        left = one[1].bytes
        while left:
            first, second = (handle.read(min(left, CHUNK)) for handle in handles)
            if first != second or not first:
                return False
            left -= len(first)
    return True
