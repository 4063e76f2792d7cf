"""Settings of this process that must stand before torch and vLLM are loaded.

On a CPU the threads of a parallel loop wait for each other by spinning. When another program takes one of the
cores they spin for whole time slices, and on two cores shared with one busy program nano fell from 225 to 9 tokens
a second (measured while this was written). Waiting passively costs little when the machine is free and saves the
day when it is not; a model of a few million parameters is fastest on one thread.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from exaone_nb.errors import WorkbookError
from exaone_nb.threads import set_torch_threads

IN_PROCESS = {
    # No worker process: a tiny model starts in seconds instead of a minute, and its log is ours to read.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare_process(threads: int = 0, *, verbose: bool = False) -> list[str]:
    """Set what vLLM in process needs, leaving alone what the user has set. Returns remarks for the reader.

    `threads` 0 leaves the choice to torch. Call it before importing torch: the wait policy is read once.
    """
    remarks = []
    if "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        remarks.append(
            "torch was loaded before the engine: set OMP_WAIT_POLICY=PASSIVE in the shell for steady times."
        )
    for name, value in IN_PROCESS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    if not verbose:
        # The log is captured by a handler of our own (see kernels.py); a notebook should not show it.
        os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    if threads > 0:
        if "torch" not in sys.modules:
            os.environ["OMP_NUM_THREADS"] = str(threads)
        else:
            set_torch_threads(threads)
    return remarks


def core_count() -> int:
    """Cores this process may use; hyper-threads count once where psutil can tell."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(psutil.cpu_count(logical=False) or allowed, allowed), 1)


def require_vllm() -> None:
    """Raise WorkbookError when vLLM is not installed, naming the engine to use instead."""
    if importlib.util.find_spec("vllm") is None:
        raise WorkbookError(
            "vLLM is not installed here.",
            expected="vLLM, which measures speed and serves tools.",
            remedy="Install requirements/ for serving; to read answers only, use engine='transformers'.",
        )


def has_gpu() -> bool:
    """True when torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def machine() -> dict[str, object]:
    """The machine by what matters for speed: processor, cores, instruction sets, GPU. No host name."""
    import platform

    found: dict[str, object] = {"architecture": platform.machine(), "cores": os.cpu_count()}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            lines = dict(
                line.split(":", 1) for line in handle.read().split("\n\n")[0].splitlines() if ":" in line
            )
        facts = {key.strip(): value.strip() for key, value in lines.items()}
        flags = set(facts.get("flags", "").split())
        found["processor"] = facts.get("model name", "unknown")
        wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
        found["instructions"] = [name for name in wanted if name in flags]
    except OSError:
        found["processor"] = platform.processor() or "unknown"
    if "torch" in sys.modules and has_gpu():
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def machine_sentence() -> str:
    """The machine in one line, for captions."""
    facts = machine()
    if "gpu" in facts:
        return str(facts["gpu"])
    sets = facts.get("instructions") or []
    vectors = "AVX-512" if "avx512f" in sets else "AVX2" if "avx2" in sets else "no AVX2"
    amx = "AMX" if "amx_tile" in sets else "no AMX"
    return f"{facts['cores']} cores, {facts['architecture']}, {vectors}, {amx}, no GPU"
