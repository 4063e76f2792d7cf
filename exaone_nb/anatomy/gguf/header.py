"""The header of a GGUF file, read strictly.

    4 bytes    GGUF, then the version (u32), the number of tensors (u64) and the number of keys (u64)
    keys       name, type, value; a string is its length (u64) and its bytes, an array its type, length and items
    tensors    name, number of sides (u32), sides (u64, the row first), type (u32), offset into the data (u64)
    the rest   the data of the tensors, each at a multiple of general.alignment, in the order of the list

A header comes from strangers: every length is held against the file's size before anything is read for it, lists are
counted and not kept, and what does not add up is refused with what was found. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what is refused beside follows llama.cpp b10359
(ggml/src/gguf.cpp).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.gguf.cursor import FIRST_READ, Cursor, broken
from exaone_nb.anatomy.gguf.types import BY_NUMBER, GgufTensor, padded
from exaone_nb.anatomy.gguf.values import alignment_of, read_values
from exaone_nb.anatomy.header import DOWNLOAD_AGAIN, LARGEST_OFFSET, LONGEST_HEADER, refuse_other_kinds
from exaone_nb.anatomy.layouts import MOST_TENSORS
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.reader import Folder
    from exaone_nb.anatomy.remote import Web

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_KEYS = 100_000  # a long list is one key; files have some dozens
MOST_SIDES = 4
LONGEST_TENSOR_NAME = 63  # GGML_MAX_NAME is 64, with the zero at the end
LEAST_KEY, LEAST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8  # bytes of the shortest one that can be written


@dataclass(frozen=True, slots=True)
class PlacedTensor(GgufTensor):
    """A tensor of a header; `begin` counts from the start of the data."""

    begin: int


@dataclass(frozen=True)
class GgufFile:
    """The header of one file. header_bytes + data_bytes + padding_bytes is the file's size, or reading would have failed."""

    name: str
    version: int
    alignment: int
    file_bytes: int
    header_bytes: int
    values: dict[str, Any]
    tensors: tuple[PlacedTensor, ...]
    requests: int = 0
    wire_bytes: int = 0

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def padding_bytes(self) -> int:
        """Unused bytes between header and tensors, and behind them."""
        return self.file_bytes - self.header_bytes - self.data_bytes


def read_gguf(source: Folder | Web, name: str) -> GgufFile:
    """Read the header of one GGUF file; none of its data.

    Raises WorkbookError for a file that is something else, another version or byte order, a length or count that the
    file has no room for, text that is not UTF-8, a key or tensor that is there twice, an unknown type, sides that
    overflow or do not divide into blocks, offsets that do not follow each other, and a file that ends early or late.
    """
    first, file_bytes = source.start(name, FIRST_READ)
    refuse_other_kinds(first, name, "a GGUF file.", but=MAGIC)
    cursor = Cursor(source, name, first, file_bytes)
    if first[:4] != MAGIC:
        raise WorkbookError(
            say("{name} is no GGUF file.", name=name),
            expected=say("a file that begins with GGUF."),
            remedy=DOWNLOAD_AGAIN,
        )
    cursor.take(4, say("magic"))
    version = cursor.number("I", say("version"))
    _check_version(version, name)
    tensor_count, key_count = cursor.number("Q", say("counts")), cursor.number("Q", say("counts"))
    left = min(file_bytes, LONGEST_HEADER) - cursor.position
    claim = {"name": name, "keys": key_count, "tensors": tensor_count}
    if key_count * LEAST_KEY + tensor_count * LEAST_TENSOR > left:
        raise broken(
            say("{name} claims {keys:,} keys and {tensors:,} tensors, for which it has no room.", **claim)
        )
    if key_count > MOST_KEYS or tensor_count > MOST_TENSORS:
        raise broken(
            say("{name} claims {keys:,} keys and {tensors:,} tensors, more than any model has.", **claim)
        )
    values = read_values(cursor, key_count)
    alignment = alignment_of(values, name)
    tensors = [_tensor(cursor) for _ in range(tensor_count)]
    _check_cover(tensors, padded(cursor.position, alignment), alignment, file_bytes, name)
    return GgufFile(
        name,
        version,
        alignment,
        file_bytes,
        cursor.position,
        values,
        tuple(tensors),
        source.requests,
        source.wire_bytes,
    )


def _check_version(version: int, name: str) -> None:
    if version in VERSIONS:
        return
    if version and version & 0xFFFF == 0:
        raise WorkbookError(
            say("{name} is a GGUF file of the other byte order (big-endian).", name=name),
            expected=say("a little-endian file."),
            remedy=say(
                "Convert it with gguf_convert_endian.py of llama.cpp, or take the little-endian file."
            ),
        )
    raise WorkbookError(
        say("{name} is a GGUF file of version {version}.", name=name, version=version),
        expected=say("version 2 or 3."),
        remedy=say("Make it anew with a present llama.cpp.") if version < VERSIONS[0] else DOWNLOAD_AGAIN,
    )


def _tensor(cursor: Cursor) -> PlacedTensor:
    tensor = cursor.text(say("the name of a tensor"))
    fields = {"name": cursor.name, "tensor": tensor}
    if not tensor or len(tensor.encode()) > LONGEST_TENSOR_NAME:
        raise broken(say("The header of {name} has a tensor with the name {tensor!r}.", **fields))
    sides = cursor.number("I", tensor)
    if sides > MOST_SIDES:
        raise broken(say("The header of {name} gives {tensor!r} {sides:,} sides.", sides=sides, **fields))
    shape = tuple(cursor.number("Q", tensor) for _ in range(sides))[::-1]
    if math.prod(shape) >= LARGEST_OFFSET or any(side >= LARGEST_OFFSET for side in shape):
        raise broken(say("The header of {name} gives {tensor!r} more than 2**63 elements.", **fields))
    number, begin = cursor.number("I", tensor), cursor.number("Q", tensor)
    if number not in BY_NUMBER:
        raise broken(
            say("The header of {name} gives {tensor!r} the unknown type {number}.", number=number, **fields)
        )
    kind = BY_NUMBER[number]
    if (row := shape[-1] if shape else 1) % kind.block:
        raise broken(
            say(
                "The header of {name} gives {tensor!r} rows of {row:,}, which do not divide into the blocks of {block} "
                "of {type}.",
                row=row,
                block=kind.block,
                type=kind.name,
                **fields,
            )
        )
    return PlacedTensor(tensor, kind, shape, begin)


def _check_cover(
    tensors: list[PlacedTensor], data_start: int, alignment: int, file_bytes: int, name: str
) -> None:
    """Names are all different, offsets follow each other, and the file ends where the last tensor does."""
    seen: set[str] = set()
    position = end = 0
    for tensor in tensors:
        if tensor.name in seen:
            raise broken(
                say("The header of {name} has the tensor {tensor!r} twice.", name=name, tensor=tensor.name)
            )
        seen.add(tensor.name)
        if tensor.begin != position:
            raise broken(
                say(
                    "The header of {name} puts {tensor!r} at {begin:,}, where {position:,} follows the one before.",
                    name=name,
                    tensor=tensor.name,
                    begin=tensor.begin,
                    position=position,
                )
            )
        end = position + tensor.bytes
        position = padded(end, alignment)
    if not tensors:
        return
    least, most = data_start + end, data_start + position
    if not least <= file_bytes <= most:
        fields = {"name": name, "total": file_bytes, "least": least}
        raise WorkbookError(
            say("{name} has {total:,} bytes; its header describes {least:,}.", **fields),
            expected=say("a file that ends with its last tensor."),
            remedy="The download stopped early: download the file again."
            if file_bytes < least
            else DOWNLOAD_AGAIN,
        )
