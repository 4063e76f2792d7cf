"""The safetensors file format, written: the order of tensors, the header's bytes, the split into shards.

    8 bytes    length N of the header, little-endian
    N bytes    JSON: name -> dtype, shape, data_offsets; padded with spaces to a multiple of 8
    the rest   the tensors' bytes, without gaps

Format: https://github.com/huggingface/safetensors (README and safetensors/src/tensor.rs). Split: huggingface_hub
serialization/_base.py, which fills shards in the order of the state dict.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.tensors import DTYPE_BITS

_RANK = {dtype: rank for rank, dtype in enumerate(DTYPE_BITS)}
METADATA = {"format": "pt"}


def header_json(tensors: Sequence[StoredTensor]) -> bytes:
    """The header a writer makes: widest dtype first, then by name; offsets count from the end of the header."""
    entries: dict[str, Any] = {"__metadata__": METADATA}
    offset = 0
    for tensor in sorted(tensors, key=lambda t: (-_RANK[t.dtype], t.name)):
        place = [offset, offset + tensor.bytes]
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": place}
        offset = place[1]
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a checkpoint."""

    name: str
    tensors: tuple[StoredTensor, ...]
    header_bytes: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def file_bytes(self) -> int:
        """Length field, header and data."""
        return 8 + self.header_bytes + self.data_bytes


def split(tensors: Sequence[StoredTensor], max_shard_size: int) -> list[list[StoredTensor]]:
    """Fill shards in order; a tensor larger than the limit gets a shard of its own."""
    shards: list[list[StoredTensor]] = []
    current: list[StoredTensor] = []
    room = max_shard_size
    for tensor in tensors:
        if tensor.bytes > max_shard_size:
            shards.append([tensor])
            continue
        if tensor.bytes > room:
            shards.append(current)
            current, room = [], max_shard_size
        current.append(tensor)
        room -= tensor.bytes
    if current:
        shards.append(current)
    return shards


def write_plan(tensors: Sequence[StoredTensor], max_shard_size: int) -> list[Shard]:
    """The files that a save makes, with the names transformers gives them."""
    parts = split(tensors, max_shard_size)
    count = len(parts)
    return [
        Shard(
            "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors",
            tuple(part),
            len(header_json(part)),
        )
        for number, part in enumerate(parts, 1)
    ]
