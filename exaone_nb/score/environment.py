"""Settings of this process that must stand before torch, vLLM and lm-eval are loaded."""

from __future__ import annotations

import os

IN_PROCESS = {
    # One engine at a time, in this process: worker processes take 50 s and more to start on two cores.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Threads that wait by spinning stand still for whole time slices when another program has the core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare() -> None:
    """Set what scoring in process needs, leaving alone what the user has set."""
    for name, value in IN_PROCESS.items():
        os.environ.setdefault(name, value)
