"""Why a chapter failed, in plain words, and what to do: the part of a traceback that a reader needs first.

Decided by the number that the operating system gave the error, else by the exception's class. Some libraries raise a
plain OSError or ValueError for something particular: their words stand in WORDS, each with the file that holds them.
"""

import errno
import re
import signal
from dataclasses import dataclass

from exaone_nb.messages import say

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


@dataclass(frozen=True)
class Failure:
    """What goes to the end of the terminal output and to the top of the report."""

    kind: str
    error: str
    why: str
    remedy: str
    cell: int | None = None
    source: str = ""


@dataclass(frozen=True)
class _Kind:
    """`classes` are names of exception classes, which is all that a kernel says of them; `numbers` are errnos."""

    why: str
    remedy: str
    classes: str = ""
    numbers: tuple[int, ...] = ()


_KINDS = {
    "gated model": _Kind(
        say("The hub holds this model back until its licence is accepted."),
        say(
            "Accept the licence on the model's page, log in with `hf auth login`, and run again. Nano needs neither."
        ),
        "GatedRepoError",
    ),
    "no such model": _Kind(
        say("The hub knows no such model, or it is private."),
        say("Check the spelling of MODEL (ORG/NAME), or log in with `hf auth login`."),
        "RepositoryNotFoundError RevisionNotFoundError",
    ),
    "no kernel memory": _Kind(
        say("The engine has too little memory left for its key/value cache."),
        say("Give it a shorter context, fewer requests at once, or a larger VLLM_CPU_KVCACHE_SPACE (GiB)."),
    ),
    "out of memory": _Kind(
        say("The model, its activations or its cache did not fit into memory."),
        say(
            "Take a smaller model, batch or context, or more memory (close other programs); `exaone-nb memory MODEL` "
            "predicts what fits."
        ),
        "OutOfMemoryError MemoryError _ArrayMemoryError",
        (errno.ENOMEM,),
    ),
    "disk full": _Kind(
        say("The disk is full."),
        say("Free some space, or put the run elsewhere with --out."),
        numbers=(errno.ENOSPC, errno.EDQUOT),
    ),
    "network": _Kind(
        say("Something had to be fetched and the network did not give it."),
        say(
            "Check the network or proxy and run again: finished chapters are kept. Offline, use a local folder or nano."
        ),
        # of Python, requests and urllib3, httpx, the hub's client
        "ConnectionError ConnectionRefusedError ConnectionResetError gaierror SSLError ProxyError MaxRetryError "
        "NameResolutionError ConnectTimeout ReadTimeout ConnectError LocalEntryNotFoundError OfflineModeIsEnabled "
        "HfHubHTTPError",
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT),
    ),
    "missing package": _Kind(
        say("A Python package is not installed in the environment that runs the notebooks."),
        say(
            "Run `make install`, or use the Python of the workbook's environment; `exaone-nb doctor` lists what is missing."
        ),
        "ModuleNotFoundError PackageNotFoundError",
    ),
    "import problem": _Kind(
        say("A package is installed, but it does not work with the others."),
        say("`exaone-nb doctor` compares the packages with the lock; `make install` restores them."),
        "ImportError",
    ),
    "missing file": _Kind(
        say("A file that this chapter reads is not there."),
        say("Check the paths among the parameters, and run the chapters that come before."),
        "FileNotFoundError",
    ),
    "interrupted": _Kind(
        say("The chapter was interrupted."),
        say("Run the same command again; finished chapters are kept."),
        "KeyboardInterrupt",
    ),
    "killed": _Kind(
        say(
            "Something ended the process. Memory is the usual reason, and it was not here: there was enough."
        ),
        say("Look for what ends processes on this machine: a time limit, another user, the notebook itself."),
    ),
    "dead kernel": _Kind(
        say("The process crashed or ended itself."),
        say(
            "Run again with --force. If it dies at the same cell, `exaone-nb doctor` checks the installed engines."
        ),
    ),
    "timeout": _Kind(
        say("It is slower here than its author allowed for, or it waits for something that does not come."),
        say("Run it with a longer limit (--timeout SECONDS), or with smaller parameters."),
    ),
    "error": _Kind(
        say("The code of this cell raised an error."),
        say(
            "Open the chapter in JupyterLab (`make lab`), run it up to this cell, and look at the values it uses."
        ),
    ),
}
# The number as Python, Rust ("os error 28") and PyTorch's allocator ("Error code 12 (") write it.
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|\bError code (\d+) \(")
# Words of a message -> kind, and the file that holds them in transformers 5.17, vLLM 0.32 and PyTorch 2.13.
WORDS = {
    "You are trying to access a gated repo": ("gated model", "transformers/utils/hub.py"),
    "is a gated repository": ("gated model", "transformers/utils/hub.py"),
    "is not a valid model identifier": ("no such model", "transformers/utils/hub.py"),
    "We couldn't connect to": ("network", "transformers/utils/hub.py"),
    "No available memory for the cache blocks": ("no kernel memory", "vllm/v1/core/kv_cache_utils.py"),
    "is larger than the available KV cache": ("no kernel memory", "vllm/v1/core/kv_cache_utils.py"),
    # torch.AcceleratorError repeats the driver's words; they are compiled in, in no file that could be searched.
    "CUDA error: out of memory": ("out of memory", ""),
}


def explain(name: str, message: str, *, cell: int | None = None, source: str = "") -> Failure:
    """Turn an exception's name and message into a Failure. `cell` counts code cells from 1."""
    message = ANSI.sub("", message).strip()
    head = f"{name}: {message}" if message else name
    if name in ("WorkbookError", "UsageError", "DiskFull"):
        why, _, remedy = message.partition("\nWhat to do: ")
        kind = "disk full" if name == "DiskFull" else "refused"
        return Failure(
            kind,
            head,
            why.replace("\nExpected: ", " Expected: "),
            remedy or say("See the message."),
            cell,
            source,
        )
    kind, why = _kind_of(name.rpartition(".")[2], message), ""
    if kind == "missing package" and (module := re.search(r"No module named '([\w.]+)'", message)):
        why = say(
            "The Python package {package} is not installed in the environment that runs the notebooks.",
            package=module[1].split(".")[0],
        )
    return _failure(kind, head, cell, source, why)


def _failure(kind: str, error: str, cell: int | None, source: str, why: str = "") -> Failure:
    known = _KINDS[kind]
    return Failure(kind, error, why or known.why, known.remedy, cell, source)


def _kind_of(name: str, message: str) -> str:
    found = _NUMBER.search(message)
    number = int(next(filter(None, found.groups()))) if found else 0
    by_number = next((kind for kind, known in _KINDS.items() if number in known.numbers), "")
    by_words = next((kind for words, (kind, _) in WORDS.items() if words in message), "")
    by_class = next((kind for kind, known in _KINDS.items() if name in known.classes.split()), "error")
    return by_number or by_words or by_class


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
    if exit_code == -signal.SIGKILL:
        kind, error = "out of memory" if memory_short else "killed", say("The kernel was killed (signal 9).")
    else:
        signalled = exit_code is not None and exit_code < 0
        how = (
            say("signal {number}", number=-exit_code)
            if signalled
            else say("exit code {code}", code=exit_code)
        )
        kind, error = "dead kernel", say("The kernel died ({how}).", how=how)
    why = say(
        "{why} It had used up to {peak:.1f} GB of this machine's {total:.1f} GB.",
        why=_KINDS[kind].why, peak=peak_bytes / 1e9, total=total_bytes / 1e9,
    )  # fmt: skip
    return _failure(kind, error, cell, source, why)


def explain_timeout(limit_s: float, *, cell: int | None, source: str) -> Failure:
    """The chapter ran longer than its limit."""
    return _failure("timeout", say("The chapter did not finish within {s:.0f} s.", s=limit_s), cell, source)
