"""The tensors of a GGUF file: rows in llama.cpp's order, packed in their type, one tensor in memory at a time.

The arithmetic is that of the `gguf` package where llama.cpp's converter does it (F16, BF16, Q8_0), and of `libgguf`,
llama.cpp's own C, where `llama-quantize` does.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import fields
from exaone_nb.anatomy.gguf.names import gguf_family
from exaone_nb.anatomy.gguf.size import GgufPlan, GgufTensorPlan
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say

PLAIN = ("F32", "F16", "BF16")
CHUNK = 1 << 24  # weights that are in 32 bits at one time: 64 MiB


def tensor_values(folder: Path, plan: GgufPlan, config: dict[str, Any]) -> Iterator[np.ndarray]:
    """The bytes of every tensor, in the order of the plan."""
    from contextlib import ExitStack

    from safetensors import safe_open

    with ExitStack() as stack:
        places = {}
        for file in read_headers(folder).files:
            opened = stack.enter_context(safe_open(folder / file.name, framework="pt"))
            places |= dict.fromkeys(opened.keys(), opened)
        for tensor in plan.tensors:
            if not tensor.source:
                yield rope_factor_values(config)
                continue
            weights = places[tensor.source].get_tensor(tensor.source)
            yield _packed(_rotated(weights, tensor.name, config), tensor)


def _rotated(weights: Tensor, name: str, config: dict[str, Any]) -> Tensor:
    """Rows of queries and keys in the order of llama.cpp's rotation: [heads, halves, pairs] -> [heads, pairs, halves]."""
    part = name.split(".")[-2]
    if not gguf_family(config).rotated or part not in ("attn_q", "attn_k"):
        return weights
    query, key_value, _ = fields.heads(config)
    heads = query if part == "attn_q" else key_value
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _packed(weights: Tensor, tensor: GgufTensorPlan) -> np.ndarray:
    """The bytes of one tensor in its type, packed some rows at a time. Raises WorkbookError for values that are none."""
    rows = weights.reshape(-1, weights.shape[-1])
    size = tensor.type.tensor_bytes(rows.shape[1])
    packed = np.empty((rows.shape[0], size), np.uint8)
    step = max(1, CHUNK // rows.shape[1])
    for begin in range(0, rows.shape[0], step):
        values = rows[begin : begin + step].float().numpy()
        if not np.isfinite(values).all():
            raise WorkbookError(
                say("{name} holds values that are infinite or no number.", name=tensor.source),
                expected=say("finite weights."),
                remedy=say("The checkpoint is broken: take another one."),
            )
        packed[begin : begin + step] = _in_type(values, tensor).view(np.uint8).reshape(len(values), size)
    return packed


def _in_type(values: np.ndarray, tensor: GgufTensorPlan) -> np.ndarray:
    import gguf

    kind = gguf.GGMLQuantizationType(tensor.type.number)
    if tensor.type.name not in {*PLAIN, "Q8_0"}:
        import libgguf

        return libgguf.quantize_rows(values, kind)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(gguf.quants.quantize(values, kind))
    if tensor.type.name == "F16" and not np.isfinite(found).all():
        raise WorkbookError(
            say(
                "{name} holds {value:,.0f}, which F16 cannot hold.",
                name=tensor.source,
                value=float(np.abs(values).max()),
            ),
            expected=say("values up to 65,504."),
            remedy=say("Choose BF16."),
        )
    return found


def rope_factor_values(config: dict[str, Any]) -> np.ndarray:
    """Llama 3's scaling as llama.cpp stores it: one divisor per pair of a head, in 32 bits. [head_dim / 2]

    Pairs that turn fast keep their speed (1), slow ones are `factor` times slower, between them it is blended.
    (generate_extra_tensors of conversion/llama.py and exaone.py.)
    """
    import torch

    rope = fields.rope(config)
    dim = fields.heads(config)[2]
    turns = 1.0 / (rope.get("rope_theta", 10_000.0) ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    factor = rope.get("factor", 16.0 if config["model_type"] == "exaone4" else 8.0)
    low, high = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
    trained = rope.get("original_max_position_embeddings", 8192)
    found = []
    for turn in turns:
        length = 2 * math.pi / turn
        if length < trained / high:
            found.append(1)
        elif length > trained / low:
            found.append(factor)
        else:
            smooth = (trained / length - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found, dtype=torch.float32).numpy()
