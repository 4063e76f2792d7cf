"""llama.cpp's rule: which tensor of a GGUF file gets which type.

Read in llama.cpp b10359. Its converter (conversion/base.py, `prepare_tensors`) writes F16, BF16 and Q8_0: one type for
all matrices, F32 for vectors and norms. `llama-quantize` (src/llama-quant.cpp, `llama_tensor_get_type_impl` and
`tensor_type_fallback`) makes the others from such a file: values, the down projection and the output of attention get
more bits in some layers, the table that gives the logits gets Q6_K, and a row that the blocks do not divide another
type (F16 where 32 does not divide it; b10359 stops there, v0.4.0 goes on). Told here without an importance matrix
and for models without experts.
"""

import re
from dataclasses import dataclass
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.gguf.names import gguf_family
from exaone_nb.anatomy.gguf.types import BLOCK_TYPES, CONVERTER_TYPES, FILE_TYPES
from exaone_nb.errors import UsageError
from exaone_nb.messages import did_you_mean, say

# A row that the blocks of the first do not divide is stored as the second (tensor_type_fallback).
FALLBACK = {
    "IQ4_XS": "IQ4_NL",
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class GgufShape:
    """What the rule asks of a model: layers, how many query heads share one key-value head, and the exception for 70B."""

    layers: int
    group: int
    is_70b: bool = False

    @classmethod
    def of(cls, config: dict[str, Any]) -> "GgufShape":
        """The shape that a config describes."""
        query, key_value, _ = fields.heads(config)
        layers = fields.layers(config)
        seventy = gguf_family(config).architecture == "llama" and layers == 80 and query != key_value
        return cls(layers, query // key_value, seventy)


def file_type(name: str) -> str:
    """The type of a file as FILE_TYPES spells it. Raises UsageError for one that is not known."""
    spelled = name.upper().replace("-", "_")
    if spelled not in FILE_TYPES:
        raise UsageError(
            say("No GGUF type {name!r}.", name=name),
            expected=", ".join(FILE_TYPES) + ".",
            remedy=did_you_mean(spelled, FILE_TYPES),
        )
    return spelled


def tensor_types(shapes: dict[str, tuple[int, ...]], kind: str, model: GgufShape) -> dict[str, str]:
    """Type of every tensor (by its name in GGUF) in a file of type `kind`."""
    tied = "output.weight" not in shapes
    layers_with_values = sum("attn_v.weight" in name for name in shapes)
    return {
        name: _plain(shape, kind)
        if kind in CONVERTER_TYPES or not _is_quantized(name, shape)
        else _fitting(shape, _wanted(name, shape, kind, model, tied, layers_with_values))
        for name, shape in shapes.items()
    }


def _is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and name.endswith("weight") and "_norm.weight" not in name


def _plain(shape: tuple[int, ...], kind: str) -> str:
    """What the converter gives a tensor."""
    if len(shape) < 2:
        return "F32"
    wanted = FILE_TYPES[kind][1]
    return "F16" if shape[-1] % BLOCK_TYPES[wanted].block else wanted


def _wanted(
    name: str, shape: tuple[int, ...], kind: str, model: GgufShape, tied: bool, layers_with_values: int
) -> str:
    """What llama-quantize would give a matrix if every row divided into blocks."""
    default = FILE_TYPES[kind][1]
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return "Q8_0" if shape[-1] % BLOCK_TYPES[default].block else "Q6_K"
    found = _LAYER.match(name)
    layer = int(found[1]) if found else 0
    if "attn_v.weight" in name:
        return _values(kind, default, model, layer, layers_with_values)
    if "ffn_down" in name:
        return _down(kind, default, layer, model.layers)
    if "attn_output.weight" in name:
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K"}.get(kind, default)
    return default


def _values(kind: str, default: str, model: GgufShape, layer: int, layers: int) -> str:
    if kind == "Q2_K":
        wanted = "Q4_K" if model.group >= 4 else "Q3_K"
    elif kind == "Q3_K_M":
        wanted = "Q5_K" if layer < 2 else "Q4_K"
    elif kind == "IQ4_XS" and model.group >= 4:
        wanted = "Q5_K"
    elif kind in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, layers):
        wanted = "Q6_K"
    else:
        wanted = default
    return "Q5_K" if model.is_70b and wanted in ("Q3_K", "Q4_K") else wanted


def _down(kind: str, default: str, layer: int, layers: int) -> str:
    if kind == "Q2_K":
        return "Q3_K"
    if kind == "Q3_K_M":
        return "Q5_K" if layer < layers // 16 else "Q4_K"
    if kind == "IQ4_XS" and layer < layers // 8:
        return "Q5_K"
    if kind in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, layers):
        return "Q6_K"
    return default


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between them."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _fitting(shape: tuple[int, ...], wanted: str) -> str:
    """`wanted`, or what llama.cpp stores instead when the row does not divide into its blocks, or into those of 32."""
    for kind in (wanted, FALLBACK.get(wanted, wanted)):
        if shape[-1] % BLOCK_TYPES[kind].block == 0:
            return kind
    return "F16"
