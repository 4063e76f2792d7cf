"""One tensor of a model as its layout describes it, and the sizes of the safetensors dtypes."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["linear", "embedding", "norm", "head", "other"]

# Bits per element of every dtype that the safetensors format names (safetensors/src/tensor.rs). The order is the
# format's own: a writer sorts tensors by it, last one first, so that wide elements stay aligned.
DTYPE_BITS: dict[str, int] = {
    "BOOL": 8,
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
}

# What configs call their dtype, in the names of the file format.
TORCH_DTYPES = {
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "float": "F32",
    "half": "F16",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor that a config calls for, before any quantization.

    `module` is the name of the module that owns it (the tensor's name without the last part). `layer` is the
    decoder layer or None. `buffer` marks what is stored but is not a parameter.
    """

    name: str
    shape: tuple[int, ...]
    component: str
    layer: int | None
    module: str
    kind: Kind
    dtype: str = ""  # empty: the model's own dtype
    buffer: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@cache
def bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Stored bytes of a tensor; sub-byte dtypes must fill whole bytes."""
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8:
        raise ValueError(f"{dtype} {shape} does not fill whole bytes")
    return bits // 8
