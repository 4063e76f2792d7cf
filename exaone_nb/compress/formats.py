"""Number formats: the values a few bits can stand for, rounding to them, and reading what is stored.

A quantized weight is an index into a grid, and a scale that stretches the grid: w ~ scale * grid[q]. The formats
differ in the grid (evenly spaced integers, or floats that are denser near zero) and in how many weights share a
scale (a tensor, an output channel, a group of inputs). Weights are [out, in]; groups run along the inputs.
"""

from pathlib import Path

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.library_types import Tensor, dtype
from exaone_nb.messages import say

# Each format's value that is put on the largest weight that shares a scale; for integers halfway beyond the top code, as
# llm-compressor does it.
TOPS = {"int4": 7.5, "int8": 127.5, "fp8_e4m3": 448.0, "fp4_e2m1": 6.0}


def grid(name: str) -> np.ndarray:
    """All values of a format, ascending, without its scale. Raises UsageError for an unknown name."""
    if name == "int8":
        return np.arange(-128.0, 128)
    if name in ("int4", "int4 asymmetric"):
        return np.arange(-8.0, 8)
    if name == "fp4_e2m1":
        return _float_grid(exponent_bits=2, mantissa_bits=1, bias=1)
    if name == "fp8_e4m3":
        # The "fn" variant: no infinities, and only the topmost code is NaN, so 448 is the largest value.
        return _float_grid(exponent_bits=4, mantissa_bits=3, bias=7, largest=448)
    raise UsageError(
        say("No number format {name!r}.", name=name), expected=say("one of {names}.", names=", ".join(TOPS))
    )


def _float_grid(exponent_bits: int, mantissa_bits: int, bias: int, largest: float = np.inf) -> np.ndarray:
    exponent, mantissa = np.divmod(np.arange(2 ** (exponent_bits + mantissa_bits)), 2**mantissa_bits)
    # Exponent 0 is subnormal: no hidden one, and the same step as exponent 1.
    values = (mantissa / 2**mantissa_bits + (exponent > 0)) * 2.0 ** (np.maximum(exponent, 1) - bias)
    values = values[values <= largest]
    return np.unique([-values, values])


def fit(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | float]:
    """Scale and zero point, each [..., 1], that stretch a format's grid over each last axis: w ~ (q - zero) * scale.

    The largest magnitude reaches the end of the grid. "int4 asymmetric" lays its 16 values from the smallest to the
    largest weight instead; zero itself stays on the grid.
    """
    if name == "int4 asymmetric":
        low = np.minimum(values.min(-1, keepdims=True), 0)
        high = np.maximum(values.max(-1, keepdims=True), 0)
        scale = np.maximum(high - low, 1e-12) / 15
        return scale, np.round(-8 - low / scale)
    return np.maximum(np.abs(values).max(-1, keepdims=True), 1e-12) / TOPS[name], 0.0


def round_to_grid(
    values: np.ndarray, name: str, scale: float | np.ndarray, zero: float | np.ndarray = 0.0
) -> np.ndarray:
    """Each value replaced by the nearest of scale * (grid - zero). `scale` and `zero` broadcast against `values`."""
    points, scaled = grid(name), values / scale + zero
    index = np.clip(np.searchsorted(points, scaled), 1, len(points) - 1)
    lower, upper = points[index - 1], points[index]
    return (np.where(scaled - lower <= upper - scaled, lower, upper) - zero) * scale


def division_dtype(weight: Tensor) -> dtype:
    """In which dtype compressed-tensors 0.19 divides this weight by its scales: it depends on where the weight lies.

    On a CPU in the weight's own. On a GPU a Triton kernel divides in float32 and rounds only once; in bfloat16 the
    quotient is rounded first, and half a percent of the codes fall on the other side of a tie.
    """
    import torch
    from compressed_tensors.utils.triton import triton_req

    return torch.float32 if triton_req(weight) else weight.dtype


def dequantize(codes: Tensor, scale: Tensor) -> Tensor:
    """Codes [out, in] and scales [out, groups] -> weights [out, in] in the scales' dtype."""
    groups = codes.to(scale.dtype).unflatten(1, (scale.shape[1], -1))
    return (groups * scale.unsqueeze(-1)).flatten(1)


def relative_error(exact: Tensor, other: Tensor) -> float:
    """||exact - other|| / ||exact||, computed in float32."""
    return float((exact.float() - other.float()).norm() / exact.float().norm())


def output_error(weight: Tensor, rounded: Tensor, inputs: Tensor) -> float:
    """Relative error of the layer's output, ||X W^T - X Q^T|| / ||X W^T||, for inputs [tokens, in]."""
    x = inputs.float()
    return relative_error(x @ weight.to(x).T, x @ rounded.to(x).T)


def read_tensor(folder: str | Path, name: str) -> Tensor:
    """One tensor of a checkpoint folder. Raises WorkbookError when no file has it."""
    from safetensors import safe_open

    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118 - not a dict
                return file.get_tensor(name)
    got = say("No tensor {name!r} in {folder}.", name=name, folder=Path(folder).name)
    raise WorkbookError(got, expected="a name from `exaone-nb inspect`.")


def stored_codes(folder: str | Path, module: str) -> tuple[Tensor, Tensor]:
    """Codes int8 [out, in] and scales of a 4-bit packed module, as a checkpoint stores them.

    `weight_packed` is int32 [out, in / 8]: eight codes lie in one number, the first in the lowest bits, each stored
    plus 8 so that it is not negative.
    """
    from compressed_tensors.compressors import unpack_from_int32

    packed, shape, scale = (
        read_tensor(folder, f"{module}.weight_{part}") for part in ("packed", "shape", "scale")
    )
    return unpack_from_int32(packed, 4, shape.tolist()), scale
