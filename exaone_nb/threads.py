"""Threads: how many torch computes with, and calls that need one of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def set_torch_threads(count: int) -> int:
    """Let torch use `count` threads in this process and return how many it used before. The count decides speed, and the
    last bits of long sums.

    vLLM on a CPU replaces `torch.set_num_threads` by a function that only warns, for the rest of the process; the
    original below it still works.
    """
    import torch

    before = torch.get_num_threads()
    torch._C.set_num_threads(count)
    return before


def outside_event_loop(call: Callable[[], Result]) -> Result:
    """`call()`, which starts an event loop of its own (asyncio.run refuses where one runs, as in a notebook's kernel).

    In another thread when this one runs a loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    with ThreadPoolExecutor(1) as other:
        return other.submit(call).result()
