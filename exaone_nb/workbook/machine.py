"""How fast this machine multiplies and reads memory: two short measurements with numpy.

Prefill (reading the prompt) is limited by multiplying, decoding (writing token by token) by reading the weights.
"""

import statistics
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MachineSpeed:
    """Medians over `repeats` runs. float32 matrix multiplication in FLOP/s, one-pass reading in bytes/s."""

    name: str
    date: str
    flops_per_second: float
    bytes_per_second: float
    repeats: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# Measured by the first chapter, alone on its machine, in the same run that the recorded minutes per chapter come from.
REFERENCE = MachineSpeed("2 cores, x86-64 with AVX-512, no GPU", "2026-11-26", 238.9e9, 48.0e9, 5)

MATRIX = 1536  # 2 * 1536^3 = 7.2 GFLOP
READ_BYTES = 512 * 2**20  # larger than any cache


def measure_machine(repeats: int = 5) -> MachineSpeed:
    """Measure, in about two seconds and 0.6 GB of memory, and return the medians."""
    import numpy as np

    left = np.ones((MATRIX, MATRIX), np.float32)
    right = np.ones((MATRIX, MATRIX), np.float32)
    long = np.ones(READ_BYTES // 8)
    multiply = _median_seconds(lambda: left @ right, repeats)
    # The dot product of an array with itself reads it once, on all cores.
    read = _median_seconds(lambda: long @ long, repeats)
    return MachineSpeed(
        "this machine", time.strftime("%Y-%m-%d"), 2 * MATRIX**3 / multiply, READ_BYTES / read, repeats
    )


def _median_seconds(work: Callable[[], Any], repeats: int) -> float:
    work()  # warm-up: threads start, pages are touched
    return statistics.median(timeit.repeat(work, number=1, repeat=repeats))
