"""What a GGUF file is made of: types of values, types of tensors with their blocks, and types of files.

Read in llama.cpp b10359: ggml/include/gguf.h, ggml/include/ggml.h, ggml/src/ggml-common.h and include/llama.h. A tensor
type packs `block` neighbours of one row into `bytes` bytes, so a row must divide into blocks.
"""

import math
from dataclasses import dataclass

ALIGNMENT = 32  # of tensors, where the file does not say general.alignment


@dataclass(frozen=True, slots=True)
class BlockType:
    """One type of tensor: `block` elements take `bytes` bytes. `number` is how the file calls it."""

    name: str
    number: int
    block: int
    bytes: int

    def tensor_bytes(self, elements: int) -> int:
        """Bytes of `elements` elements, which fill whole blocks."""
        return elements // self.block * self.bytes


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor of a file. `shape` is in the order of torch, rows first."""

    name: str
    type: BlockType
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of its data, without what fills up to the next one."""
        return self.type.tensor_bytes(self.elements)


# name: number in the file, elements per block, bytes per block
_BLOCKS = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "Q8_K": (15, 256, 292),
    "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98),
    "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110),
    "IQ2_S": (22, 256, 82),
    "IQ4_XS": (23, 256, 136),
    "I8": (24, 1, 1),
    "I16": (25, 1, 2),
    "I32": (26, 1, 4),
    "I64": (27, 1, 8),
    "F64": (28, 1, 8),
    "IQ1_M": (29, 256, 56),
    "BF16": (30, 1, 2),
    "TQ1_0": (34, 256, 54),
    "TQ2_0": (35, 256, 66),
    "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36),
    "Q1_0": (41, 128, 18),
    "Q2_0": (42, 64, 18),
}
BLOCK_TYPES = {name: BlockType(name, *sizes) for name, sizes in _BLOCKS.items()}
BY_NUMBER = {each.number: each for each in BLOCK_TYPES.values()}

STRING, ARRAY = "string", "array"
# Number in the file -> name, and struct's letter for a value of that type.
VALUE_TYPES = {
    0: ("u8", "B"),
    1: ("i8", "b"),
    2: ("u16", "H"),
    3: ("i16", "h"),
    4: ("u32", "I"),
    5: ("i32", "i"),
    6: ("f32", "f"),
    7: ("bool", "B"),
    8: (STRING, ""),
    9: (ARRAY, ""),
    10: ("u64", "Q"),
    11: ("i64", "q"),
    12: ("f64", "d"),
}

# What --gguf takes: type of the file -> its number (llama_ftype), and the type that its matrices get by default.
FILE_TYPES = {
    "F16": (1, "F16"),
    "BF16": (32, "BF16"),
    "Q8_0": (7, "Q8_0"),
    "Q6_K": (18, "Q6_K"),
    "Q5_K_M": (17, "Q5_K"),
    "Q4_K_M": (15, "Q4_K"),
    "Q4_0": (2, "Q4_0"),
    "IQ4_XS": (30, "IQ4_XS"),
    "Q3_K_M": (12, "Q3_K"),
    "Q2_K": (10, "Q2_K"),
}
# llama.cpp's converter writes these itself; the others are made from its file by llama-quantize.
CONVERTER_TYPES = ("F16", "BF16", "Q8_0")


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return size + -size % alignment
