"""How many threads torch computes with: it decides speed, and the last bits of long sums."""

from __future__ import annotations


def set_torch_threads(count: int) -> int:
    """Let torch use `count` threads in this process and return how many it used before.

    vLLM on a CPU replaces `torch.set_num_threads` by a function that only warns, for the rest of the process; the
    original below it still works.
    """
    import torch

    before = torch.get_num_threads()
    torch._C.set_num_threads(count)
    return before
