"""The GPUs of data/gpus.csv: memory, bandwidth and peak arithmetic, as published.

Peaks are dense (no 2:4 sparsity) with FP32 accumulation, which on GeForce cards is half of what adverts print.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from exaone_nb.errors import UsageError
from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.paths import DATA

TERA = 1e12


@dataclass(frozen=True)
class Gpu:
    """One card. `memory_bytes` is what the driver reports; rates are per second; `source` is where they come from."""

    name: str
    architecture: str
    compute_capability: float
    memory_bytes: int
    bandwidth: float
    peak: dict[str, float]
    has_bf16: bool
    confirmed: bool
    source: str

    @property
    def machine(self) -> Machine:
        """The card as `quantization.kernels` asks for it."""
        return Machine(self.name, self.compute_capability, memory_bytes=self.memory_bytes)

    def operations(self, compute: str) -> float | None:
        """Peak operations per second for "16-bit", "fp8", "int8" or "fp4"; None where the card has no such units."""
        return self.peak.get(compute)

    def ridge(self, compute: str = "16-bit") -> float:
        """Operations per byte at which bandwidth and arithmetic take equally long."""
        rate = self.operations(compute)
        if rate is None:
            raise UsageError(f"{self.name} has no {compute} units.", expected=", ".join(self.peak))
        return rate / self.bandwidth

    def batched_tokens(self, *, server: bool = False) -> int:
        """vLLM 0.32's default max_num_batched_tokens on this card (engine/arg_utils.py, by memory and name)."""
        if self.memory_bytes >= 160 * 2**30:
            return 16384
        if self.memory_bytes >= 70 * 2**30 and "A100" not in self.name:
            return 8192 if server else 16384
        return 2048 if server else 8192


def _read() -> dict[str, Gpu]:
    found = {}
    with open(DATA / "gpus.csv", encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            peaks = {"16-bit": "fp16_tflops", "fp8": "fp8_tflops", "int8": "int8_tops", "fp4": "fp4_tflops"}
            found[row["gpu"]] = Gpu(
                name=row["gpu"],
                architecture=row["architecture"],
                compute_capability=float(row["compute_capability"]),
                memory_bytes=int(row["memory_mib"]) * 2**20,
                bandwidth=float(row["bandwidth_gbs"]) * 1e9,
                peak={name: float(row[column]) * TERA for name, column in peaks.items() if row[column]},
                has_bf16=row["bf16"] == "yes",
                confirmed=row["status"] == "read",
                source=row["source"],
            )
    return found


GPUS: dict[str, Gpu] = _read()


def find_gpu(name: str) -> Gpu:
    """A GPU by name; case and the dashes do not matter, and a unique beginning is enough ("H100-P" or "l4").

    Of a card that comes in two forms the SXM module is meant ("H100"), the form that servers have. Raises UsageError
    when no card is meant, or several that differ in more.
    """
    wanted = _squash(name)
    exact = [gpu for gpu in GPUS.values() if _squash(gpu.name) == wanted]
    if exact:
        return exact[0]
    begins = [gpu for gpu in GPUS.values() if wanted and _squash(gpu.name).startswith(wanted)]
    modules = [gpu for gpu in begins if gpu.name.endswith("-SXM")]
    if len(begins) == 1 or len(modules) == 1:
        return (modules or begins)[0]
    raise UsageError(
        f"{'More than one' if begins else 'No'} GPU is called {name!r}.",
        expected=", ".join(gpu.name for gpu in begins or GPUS.values()),
        remedy="A card that is missing can be added as one line of data/gpus.csv.",
    )


def remark_on_name(wanted: str, gpu: Gpu) -> str:
    """Which card was taken for a name that is not its own, and what else the name could mean; "" for its own name."""
    others = [other.name for other in GPUS.values() if _squash(other.name).startswith(_squash(wanted))]
    others.remove(gpu.name)
    if not others or _squash(wanted) == _squash(gpu.name):
        return ""
    return say(
        "{wanted} is taken as {gpu}; there is also {others}.",
        wanted=wanted,
        gpu=gpu.name,
        others=", ".join(others),
    )


def _squash(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
