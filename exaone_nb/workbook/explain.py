"""Why a chapter failed, in plain words, and what to do: the part of a traceback that a reader needs first."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass

from exaone_nb.messages import say

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Failure:
    """What goes to the end of the terminal output and to the top of the report."""

    kind: str
    error: str
    why: str
    remedy: str
    cell: int | None = None
    source: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class _Rule:
    kind: str
    matches: Callable[[str, str], bool]
    why: str
    remedy: str


def _names(*names: str) -> Callable[[str, str], bool]:
    return lambda name, message: name in names


def _says(pattern: str) -> Callable[[str, str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda name, message: bool(compiled.search(f"{name}: {message}"))


def _either(*rules: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
    return lambda name, message: any(rule(name, message) for rule in rules)


# Order matters: the first that fits wins, so the specific stand before the general.
_RULES = (
    _Rule(
        "gated model",
        _either(_names("GatedRepoError"), _says(r"gated repo|403 .*(access|gated)|awaiting a review")),
        "The hub holds this model back until its licence is accepted.",
        "Accept the licence on the model's page, log in with `hf auth login`, and run again. MODEL=nano needs neither.",
    ),
    _Rule(
        "no such model",
        _either(
            _names("RepositoryNotFoundError", "RevisionNotFoundError"),
            _says(r"401 .*unauthorized.*huggingface"),
        ),
        "The hub knows no such model, or it is private.",
        "Check the spelling of MODEL (ORG/NAME), or log in with `hf auth login`.",
    ),
    _Rule(
        "no kernel memory",
        _says(r"kv cache|max seq len.*larger than the maximum number of tokens"),
        "The engine has too little memory left for its key/value cache.",
        "Give it a shorter context, fewer requests at once, or a larger VLLM_CPU_KVCACHE_SPACE (GiB).",
    ),
    _Rule(
        "out of memory",
        _either(
            _names("OutOfMemoryError", "MemoryError", "torch.OutOfMemoryError"),
            _says(r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc|std::bad_alloc"),
        ),
        "The model, its activations or its cache did not fit into memory.",
        "Take a smaller model or batch, a shorter context, or a machine with more memory; "
        "`exaone-nb memory MODEL` predicts what fits.",
    ),
    _Rule(
        "disk full",
        _says(r"no space left on device|not enough disk space"),
        "The disk is full.",
        "Free some space, or put the run elsewhere with --out.",
    ),
    _Rule(
        "network",
        _either(
            _names(
                "ConnectionError",
                "ConnectTimeout",
                "ReadTimeout",
                "LocalEntryNotFoundError",
                "OfflineModeIsEnabled",
                "ProxyError",
                "SSLError",
                "MaxRetryError",
                "NameResolutionError",
                "ConnectError",
                "gaierror",
            ),
            _says(
                r"name or service not known|temporary failure in name resolution|network is unreachable|"
                r"couldn't connect to|offline mode|connection (refused|reset)"
            ),
        ),
        "Something had to be fetched and the network did not give it.",
        "Check the network or proxy and run again: finished chapters are kept. Offline, use MODEL=nano or a local folder.",
    ),
    _Rule(
        "missing package",
        _names("ModuleNotFoundError", "PackageNotFoundError"),
        "A Python package is not installed in the environment that runs the notebooks.",
        "Run `make install`, or start the workbook with the Python of its own environment; `exaone-nb doctor` lists "
        "what is missing.",
    ),
    _Rule(
        "import problem",
        _names("ImportError"),
        "A package is installed, but it does not work with the others.",
        "`exaone-nb doctor` compares the packages with the lock; `make install` restores them.",
    ),
    _Rule(
        "missing file",
        _names("FileNotFoundError"),
        "A file that this chapter reads is not there.",
        "Check the paths among the parameters, and run the chapters that come before.",
    ),
    _Rule(
        "interrupted",
        _names("KeyboardInterrupt"),
        "The chapter was interrupted.",
        "Run the same command again; finished chapters are kept.",
    ),
)


def explain(name: str, message: str, *, cell: int | None = None, source: str = "") -> Failure:
    """Turn an exception's name and message into a Failure. `cell` counts code cells from 1."""
    message = _ANSI.sub("", message).strip()
    head = f"{name}: {message}" if message else name
    if name in ("WorkbookError", "UsageError"):
        got, _, rest = message.partition("\nWhat to do: ")
        got, _, expected = got.partition("\nExpected: ")
        why = f"{got} Expected: {expected}" if expected else got
        kind = "disk full" if re.search("disk (space|became full)", got) else "refused"
        return Failure(kind, head, why, rest or "See the message.", cell, source)
    for rule in _RULES:
        if rule.matches(name, message):
            why = rule.why
            if rule.kind == "missing package" and (
                module := re.search(r"No module named '([\w.]+)'", message)
            ):
                why = why.replace("A Python package", f"The Python package {module[1].split('.')[0]}")
            return Failure(rule.kind, head, why, rule.remedy, cell, source)
    return Failure(
        "error",
        head,
        "The code of this cell raised an error.",
        "Open the chapter in JupyterLab (`make lab`), run it up to this cell, and look at the values it uses.",
        cell,
        source,
    )


def explain_dead_kernel(
    exit_code: int | None, peak_bytes: int, total_bytes: int, memory_short: bool, *, cell: int | None, source: str
) -> Failure:
    """The kernel's process ended by itself: killed, for memory or not, crashed in native code, or ended by the notebook.

    `memory_short` says whether little memory was left, or the system killed a process for it, while the kernel ran.
    """
    used = say(
        "It had used up to {peak:.1f} GB of this machine's {total:.1f} GB.", peak=peak_bytes / 1e9, total=total_bytes / 1e9
    )
    if exit_code == -signal.SIGKILL:
        killed = say("The kernel was killed (signal 9).")
        if memory_short:
            why = say("The operating system ended the process, which it does when memory runs out. {used}", used=used)
            remedy = say(
                "Take a smaller model or batch, a shorter context, or close other programs; `exaone-nb memory MODEL` "
                "predicts what fits."
            )
            return Failure("out of memory", killed, why, remedy, cell, source)
        why = say(
            "Something ended the process. Memory is the usual reason, and it was not here: there was enough. {used}", used=used
        )
        remedy = say("Look for what ends processes on this machine: a time limit, another user, the notebook itself.")
        return Failure("killed", killed, why, remedy, cell, source)
    signalled = exit_code is not None and exit_code < 0
    how = say("signal {number}", number=-exit_code) if signalled else say("exit code {code}", code=exit_code)
    return Failure(
        "dead kernel",
        say("The kernel died ({how}).", how=how),
        say("The process crashed or ended itself. {used}", used=used),
        say("Run again with --force. If it dies at the same cell, `exaone-nb doctor` checks the installed engines."),
        cell,
        source,
    )


def explain_timeout(limit_s: float, *, cell: int | None, source: str) -> Failure:
    """The chapter ran longer than its limit."""
    return Failure(
        "timeout",
        f"The chapter did not finish within {limit_s:.0f} s.",
        "It is slower here than its author allowed for, or it waits for something that does not come.",
        "Run it with a longer limit (--timeout SECONDS), or with smaller parameters.",
        cell,
        source,
    )
