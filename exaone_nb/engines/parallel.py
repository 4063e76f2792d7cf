"""How many GPUs hold one copy of a model (tensor parallel), and how many copies there are (data parallel)."""

from __future__ import annotations

from exaone_nb.errors import UsageError
from exaone_nb.fields import whole
from exaone_nb.messages import say


def check_sizes(tensor_parallel_size: int, data_parallel_size: int = 1) -> None:
    """Raises UsageError for a size that is not a whole number of at least 1."""
    whole("tensor_parallel_size", tensor_parallel_size)
    whole("data_parallel_size", data_parallel_size)


def copies_note(tensor_parallel_size: int, data_parallel_size: int, server: bool) -> str:
    """What several copies of the model change here; empty for one. Raises UsageError for sizes nothing can use."""
    check_sizes(tensor_parallel_size, data_parallel_size)
    if data_parallel_size == 1:
        return ""
    if not server:
        raise UsageError(
            say("DATA_PARALLEL_SIZE is {count}, and SERVER is off.", count=data_parallel_size),
            expected=say("the server: vLLM inside one process holds one copy of a model."),
            remedy=say("Set SERVER to True, or DATA_PARALLEL_SIZE to 1."),
        )
    return say(
        "{count} copies of the model stand behind the server. Every speed below is that of one copy.",
        count=data_parallel_size,
    )
