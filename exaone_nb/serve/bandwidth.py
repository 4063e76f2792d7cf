"""The machine's memory bandwidth and arithmetic, measured, so that a speed can be held against the roof.

Weights are only read, so bandwidth is the best of reading (sum, dot product) and copying (counted twice: read and
write) over arrays much larger than the caches. The result stands in for the card of anatomy's roofline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from exaone_nb.anatomy.gpus import Gpu
from exaone_nb.anatomy.kernels import Support, on_cpu, on_gpu

ARRAY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Roof:
    """Bytes and 16-bit operations per second that this machine reached; `how` names the winning measurement."""

    bandwidth: float
    operations: float
    how: str
    device: str

    def as_gpu(self) -> Gpu:
        """The machine as the roofline wants it. Peaks of other arithmetic count as the 16-bit one."""
        peaks = dict.fromkeys(("16-bit", "fp8", "int8", "fp4"), self.operations)
        return Gpu("this machine", "", 0.0, 0, self.bandwidth, peaks, True, True, "measured here")

    def of(self, gpus: int) -> Roof:
        """The roof of `gpus` such cards that share a model; processes on one CPU share its memory too."""
        if gpus == 1 or self.device == "cpu":
            return self
        return replace(
            self,
            bandwidth=gpus * self.bandwidth,
            operations=gpus * self.operations,
            how=f"{self.how}, times {gpus} GPUs",
        )

    def support(self, scheme: str) -> Support:
        """What vLLM does with a scheme on this kind of machine."""
        if self.device == "cpu":
            return on_cpu(scheme)
        import torch

        major, minor = torch.cuda.get_device_capability()
        card = self.as_gpu()
        return on_gpu(scheme, Gpu(**{**card.__dict__, "compute_capability": float(f"{major}.{minor}")}))


def measure_roof() -> Roof:
    """Measure once per process and number of threads; a second or two on two cores.

    The best of many short runs: what another program takes away meanwhile is not the machine's limit.
    """
    import torch

    return _measure(torch.get_num_threads(), repeats=15)


@cache
def _measure(threads: int, repeats: int) -> Roof:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    count = ARRAY_BYTES * (8 if device == "cuda" else 1) // 4
    a = torch.ones(count, dtype=torch.float32, device=device)
    b = torch.ones(count, dtype=torch.float32, device=device)
    size = a.element_size() * count
    trials: dict[str, tuple[Callable[[], Any], int]] = {
        "reading one array": (a.sum, size),
        "reading two arrays": (lambda: torch.dot(a, b), 2 * size),
        "copying": (lambda: a.copy_(b), 2 * size),
    }
    reached = {name: moved / _best(call, device, repeats) for name, (call, moved) in trials.items()}
    how = max(reached, key=reached.__getitem__)
    side = 8192 if device == "cuda" else 1024
    x = torch.ones(side, side, dtype=torch.bfloat16, device=device)
    operations = 2 * side**3 / _best(lambda: x @ x, device, repeats)
    return Roof(reached[how], operations, how, device)


def _best(call: Callable[[], Any], device: str, repeats: int) -> float:
    """The shortest time of `repeats` runs after a warm-up, in seconds."""
    import torch

    def run() -> float:
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    run()
    return min(run() for _ in range(repeats))


def roof_tokens_per_second(
    config: dict[str, Any], scheme: str, roof: Roof, *, batch: int = 1, context: int = 1024
) -> float | None:
    """Decoded tokens per second over all requests at best; None where the scheme has no kernel here."""
    from exaone_nb.anatomy.roofline import decode

    found = decode(config, scheme, roof.as_gpu(), batch=batch, context=context, support=roof.support(scheme))
    return found.tokens_per_second
