"""The GPUs of data/gpus.csv: memory, bandwidth and peak arithmetic, as published.

Peaks are dense (no 2:4 sparsity) with FP32 accumulation, which on GeForce cards is half of what adverts print.
"""

from dataclasses import dataclass

from exaone_nb.errors import UsageError
from exaone_nb.hardware import Machine
from exaone_nb.messages import did_you_mean, say
from exaone_nb.paths import DATA
from exaone_nb.written import read_csv


@dataclass(frozen=True)
class Gpu:
    """One card. `memory_bytes` is what the driver reports; rates are per second; `source` is where they come from.

    `peak` is operations per second for "16-bit", "fp8", "int8" and "fp4", without those that the card has no units for.
    """

    name: str
    architecture: str
    compute_capability: float
    memory_bytes: int
    bandwidth: float
    peak: dict[str, float]
    source: str

    @property
    def machine(self) -> Machine:
        return Machine(self.name, self.compute_capability, memory_bytes=self.memory_bytes)

    def ridge(self) -> float:
        """16-bit operations per byte at which bandwidth and arithmetic take equally long."""
        return self.peak["16-bit"] / self.bandwidth

    @property
    def is_large(self) -> bool:
        """Whether vLLM 0.32 takes the defaults of a large card (engine/arg_utils.py, by memory and name)."""
        return self.memory_bytes >= 70 * 2**30 and "A100" not in self.name

    def batched_tokens(self, *, server: bool = False) -> int:
        """vLLM 0.32's default max_num_batched_tokens on this card."""
        if self.memory_bytes >= 160 * 2**30:
            return 16384
        if self.is_large:
            return 8192 if server else 16384
        return 2048 if server else 8192


PEAKS = {"16-bit": "fp16_tflops", "fp8": "fp8_tflops", "int8": "int8_tops", "fp4": "fp4_tflops"}
GPUS = {
    row["gpu"]: Gpu(
        name=row["gpu"],
        architecture=row["architecture"],
        compute_capability=float(row["compute_capability"]),
        memory_bytes=int(row["memory_mib"]) * 2**20,
        bandwidth=float(row["bandwidth_gbs"]) * 1e9,
        peak={name: float(row[column]) * 1e12 for name, column in PEAKS.items() if row[column]},
        source=row["source"],
    )
    for row in read_csv(DATA / "gpus.csv")
}


def find_gpu(name: str) -> Gpu:
    """A GPU by name; case and the dashes do not matter, and a unique beginning is enough ("H100-P" or "l4").

    Of a card that comes in two forms the SXM module is meant ("H100"), the form that servers have. Raises UsageError
    when no card is meant, or several that differ in more.
    """
    wanted = _squash(name)
    begins = [gpu for gpu in GPUS.values() if wanted and _squash(gpu.name).startswith(wanted)]
    exact = [gpu for gpu in begins if _squash(gpu.name) == wanted]
    modules = [gpu for gpu in begins if gpu.name.endswith("-SXM")]
    for found in (exact, modules, begins):
        if len(found) == 1:
            return found[0]
    raise UsageError(
        say("More than one GPU is called {name!r}.", name=name)
        if begins
        else say("No GPU is called {name!r}.", name=name),
        expected=", ".join(gpu.name for gpu in begins or GPUS.values()),
        remedy=did_you_mean(
            name.upper(), GPUS, "A card that is missing can be added as one line of data/gpus.csv."
        ),
    )


def remark_on_name(wanted: str, gpu: Gpu) -> str:
    """Which card was taken for a name that is not its own, and what else the name could mean; "" for its own name."""
    others = [other.name for other in GPUS.values() if _squash(other.name).startswith(_squash(wanted))]
    others.remove(gpu.name)
    if not others or _squash(wanted) == _squash(gpu.name):
        return ""
    names = {"wanted": wanted, "gpu": gpu.name, "others": ", ".join(others)}
    return say("{wanted} is taken as {gpu}; there is also {others}.", **names)


def _squash(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
