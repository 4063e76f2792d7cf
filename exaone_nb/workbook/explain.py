"""Why a chapter failed, in plain words, and what to do: the part of a traceback that a reader needs first.

Decided by the number that the operating system gave the error, else by words of the message (some libraries raise a
plain OSError or ValueError for something particular), else by the exception's class. data/chapter_failures.yaml has them.
"""

import errno
import re
import signal
from dataclasses import dataclass
from functools import cache
from typing import Any

from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
# The number as Python, Rust ("os error 28") and PyTorch's allocator ("Error code 12 (") write it.
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|\bError code (\d+) \(")


@dataclass(frozen=True)
class Failure:
    """What goes to the end of the terminal output and to the top of the report. `cell` counts code cells from 1."""

    kind: str
    error: str
    why: str
    remedy: str
    cell: int | None = None
    source: str = ""


@cache
def kinds() -> dict[str, dict[str, Any]]:
    """Kind -> why, remedy, and what tells it: numbers, words, classes."""
    return read_yaml(DATA / "chapter_failures.yaml")


def explain(name: str, message: str, *, cell: int | None = None, source: str = "") -> Failure:
    """Turn an exception's name and message into a Failure."""
    message = ANSI.sub("", message).strip()
    head = f"{name}: {message}" if message else name
    if name in ("WorkbookError", "UsageError", "DiskFull"):
        # As `str` of such an error puts its parts together, in a kernel that speaks the same language.
        why, _, remedy = message.partition("\n" + say("What to do: {remedy}", remedy=""))
        expected = say("Expected: {what}", what="")
        why, kind = (
            why.replace(f"\n{expected}", f" {expected}"),
            "disk full" if name == "DiskFull" else "refused",
        )
        return Failure(kind, head, why, remedy or say("See the message."), cell, source)
    kind, why = _kind_of(name.rpartition(".")[2], message), ""
    if kind == "missing package" and (module := re.search(r"No module named '([\w.]+)'", message)):
        why = say(
            "The Python package {package} is not installed in the environment that runs the notebooks.",
            package=module[1].split(".")[0],
        )
    return _failure(kind, head, cell, source, why)


def _failure(kind: str, error: str, cell: int | None, source: str, why: str = "") -> Failure:
    known = kinds()[kind]
    return Failure(kind, error, why or translated(known["why"]), translated(known["remedy"]), cell, source)


def _kind_of(name: str, message: str) -> str:
    found = _NUMBER.search(message)
    number = errno.errorcode.get(int(found[found.lastindex]), "") if found else ""
    for field, fits in (
        ("numbers", number.__eq__),
        ("words", message.__contains__),
        ("classes", name.__eq__),
    ):
        for kind, known in kinds().items():
            if any(map(fits, known.get(field, ()))):
                return kind
    return "error"


def explain_dead_kernel(
    exit_code: int | None,
    peak_bytes: int,
    total_bytes: int,
    memory_short: bool,
    *,
    cell: int | None,
    source: str,
) -> Failure:
    """The kernel's process ended by itself: killed, for memory or not, crashed in native code, or ended by the notebook.

    `memory_short` says whether little memory was left, or the system killed a process for it, while the kernel ran.
    """
    kind = "dead kernel"
    if exit_code == -signal.SIGKILL:
        kind, error = "out of memory" if memory_short else "killed", say("The kernel was killed (signal 9).")
    elif exit_code is not None and exit_code < 0:
        error = say("The kernel died (signal {number}).", number=-exit_code)
    else:
        error = say("The kernel died (exit code {code}).", code=exit_code)
    why = say(
        "{why} It had used up to {peak:.1f} GB of this machine's {total:.1f} GB.",
        why=translated(kinds()[kind]["why"]), peak=peak_bytes / 1e9, total=total_bytes / 1e9,
    )  # fmt: skip
    return _failure(kind, error, cell, source, why)


def explain_timeout(limit_s: float, *, cell: int | None, source: str) -> Failure:
    return _failure("timeout", say("The chapter did not finish within {s:.0f} s.", s=limit_s), cell, source)
