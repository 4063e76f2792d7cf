"""Settings of this process that must stand before torch and vLLM are loaded.

On a CPU the threads of a parallel loop wait for each other by spinning. When another program takes one of the
cores they spin for whole time slices, and on two cores shared with one busy program nano fell from 225 to 9 tokens
a second (measured while this was written). Waiting passively costs little when the machine is free and saves the
day when it is not; a model of a few million parameters is fastest on one thread.
"""

import importlib.util
import os
import platform
import sys
from typing import Literal

from exaone_nb.errors import WorkbookError
from exaone_nb.hardware import this_cpu, this_gpu
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE
from exaone_nb.threads import set_torch_threads

# What suits every process that holds an engine, ours or the server's.
COMMON = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# No worker process: a tiny model starts in seconds instead of a minute, and its layers can be asked.
IN_PROCESS = COMMON | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# On a CPU vLLM takes this instead of the cache that it is asked for in the call.
CACHE_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"


def prepare_process(threads: int = 0, *, log: Literal["kept", "shown", "errors"] = "kept") -> list[str]:
    """Set what vLLM in process needs, leaving alone what the user has set. Returns remarks for the reader.

    `threads` 0 leaves the choice to torch. Call it before importing torch: the wait policy is read once. vLLM's `log` is
    kept by a handler of ours (vllm_adapter.captured_log), shown whole, or shown as far as it tells of errors.
    """
    remarks = []
    if "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        remarks.append(
            say("torch was loaded before the engine; for steady times: export OMP_WAIT_POLICY=PASSIVE.")
        )
    for name, value in IN_PROCESS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR" if log == "errors" else "INFO")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if log == "kept":
        os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    if os.environ.pop(CACHE_VARIABLE, ""):
        unset = say(
            "{name} was set and would win over the cache asked for: it is dropped.", name=CACHE_VARIABLE
        )
        remarks.append(unset)
    if threads > 0 and "torch" in sys.modules:
        set_torch_threads(threads)
    elif threads > 0:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return remarks


def environment_of_child(*, server: bool = False, offline: bool = False, threads: int = 0) -> dict[str, str]:
    """The environment of a process that will hold an engine in process, or be vLLM's own server.

    The server decides about its worker processes and its log by itself; nobody else is led by `CACHE_VARIABLE`.
    """
    ours = {*IN_PROCESS, "VLLM_CONFIGURE_LOGGING"} if server else set()
    kept = {name: value for name, value in os.environ.items() if name not in ours | {CACHE_VARIABLE}}
    more = (OFFLINE if offline else {}) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    return kept | (COMMON if server else IN_PROCESS) | more


def core_count() -> int:
    """Cores this process may use; hyper-threads count once where psutil can tell."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(psutil.cpu_count(logical=False) or allowed, allowed), 1)


def has_vllm() -> bool:
    """Whether vLLM is installed here; nothing is loaded to find out."""
    return importlib.util.find_spec("vllm") is not None


def require_vllm() -> None:
    """Raise WorkbookError when vLLM is not installed, naming the engine to use instead."""
    if not has_vllm():
        remedy = say("{install}; to read answers only, use engine='transformers'.", install=COMPLETE)
        raise WorkbookError(
            "vLLM, which measures speed and serves tools, is not installed here.", remedy=remedy
        )


def has_llamacpp() -> bool:
    """Whether llama.cpp is installed here; nothing is loaded to find out."""
    return importlib.util.find_spec("xllamacpp") is not None


def require_llamacpp() -> None:
    """Raise WorkbookError when llama.cpp is not installed."""
    if not has_llamacpp():
        raise WorkbookError(
            say("llama.cpp, which runs GGUF files, is not installed here."),
            remedy=say("{install}, or pip install xllamacpp.", install=COMPLETE),
        )


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def capability() -> float | None:
    """Compute capability of the first GPU (8.9 for an L4), None where there is only a CPU."""
    import torch

    return float("{}.{}".format(*torch.cuda.get_device_capability())) if has_gpu() else None


def machine() -> dict[str, object]:
    """The machine by what matters for speed: processor, cores, instruction sets, GPU. No host name."""
    cpu = this_cpu()
    found: dict[str, object] = {"architecture": platform.machine(), "cores": os.cpu_count()}
    found |= {"processor": cpu.processor or "unknown", "instructions": cpu.vector_flags}
    if "torch" in sys.modules and has_gpu():
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    elif "torch" not in sys.modules and (card := this_gpu()):
        found["gpu"] = card.name
    return found


def machine_sentence() -> str:
    """The machine in one line, for captions."""
    facts = machine()
    if "gpu" in facts:
        return str(facts["gpu"])
    sets = facts.get("instructions") or []
    vectors = "AVX-512" if "avx512f" in sets else "AVX2" if "avx2" in sets else say("no AVX2")
    amx = "AMX" if "amx_tile" in sets else say("no AMX")
    told = {"vectors": vectors, "amx": amx, "architecture": facts["architecture"], "cores": facts["cores"]}
    return say("{cores} cores, {architecture}, {vectors}, {amx}, no GPU", **told)
