"""Which quantization schemes an engine can run on which GPU, and what the multiplication is then done in.

A checkpoint can be smaller and yet no faster: a scheme may have no kernel on a card, or only a weight-only one,
where the arithmetic stays 16-bit. Two tables are kept, each dated: vLLM 0.32's own rules (data/kernel_support.yaml)
and the matrix shown in the hackathon lecture (data/kernel_support_lecture.csv).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.gpus import Gpu
from exaone_nb.paths import DATA
from exaone_nb.quantization.schemes import UNQUANTIZED_NAMES, find_scheme


@dataclass(frozen=True)
class Support:
    """Whether a scheme runs, what it computes in ("16-bit", "fp8", "int8", "fp4"), and why or why not."""

    scheme: str
    runs: bool
    compute: str = ""
    kernel: str = ""
    reason: str = ""


@cache
def rules() -> dict[str, Any]:
    """data/kernel_support.yaml as it stands, with its `source` and `date`."""
    import yaml

    return yaml.safe_load((DATA / "kernel_support.yaml").read_text(encoding="utf-8"))


@cache
def lecture_matrix() -> tuple[dict[str, str], ...]:
    """Rows of the lecture's matrix: implementation, then yes or no per architecture."""
    with open(DATA / "kernel_support_lecture.csv", encoding="utf-8", newline="") as handle:
        return tuple(csv.DictReader(handle))


def _rule(scheme: str) -> tuple[str, dict[str, Any]]:
    find_scheme(scheme)  # a name nobody knows is refused here, with the names that exist
    name = "BF16" if scheme.upper() in UNQUANTIZED_NAMES else scheme.upper()
    rule = rules()["schemes"].get(name)
    if rule is None:
        raise UsageError(f"data/kernel_support.yaml says nothing about {name}.")
    return name, rule


def on_gpu(scheme: str, gpu: Gpu) -> Support:
    """What vLLM 0.32 does with `scheme` on `gpu`. Raises UsageError for an unknown scheme."""
    return on_capability(scheme, gpu.compute_capability)


def on_capability(scheme: str, compute_capability: float) -> Support:
    """The same for any NVIDIA GPU, by its compute capability (8.9 for an L4)."""
    name, rule = _rule(scheme)
    for entry in rule["cuda"]:
        if entry["from"] <= compute_capability <= entry.get("to", 99):
            return Support(name, True, entry["compute"], entry["kernel"], entry.get("note", ""))
    capability = f"compute capability {compute_capability}"
    if compute_capability >= 10 and "blackwell" in rule:
        why = rule["blackwell"]
    elif "why" in rule:
        why = rule["why"]
    else:
        why = f"needs {min(entry['from'] for entry in rule['cuda'])} or newer"
    return Support(name, False, reason=f"no kernel in vLLM 0.32 for {capability}: {why}")


def on_cpu(scheme: str) -> Support:
    """What vLLM 0.32's x86 CPU backend does with `scheme`. Raises UsageError for an unknown scheme."""
    name, rule = _rule(scheme)
    cpu = rule["cpu"]
    return Support(
        name, cpu["runs"], cpu.get("compute", "16-bit"), cpu.get("kernel", ""), cpu.get("note", "")
    )
