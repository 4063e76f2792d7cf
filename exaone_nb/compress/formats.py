"""Number formats: the values a few bits can stand for, rounding to them by hand, and reading what is stored.

A quantized weight is an index into a grid, and a scale that stretches the grid: w ~ scale * grid[q]. The formats
differ in the grid (evenly spaced integers, or floats that are denser near zero) and in how many weights share a
scale (a tensor, an output channel, a group of inputs). Weights are [out, in]; groups run along the inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError

if TYPE_CHECKING:
    from torch import Tensor

GRID_NAMES = ("int4", "int8", "fp8_e4m3", "fp4_e2m1")


def grid(name: str) -> np.ndarray:
    """All values of a format, ascending, without its scale. Raises UsageError for an unknown name."""
    if name in ("int4", "int8"):
        half = 2 ** (int(name[3:]) - 1)
        return np.arange(-half, half, dtype=float)
    if name == "fp4_e2m1":
        return _float_grid(exponent_bits=2, mantissa_bits=1, bias=1)
    if name == "fp8_e4m3":
        # The "fn" variant: no infinities, and only the topmost code is NaN, so 448 is the largest value.
        return _float_grid(exponent_bits=4, mantissa_bits=3, bias=7, largest=448)
    raise UsageError(f"No number format {name!r}.", expected=f"one of {', '.join(GRID_NAMES)}.")


def _float_grid(exponent_bits: int, mantissa_bits: int, bias: int, largest: float = np.inf) -> np.ndarray:
    steps = 2**mantissa_bits
    values = {0.0}
    for exponent in range(2**exponent_bits):
        for mantissa in range(steps):
            # Exponent 0 is subnormal: no hidden one, and the same step as exponent 1.
            value = (mantissa / steps + (exponent > 0)) * 2.0 ** (max(exponent, 1) - bias)
            if value <= largest:
                values |= {value, -value}
    return np.array(sorted(values))


def round_to_grid(values: np.ndarray, name: str, scale: float | np.ndarray) -> np.ndarray:
    """Each value replaced by the nearest of scale * grid. `scale` broadcasts against `values`."""
    points = grid(name)
    scaled = values / scale
    index = np.clip(np.searchsorted(points, scaled), 1, len(points) - 1)
    lower, upper = points[index - 1], points[index]
    return np.where(scaled - lower <= upper - scaled, lower, upper) * scale


# The largest value of each format is put on the largest weight that shares a scale; for integers halfway beyond the
# top code, as in `round_to_nearest`.
TOPS = {"int4": 7.5, "int8": 127.5, "fp8_e4m3": 448.0, "fp4_e2m1": 6.0}


def symmetric_scale(values: np.ndarray, name: str) -> np.ndarray:
    """One scale per last axis, [..., 1], so that the largest magnitude reaches the end of the grid."""
    return np.maximum(np.abs(values).max(axis=-1, keepdims=True), 1e-12) / TOPS[name]


def asymmetric_int4(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point, each [..., 1], that lay int4's 16 values from the smallest to the largest of the last axis.

    A weight is then (q - zero) * scale. Zero itself stays on the grid.
    """
    low = np.minimum(values.min(-1, keepdims=True), 0)
    high = np.maximum(values.max(-1, keepdims=True), 0)
    scale = np.maximum(high - low, 1e-12) / 15
    return scale, np.round(-8 - low / scale)


def grouped(weight: Tensor, group_size: int) -> Tensor:
    """[out, in] -> [out, in / group_size, group_size]. Raises WorkbookError when groups do not fit."""
    rows, columns = weight.shape
    if columns % group_size:
        raise WorkbookError(
            f"{columns} inputs do not divide into groups of {group_size}.",
            expected=f"a divisor of {columns}.",
        )
    return weight.reshape(rows, columns // group_size, group_size)


def round_to_nearest(weight: Tensor, bits: int = 4, group_size: int = 128) -> tuple[Tensor, Tensor]:
    """Symmetric integer rounding as llm-compressor does it: codes int8 [out, in] and scales [out, groups].

    The largest magnitude of a group lies halfway beyond the top code (7.5 for 4 bits), so that both ends of the
    grid -8 … 7 are used. Arithmetic stays in the weight's own dtype, as in the library.
    """
    import torch

    groups = grouped(weight, group_size)
    largest = (2**bits - 1) / 2
    scale = groups.abs().amax(-1, keepdim=True) / largest
    codes = (groups / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return codes.to(torch.int8).reshape(weight.shape), scale.squeeze(-1)


def dequantize(codes: Tensor, scale: Tensor) -> Tensor:
    """Codes [out, in] and scales [out, groups] -> weights [out, in] in the scales' dtype."""
    groups = grouped(codes, codes.shape[1] // scale.shape[1])
    return (groups.to(scale.dtype) * scale.unsqueeze(-1)).reshape(codes.shape)


def unpack(packed: Tensor, columns: int, bits: int = 4) -> Tensor:
    """Codes int8 [out, columns] from `weight_packed` int32 [out, columns * bits / 32].

    Eight 4-bit codes lie in one int32, the first in the lowest bits, each stored plus 8 so that it is not negative.
    """
    if 32 % bits:
        raise UsageError(f"{bits}-bit codes cross word borders.", expected="2, 4 or 8 bits.")
    import torch

    shifts = torch.arange(0, 32, bits, dtype=torch.int32, device=packed.device)
    codes = (packed.unsqueeze(-1) >> shifts) & (2**bits - 1)
    return (codes.reshape(packed.shape[0], -1)[:, :columns] - 2 ** (bits - 1)).to(torch.int8)


def read_tensor(folder: str | Path, name: str) -> Tensor:
    """One tensor of a checkpoint folder. Raises WorkbookError when no file has it."""
    from safetensors import safe_open

    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118 - not a dict
                return file.get_tensor(name)
    raise WorkbookError(
        f"No tensor {name!r} in {Path(folder).name}.", expected="a name from `exaone-nb inspect`."
    )


def stored_codes(folder: str | Path, module: str) -> tuple[Tensor, Tensor]:
    """Codes int8 [out, in] and scales of a 4-bit packed module, as a checkpoint stores them."""
    rows, columns = read_tensor(folder, f"{module}.weight_shape").tolist()
    codes = unpack(read_tensor(folder, f"{module}.weight_packed"), columns)
    return codes[:rows], read_tensor(folder, f"{module}.weight_scale")
