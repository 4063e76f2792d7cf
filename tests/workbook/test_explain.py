"""Errors in plain words."""

from __future__ import annotations

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.workbook.explain import explain, explain_dead_kernel, explain_timeout


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB", "out of memory"),
        (
            "RuntimeError",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
            "out of memory",
        ),
        ("GatedRepoError", "403 Client Error", "gated model"),
        ("OSError", "You are trying to access a gated repo.", "gated model"),
        ("RepositoryNotFoundError", "404", "no such model"),
        ("LocalEntryNotFoundError", "offline", "network"),
        ("OSError", "[Errno 28] No space left on device", "disk full"),
        ("ModuleNotFoundError", "No module named 'vllm'", "missing package"),
        ("ValueError", "No available memory for the KV cache blocks", "no kernel memory"),
        ("ZeroDivisionError", "division by zero", "error"),
    ],
)
def test_kinds(name, message, kind):
    failure = explain(name, message, cell=3, source="x")
    assert failure.kind == kind and failure.why and failure.remedy and failure.cell == 3


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("No module named 'vllm.engine'", "The Python package vllm is not installed"),
        ("lm-eval", "A Python package is not"),
    ],
)
def test_the_missing_package_is_named(message, says):
    assert explain("ModuleNotFoundError", message).why.startswith(says)


def test_our_own_errors_keep_their_remedy():
    failure = explain(
        "WorkbookError", str(WorkbookError("No weights.", expected="a folder.", remedy="Run 05."))
    )
    assert (failure.kind, failure.why, failure.remedy) == (
        "refused",
        "No weights. Expected: a folder.",
        "Run 05.",
    )


def test_a_killed_kernel_is_told_from_a_crashed_one_and_memory_is_blamed_only_where_it_was_short():
    short = explain_dead_kernel(-9, 5_000_000_000, 8_000_000_000, True, cell=1, source="")
    killed = explain_dead_kernel(-9, 100_000_000, 25_300_000_000, False, cell=1, source="")
    crashed = explain_dead_kernel(-11, 1, 8_000_000_000, True, cell=1, source="")
    assert short.kind == "out of memory" and "5.0 GB of this machine's 8.0 GB" in short.why
    assert killed.kind == "killed" and "it was not here" in killed.why and "memory" not in killed.remedy
    assert crashed.kind == "dead kernel" and "signal 11" in crashed.error
    assert explain_timeout(30, cell=1, source="").kind == "timeout"
