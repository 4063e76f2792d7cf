"""The machine's memory bandwidth and arithmetic, measured, so that a speed can be held against the roof.

Weights are only read, so bandwidth is the best of reading (sum, dot product) and copying (counted twice: read and
write) over arrays much larger than the caches. The result stands in for the card of anatomy's roofline.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.roofline import Pass, decode
from exaone_nb.anatomy.work import work_of
from exaone_nb.engines.environment import capability
from exaone_nb.engines.options import choose_dtype
from exaone_nb.engines.vllm_adapter import UNKNOWN
from exaone_nb.fields import unquantized
from exaone_nb.gpus import Gpu
from exaone_nb.hardware import this_cpu, this_machine
from exaone_nb.messages import say
from exaone_nb.quantization.config import MIXED
from exaone_nb.quantization.kernels import Support, support

ARRAY_BYTES = 256 * 2**20
REPEATS = 15


@dataclass(frozen=True)
class Roof:
    """Bytes and operations per second that this machine reached; `how` names the winning measurement of the bytes.

    `operations` is by kind of arithmetic ("16-bit", "int8", "fp8"): those that torch multiplies matrices in here. A
    scheme that computes in another kind has no roof, since nobody measured it.
    """

    bandwidth: float
    operations: Mapping[str, float]
    how: str
    device: str

    def of(self, gpus: int) -> Self:
        """The roof of `gpus` such cards that share a model; processes on one CPU share its memory too."""
        if gpus == 1 or self.device == "cpu":
            return self
        operations = {kind: gpus * rate for kind, rate in self.operations.items()}
        return Roof(gpus * self.bandwidth, operations, f"{self.how}, times {gpus} GPUs", self.device)

    def support(self, scheme: str) -> Support:
        """What vLLM does with a scheme on this kind of machine."""
        return support(scheme, this_cpu() if self.device == "cpu" else this_machine())


def measure_roof() -> Roof:
    """Measure once per process and number of threads; a second or two on two cores.

    The best of many short runs: what another program takes away meanwhile is not the machine's limit.
    """
    import torch

    return _measure(torch.get_num_threads())


@cache
def _measure(_threads: int) -> Roof:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    count = ARRAY_BYTES * (8 if device == "cuda" else 1) // 4
    a, b = torch.ones(2, count, dtype=torch.float32, device=device)
    size = a.element_size() * count
    reached = {
        say("reading one array"): size / _best(a.sum, device),
        say("reading two arrays"): 2 * size / _best(lambda: torch.dot(a, b), device),
        say("copying"): 2 * size / _best(lambda: a.copy_(b), device),
    }
    how = max(reached, key=reached.__getitem__)
    return Roof(reached[how], _operations(device), how, device)


def _operations(device: str) -> dict[str, float]:
    """Operations per second of a large square product, by arithmetic; the better of two sizes."""
    import torch

    # What an engine would compute in: a card without bfloat16 only imitates it, at a fraction of its speed.
    sixteen = getattr(torch, choose_dtype({}, capability())[0])

    def products(side: int) -> dict[str, Callable[[], Any]]:
        ones = torch.ones(side, side, dtype=sixteen, device=device)
        whole = ones.to(torch.int8)
        # Kernels want the second matrix column by column, as weights lie.
        found = {"16-bit": lambda: ones @ ones, "int8": lambda: torch._int_mm(whole, whole.t())}
        if device == "cuda":
            small, one = ones.to(torch.float8_e4m3fn), torch.ones((), device=device)
            found["fp8"] = lambda: torch._scaled_mm(small, small.t(), one, one, out_dtype=sixteen)
        return found

    reached: dict[str, float] = {}
    for side in (4096, 8192) if device == "cuda" else (1024, 2048):
        for kind, call in products(side).items():
            # An old card or a torch without this product: no figure for this arithmetic.
            with suppress(RuntimeError, NotImplementedError, AttributeError):
                rate = 2 * side**3 / _best(call, device)
                reached[kind] = max(reached.get(kind, 0.0), rate)
    return reached


def _best(call: Callable[[], Any], device: str) -> float:
    """The shortest time of REPEATS runs after a warm-up, in seconds."""
    import torch

    def run() -> float:
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    run()
    return min(run() for _ in range(REPEATS))


def roof_of(
    config: dict[str, Any], scheme: str, roof: Roof, *, batch: int = 1, context: int = 1024
) -> Pass | None:
    """One decode step at best on this machine, which stands in for a card.

    None where the scheme is not known by name, has no kernel here or no measured arithmetic.
    """
    if scheme in (MIXED, UNKNOWN):  # its roof needs the recipe
        return None
    plain = unquantized(config)
    here = Gpu("this machine", "", 0.0, 0, roof.bandwidth, dict(roof.operations), "measured here")
    # What is in the file, whose groups may be smaller than the preset's.
    stored = predict_as_stored(config)[1] if config.get("quantization_config") else None
    work = work_of(plain, scheme, prediction=stored)
    support = roof.support(scheme)
    found = decode(plain, scheme, here, batch=batch, context=context, support=support, work=work)
    return found if found.runs else None
