"""Exercises of the chapter on config and tensors: where the data begins, what a tensor weighs, which shape it has."""

import math
from collections.abc import Sequence

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1}


def data_begins(header_length: int) -> int:
    """The first byte of a safetensors file that is data."""
    return 8 + header_length


def tensor_bytes(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a tensor. Dtypes: F32, BF16, F16, I8."""
    return math.prod(shape) * BYTES[dtype]


def q_proj_shape(hidden_size: int, num_attention_heads: int, head_dim: int) -> tuple[int, int]:
    """Shape of q_proj.weight, as torch stores a Linear: outputs first."""
    return num_attention_heads * head_dim, hidden_size


EXERCISES = (
    Exercise(
        data_begins,
        [(1_000,), (83_000,)],
        [
            (lambda header_length: header_length,
             say("you forgot the eight bytes in front that hold the length.")),
            (lambda header_length: header_length + 1,
             say("the length is written in eight bytes, not in one.")),
        ],
    ),
    Exercise(
        tensor_bytes,
        [((4, 3), "F32"), ((102_400, 2_048), "BF16"), ((128,), "I8")],
        [
            (lambda shape, dtype: 8 * tensor_bytes(shape, dtype),
             say("these are bits: eight of them make a byte.")),
            (lambda shape, dtype: tensor_bytes(shape, "I8"),
             say("you counted the numbers; each takes as many bytes as its dtype says.")),
            (lambda shape, dtype: tensor_bytes(shape, "BF16"),
             say("not every tensor is 16-bit: ask the dtype.")),
            (lambda shape, dtype: sum(shape) * BYTES[dtype],
             say("the sides of a shape are multiplied, not added.")),
        ],
    ),
    Exercise(
        q_proj_shape,
        [(2_048, 32, 64), (5_120, 40, 128), (1_024, 16, 128)],
        [
            (lambda hidden, heads, head_dim: (hidden, heads * head_dim),
             say("inputs and outputs are swapped: torch stores a Linear with its outputs first.")),
            (lambda hidden, heads, head_dim: (hidden, hidden),
             say("heads times head_dim need not be the hidden size; the last input shows it.")),
            (lambda hidden, heads, head_dim: (head_dim, hidden),
             say("that is one head. q_proj computes all of them at once.")),
        ],
    ),
)  # fmt: skip
