"""Errors in plain words."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

from exaone_nb.errors import DiskFull, WorkbookError
from exaone_nb.workbook.explain import explain, explain_dead_kernel, explain_timeout, kinds


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB", "out of memory"),
        ("AcceleratorError", "CUDA error: out of memory", "out of memory"),
        ("GatedRepoError", "403 Client Error", "gated model"),
        ("RepositoryNotFoundError", "404", "no such model"),
        ("LocalEntryNotFoundError", "offline", "network"),
        ("gaierror", "[Errno -2] Name or service not known", "network"),
        ("OSError", "[Errno 28] No space left on device: 'x'", "disk full"),
        ("SafetensorError", "Error while serializing: I/O error: (os error 28)", "disk full"),
        ("OSError", "[Errno 2] No such file or directory: 'Error code 12'", "error"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'x'", "missing file"),
        ("ModuleNotFoundError", "No module named 'vllm'", "missing package"),
        ("KeyError", "'kv cache'", "error"),
        ("AssertionError", "the answer talks about a gated repo and is out of memory", "error"),
        ("ZeroDivisionError", "division by zero", "error"),
    ],
)
def test_kinds(name, message, kind):
    failure = explain(name, message, cell=3, source="x")
    assert failure.kind == kind and failure.why and failure.remedy and failure.cell == 3


def raised(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error)
    raise AssertionError("nothing was raised")


def test_errors_that_libraries_really_raise(tmp_path):
    """Not their words copied by hand: a library that words it differently fails here."""
    import socket

    import numpy
    import requests
    import safetensors.numpy
    import torch

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    cases = {
        "out of memory": [lambda: torch.empty(2**50), lambda: numpy.empty(2**50), lambda: bytearray(2**60)],
        "network": [
            lambda: requests.get(address, timeout=5),
            lambda: socket.getaddrinfo("no.such.invalid", 80),
        ],
        "missing package": [lambda: importlib.import_module("no_such_package_at_all")],
        "missing file": [(tmp_path / "absent").read_text],
    }
    for kind, calls in cases.items():
        for call in calls:
            error = raised(call)
            assert explain(*error).kind == kind, error
    if Path("/dev/full").exists():
        assert explain(*raised(lambda: write_all("/dev/full"))).kind == "disk full"
    (tmp_path / "file").touch()
    array = {"a": numpy.zeros(3)}
    not_a_folder = raised(lambda: safetensors.numpy.save_file(array, tmp_path / "file" / "x"))
    assert "(os error " in not_a_folder[1], "how Rust writes the number of the operating system"


def write_all(path):
    with open(path, "wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.parametrize(
    ("words", "file"),
    [item for known in kinds().values() for item in known.get("words", {}).items() if item[1]],
)
def test_the_words_are_still_the_librarys(words, file):
    """A contract: an upgrade that words the message differently fails here first."""
    package, _, inner = file.partition("/")
    if (found := importlib.util.find_spec(package)) is None:
        pytest.skip(f"{package} is not installed: make install")
    assert words in (Path(found.origin).parent / inner).read_text(encoding="utf-8")


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


def test_every_error_of_our_own_speaks_for_itself():
    for error in (WorkbookError, *WorkbookError.__subclasses__()):
        if error.__module__ == "exaone_nb.errors":
            assert explain(error.__name__, "Got this.\nWhat to do: That.").remedy == "That.", error


def test_a_full_disk_is_told_by_its_class():
    full = explain("DiskFull", str(DiskFull("The disk became full.", remedy="Free some space.")))
    assert (full.kind, full.why, full.remedy) == ("disk full", "The disk became full.", "Free some space.")
    said = explain("WorkbookError", "A recipe for disk space.")
    assert said.kind == "refused"


def test_a_killed_kernel_is_told_from_a_crashed_one_and_memory_is_blamed_only_where_it_was_short():
    short = explain_dead_kernel(-9, 5_000_000_000, 8_000_000_000, True, cell=1, source="")
    killed = explain_dead_kernel(-9, 100_000_000, 25_300_000_000, False, cell=1, source="")
    crashed = explain_dead_kernel(-11, 1, 8_000_000_000, True, cell=1, source="")
    assert short.kind == "out of memory" and "5.0 GB of this machine's 8.0 GB" in short.why
    assert killed.kind == "killed" and "it was not here" in killed.why and "memory" not in killed.remedy
    assert crashed.kind == "dead kernel" and "signal 11" in crashed.error
    assert explain_timeout(30, cell=1, source="").kind == "timeout"
