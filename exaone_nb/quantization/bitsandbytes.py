"""What bitsandbytes leaves in a file: 4-bit codes in blocks of 64 weights, or 8-bit integers with a scale per row.

Read in bitsandbytes 0.50.2 (nn/modules.py, `QuantState.as_dict` in functional.py) and in what transformers 5.17 saves. The
shape of a matrix, its block size and its dtype stand as JSON in a tensor of bytes. With double quantization that JSON holds
a number of this very matrix, written out in digits, so that the file is known only to a few bytes per matrix.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from exaone_nb.messages import say
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.tensors import TORCH_DTYPES

METHOD = "bitsandbytes"
BLOCK, NESTED_BLOCK = 64, 256
QUANT_STATE = ".quant_state."
CODES = ("nf4", "fp4")
# A mean of scales as Python writes it: mostly 18 to 20 characters. A matrix's file differs by this many bytes at most.
USUAL_OFFSET = 0.0512345678912345678
OFFSET_BYTES = 4


@dataclass(frozen=True)
class Form:
    """`code` is nf4 or fp4, or int8; `double` rounds the scales of 4-bit codes to 8 bits as well."""

    code: str
    double: bool = False

    def sentence(self) -> str:
        """What a Linear becomes, in plain words."""
        if self.code == "int8":
            return say("Linear: int8 (bitsandbytes), one float32 scale per output channel.")
        if self.double:
            return say(
                "Linear: {code} (bitsandbytes), two weights per byte, one 8-bit scale per {block} weights and one float32 per "
                "{nested} scales.",
                code=self.code, block=BLOCK, nested=NESTED_BLOCK,
            )  # fmt: skip
        return say(
            "Linear: {code} (bitsandbytes), two weights per byte, one float32 scale per {block} weights.",
            code=self.code, block=BLOCK,
        )  # fmt: skip

    def stored(self, module: str, shape: tuple[int, int], dtype: str) -> list[StoredTensor]:
        """The tensors that replace `<module>.weight` [out, in] of a model in `dtype`."""
        if self.code == "int8":
            return [
                StoredTensor(f"{module}.weight", "I8", shape),
                StoredTensor(f"{module}.SCB", "F32", shape[:1]),
                StoredTensor(f"{module}.weight_format", "U8", ()),
            ]
        count, name = math.prod(shape), f"{module}.weight"
        blocks = math.ceil(count / BLOCK)
        state = {
            "quant_type": self.code,
            "blocksize": BLOCK,
            "dtype": next((long for long, short in TORCH_DTYPES.items() if short == dtype), dtype),
            "shape": list(shape),
        }
        found = [
            StoredTensor(name, "U8", (math.ceil(count / 2), 1)),
            StoredTensor(f"{name}.absmax", "U8" if self.double else "F32", (blocks,)),
            StoredTensor(f"{name}.quant_map", "F32", (16,)),
        ]
        if self.double:
            state |= {
                "nested_blocksize": NESTED_BLOCK,
                "nested_dtype": "float32",
                "nested_offset": USUAL_OFFSET,
            }
            found += [
                StoredTensor(f"{name}.nested_absmax", "F32", (math.ceil(blocks / NESTED_BLOCK),)),
                StoredTensor(f"{name}.nested_quant_map", "F32", (256,)),
            ]
        written = len(json.dumps(state))
        return [*found, StoredTensor(f"{name}{QUANT_STATE}bitsandbytes__{self.code}", "U8", (written,))]


def read_form(document: dict[str, Any]) -> Form | None:
    """The form that a quantization_config asks for; None for one whose storage is not known here."""
    if document.get("load_in_8bit") is True:
        return Form("int8")
    code = str(document.get("bnb_4bit_quant_type", "fp4"))
    if code not in CODES or document.get("bnb_4bit_quant_storage", "uint8") != "uint8":
        return None
    return Form(code, document.get("bnb_4bit_use_double_quant") is True)
