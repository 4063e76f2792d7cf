"""The machine by what decides which kernels run: an NVIDIA card by its compute capability, a CPU by its flags.

Nothing heavy is loaded: `nvidia-smi`, /proc/cpuinfo and psutil answer, and the container's own limits. What must be known
after torch is loaded (which card this process got) is the engines' matter.

`measure_machine` says how fast it multiplies and reads memory. Prefill (reading the prompt) is limited by multiplying,
decoding (writing token by token) by reading the weights.
"""

import os
import platform
import re
import shutil
import statistics
import subprocess
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exaone_nb.messages import translated
from exaone_nb.processes import total_bytes
from exaone_nb.schema import Count, Positive

CPUINFO = Path("/proc/cpuinfo")
# The flags that decide between kernels, or how fast they are.
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Machine:
    """A card or a CPU. `compute_capability` is None for a CPU; `flags` are those of /proc/cpuinfo.

    `environment` holds the variables that vLLM reads to choose a kernel (VLLM_CPU_INT4_W4A8). `processor` is the
    CPU's model name, `driver` the version of the card's driver; both empty where nothing tells them.
    """

    name: str
    compute_capability: float | None = None
    flags: frozenset[str] = frozenset()
    memory_bytes: int = 0
    processor: str = ""
    driver: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_cpu(self) -> bool:
        """True when no NVIDIA card does the work."""
        return self.compute_capability is None

    @property
    def driver_major(self) -> int:
        """580 of driver 580.65.06; 0 where nothing tells it."""
        major = self.driver.partition(".")[0]
        return int(major) if major.isdigit() else 0

    @property
    def vector_flags(self) -> list[str]:
        return [name for name in VECTOR_FLAGS if name in self.flags]


def this_machine() -> Machine:
    """The first NVIDIA GPU, or the CPU where there is none."""
    return this_gpu() or this_cpu()


@cache
def this_gpu() -> Machine | None:
    """The first NVIDIA GPU that `nvidia-smi` lists, None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = "--query-gpu=name,compute_cap,memory.total,driver_version"
    command = [tool, query, "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
        name, capability, mib, driver = (part.strip() for part in found.stdout.splitlines()[0].split(","))
        return Machine(name, float(capability), memory_bytes=int(mib) * 2**20, driver=driver)
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return None


def this_cpu() -> Machine:
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    facts = dict(re.findall(r"^(flags|Features|model name)\s*:\s*(.*)$", text, re.MULTILINE))
    return Machine(
        "CPU",
        flags=frozenset(facts.get("flags", facts.get("Features", "")).split()),
        memory_bytes=total_bytes(),
        processor=facts.get("model name", "") or platform.processor(),
        environment={name: os.environ[name] for name in ("VLLM_CPU_INT4_W4A8",) if name in os.environ},
    )


@dataclass(frozen=True)
class MachineSpeed:
    """Medians over `repeats` runs. float32 matrix multiplication in FLOP/s, one-pass reading in bytes/s.

    `forward_flops` and `forward_bytes` are those of the device that models run on, a card or the same CPU: short texts
    (64 tokens) through 16-bit matrices, and reading. Without torch they are the CPU's. `others` is the share of the cores
    that other programs took meanwhile.
    """

    name: str
    date: str
    flops_per_second: Positive
    bytes_per_second: Positive
    repeats: Count
    forward_flops: Positive
    forward_bytes: Positive
    others: float = 0.0

    @property
    def in_words(self) -> str:
        """The name in the reader's language."""
        return translated(self.name)


# As the first chapter measures, alone on the machine on the day of the recorded minutes per chapter; of the forward pass
# the medians of three measurements.
REFERENCE = MachineSpeed(
    "2 cores, x86-64 with AVX-512, no GPU", "2026-11-26", 238.9e9, 48.0e9, 5, 507.6e9, 39.1e9
)

MATRIX = 1536  # 2 * 1536^3 = 7.2 GFLOP
READ_BYTES = 512 * 2**20  # larger than any cache
TOKENS, WIDTH = 64, 2048  # of the forward pass: a short text, a model of a billion parameters


def measure_machine(repeats: int = 5) -> MachineSpeed:
    """Measure, in a few seconds and 0.6 GB of memory, and return the medians."""
    import numpy as np

    before = _seconds_worked()
    left = np.ones((MATRIX, MATRIX), np.float32)
    right = np.ones((MATRIX, MATRIX), np.float32)
    long = np.ones(READ_BYTES // 8)
    multiply = _median_seconds(lambda: left @ right, repeats)
    # The dot product of an array with itself reads it once, on all cores.
    read = _median_seconds(lambda: long @ long, repeats)
    flops, rate = 2 * MATRIX**3 / multiply, READ_BYTES / read
    forward = _measure_forward(repeats) if find_spec("torch") else (flops, rate)
    others = _share_of_others(before, _seconds_worked())
    return MachineSpeed("this machine", time.strftime("%Y-%m-%d"), flops, rate, repeats, *forward, others)


def _seconds_worked() -> tuple[float, float, float]:
    """Core seconds since the start: of the machine, of these those that were worked, and this process's own."""
    import psutil

    times = psutil.cpu_times()
    # Linux counts what a guest takes among its host's seconds already.
    every = sum(times) - sum(getattr(times, name, 0.0) for name in ("guest", "guest_nice"))
    return every, every - times.idle - getattr(times, "iowait", 0.0), time.process_time()


def _share_of_others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    every, worked, own = (late - early for early, late in zip(before, after, strict=True))
    return min(max((worked - own) / every, 0.0), 1.0) if every > 0 else 0.0


def _measure_forward(repeats: int) -> tuple[float, float]:
    """FLOP/s of a short text through 16-bit matrices, and bytes/s, on the card that torch can use or on the CPU."""
    import torch

    card = torch.cuda.is_available()
    device, wait = ("cuda", torch.cuda.synchronize) if card else ("cpu", lambda: None)
    # A card before 8.0 only imitates bfloat16.
    half = torch.float16 if card and torch.cuda.get_device_capability() < (8, 0) else torch.bfloat16
    text = torch.ones(TOKENS, WIDTH, dtype=half, device=device)
    # As many matrices as no cache holds: each pass reads them from memory, as a model's are.
    weights = torch.ones(READ_BYTES // (2 * WIDTH**2) // 2, WIDTH, WIDTH, dtype=half, device=device)

    def forward() -> None:
        for matrix in weights:
            text @ matrix
        wait()

    def read() -> None:
        weights.view(torch.float32).sum()
        wait()

    multiply, reading = (_median_seconds(work, repeats) for work in (forward, read))
    return 2 * TOKENS * weights.numel() / multiply, weights.nbytes / reading


def _median_seconds(work: Callable[[], Any], repeats: int) -> float:
    work()  # warm-up: threads start, pages are touched
    return statistics.median(timeit.repeat(work, number=1, repeat=repeats))
