"""How many GPUs hold one copy of a model (tensor parallel), and how many copies there are (data parallel)."""

from __future__ import annotations

from exaone_nb.errors import UsageError


def check_sizes(tensor_parallel_size: int, data_parallel_size: int = 1) -> None:
    """Raises UsageError for a size that is not a whole number of at least 1."""
    for name, size in (
        ("tensor_parallel_size", tensor_parallel_size),
        ("data_parallel_size", data_parallel_size),
    ):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(
                f"{name} is {size!r}.",
                expected="a whole number of at least 1.",
                remedy="1 means one GPU (or the CPU) and one copy of the model.",
            )
