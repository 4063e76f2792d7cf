"""What vLLM 0.32 rounds matrices up to on the card, so that the weights there take more bytes than in the file.

    Marlin, Linear    (out, in) to multiples of (64, 128) or (128, 64), whichever is smaller; groups stay whole
                      (quantization/utils/marlin_utils.py, marlin_padded_nk)
    Marlin, experts   their width to a multiple of 64 and of the group (marlin_moe_padded_intermediate)
    MXFP4 experts     hidden to 256, width to 128 with Marlin (fused_moe/oracle/mxfp4.py,
                      mxfp4_round_up_hidden_size_and_intermediate_size). TRT-LLM's kernels on Blackwell round alike;
                      Triton's, which a Hopper card takes where triton_kernels is installed, round less.
    vocabulary        to a multiple of 64 (layers/vocab_parallel_embedding.py, pad_vocab_size)

A test asks vLLM's own functions.
"""

from math import lcm

VOCABULARY = 64


def up(size: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `size`."""
    return -(-size // step) * step


def marlin_linear(rows: int, columns: int, group: int = 0) -> tuple[int, int]:
    """(out, in) as Marlin holds a Linear; `group` is 0 for one scale per row."""
    choices = [(up(rows, n), up(columns, lcm(k, group or 1))) for n, k in ((64, 128), (128, 64))]
    return min(choices, key=lambda sides: (sides[0] * sides[1], sum(sides)))


def marlin_experts(width: int, group: int = 0) -> int:
    """The width of experts as Marlin holds them."""
    return up(width, lcm(64, group or 1))


def mxfp4_experts(hidden: int, width: int) -> tuple[int, int]:
    """(hidden, width) of MXFP4 experts as Marlin holds them."""
    return up(hidden, 256), up(width, 128)
