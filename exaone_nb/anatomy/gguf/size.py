"""The bytes of a GGUF file before it exists.

    24 bytes of magic, version and counts + the keys + the list of tensors, filled up to 32
    + every tensor, each filled up to 32

The keys hold the vocabulary, so a config alone settles the list of tensors and their data to the byte and leaves the
keys open; with a tokenizer beside it the whole file is settled.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.gguf.names import ROPE_FACTORS, gguf_family, gguf_name
from exaone_nb.anatomy.gguf.rule import GgufShape, file_type, tensor_types
from exaone_nb.anatomy.gguf.types import BLOCK_TYPES, GgufTensor, padded
from exaone_nb.anatomy.layouts import expected_tensors

START = 4 + 4 + 8 + 8  # magic, version, number of tensors, number of keys
STRING_LENGTH = 8


@dataclass(frozen=True, slots=True)
class GgufTensorPlan(GgufTensor):
    """One tensor of a file to be written; `source` is its name in the checkpoint, empty for what is computed."""

    source: str

    @property
    def listed_bytes(self) -> int:
        """Bytes of its line in the header: name, number of sides, sides, type, offset."""
        return STRING_LENGTH + len(self.name.encode()) + 4 + 8 * len(self.shape) + 4 + 8


@dataclass(frozen=True)
class GgufPlan:
    """A file to be written, in the order of the checkpoint. `key_bytes` is None when no tokenizer settles the keys."""

    kind: str
    tensors: tuple[GgufTensorPlan, ...]
    key_bytes: int | None = None

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors, each filled up to the alignment: all of the file behind its header."""
        return sum(padded(tensor.bytes) for tensor in self.tensors)

    @property
    def listed_bytes(self) -> int:
        """Bytes of the start and of the list of tensors: all of the header but the keys."""
        return START + sum(tensor.listed_bytes for tensor in self.tensors)

    @property
    def file_bytes(self) -> int | None:
        """Bytes of the file; None without `key_bytes`."""
        if self.key_bytes is None:
            return None
        return padded(self.listed_bytes + self.key_bytes) + self.data_bytes

    @property
    def weights(self) -> int:
        """Weights in the file; what is computed from the config is none."""
        return sum(tensor.elements for tensor in self.tensors if tensor.source)

    @property
    def bits_per_weight(self) -> float:
        """Bits of data per weight, over everything."""
        return sum(tensor.bytes for tensor in self.tensors) * 8 / self.weights

    def types(self) -> dict[str, int]:
        """Number of tensors by type, most frequent first."""
        return dict(Counter(tensor.type.name for tensor in self.tensors).most_common())


def plan_gguf(
    config: dict[str, Any],
    kind: str,
    *,
    stored: dict[str, tuple[int, ...]] | None = None,
    untied_head: bool = False,
) -> GgufPlan:
    """The tensors of a GGUF file of type `kind`; its keys are left open.

    `stored` are the tensors of the checkpoint (name -> shape, in the order of its files); without it, those that the
    config calls for, and with `untied_head` a tied head a second time, as some published files have it. Raises
    UsageError for an unknown type, WorkbookError for a family that is not known here or a tensor that has no place.
    """
    kind, family = file_type(kind), gguf_family(config)
    if stored is None:
        specs = expected_tensors(fields.unquantized(config))
        stored = {spec.name: spec.shape for spec in specs}
        if untied_head:
            stored["lm_head.weight"] = next(spec.shape for spec in specs if spec.kind == "embedding")
    named = {gguf_name(name, family): name for name in stored}
    named.pop(None, None)
    shapes = {name: stored[source] for name, source in named.items()}
    types = tensor_types(shapes, kind, GgufShape.of(config))
    tensors = [
        GgufTensorPlan(name, BLOCK_TYPES[types[name]], shape, named[name]) for name, shape in shapes.items()
    ]
    if factors := _rope_factors(config):
        tensors.insert(0, GgufTensorPlan(ROPE_FACTORS, BLOCK_TYPES["F32"], (factors,), ""))
    return GgufPlan(kind, tuple(tensors))


def _rope_factors(config: dict[str, Any]) -> int:
    """How many factors the file stores for rope scaling of Llama 3's kind (half of head_dim); 0 for other kinds."""
    rope = fields.rope(config)
    kind = str(rope.get("rope_type", rope.get("type"))).lower()
    return 0 if kind != "llama3" or config["model_type"] == "qwen3" else fields.heads(config)[2] // 2
