"""Why a chapter failed, in plain words, and what to do: the part of a traceback that a reader needs first.

Decided by the number that the operating system gave the error, else by the exception's class. Some libraries raise a
plain OSError or ValueError for something particular: their words stand in WORDS, each with the file that holds them.
"""

from __future__ import annotations

import errno
import re
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


# Kind -> why, and what to do.
_KINDS = {
    "gated model": (
        say("The hub holds this model back until its licence is accepted."),
        say(
            "Accept the licence on the model's page, log in with `hf auth login`, and run again. MODEL=nano needs neither."
        ),
    ),
    "no such model": (
        say("The hub knows no such model, or it is private."),
        say("Check the spelling of MODEL (ORG/NAME), or log in with `hf auth login`."),
    ),
    "no kernel memory": (
        say("The engine has too little memory left for its key/value cache."),
        say("Give it a shorter context, fewer requests at once, or a larger VLLM_CPU_KVCACHE_SPACE (GiB)."),
    ),
    "out of memory": (
        say("The model, its activations or its cache did not fit into memory."),
        say(
            "Take a smaller model or batch, a shorter context, or a machine with more memory; "
            "`exaone-nb memory MODEL` predicts what fits."
        ),
    ),
    "disk full": (say("The disk is full."), say("Free some space, or put the run elsewhere with --out.")),
    "network": (
        say("Something had to be fetched and the network did not give it."),
        say(
            "Check the network or proxy and run again: finished chapters are kept. "
            "Offline, use MODEL=nano or a local folder."
        ),
    ),
    "missing package": (
        say("A Python package is not installed in the environment that runs the notebooks."),
        say(
            "Run `make install`, or start the workbook with the Python of its own environment; `exaone-nb doctor` lists "
            "what is missing."
        ),
    ),
    "import problem": (
        say("A package is installed, but it does not work with the others."),
        say("`exaone-nb doctor` compares the packages with the lock; `make install` restores them."),
    ),
    "missing file": (
        say("A file that this chapter reads is not there."),
        say("Check the paths among the parameters, and run the chapters that come before."),
    ),
    "interrupted": (
        say("The chapter was interrupted."),
        say("Run the same command again; finished chapters are kept."),
    ),
    "error": (
        say("The code of this cell raised an error."),
        say(
            "Open the chapter in JupyterLab (`make lab`), run it up to this cell, and look at the values it uses."
        ),
    ),
}

# Name of the exception's class, all that a kernel reports of it -> kind.
_CLASSES = {
    "GatedRepoError": "gated model",
    **dict.fromkeys(("RepositoryNotFoundError", "RevisionNotFoundError"), "no such model"),
    **dict.fromkeys(("OutOfMemoryError", "MemoryError", "_ArrayMemoryError"), "out of memory"),
    **dict.fromkeys(
        (
            # Python, requests and urllib3, httpx, the hub's client
            *("ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "gaierror", "SSLError"),
            *(
                "ProxyError",
                "MaxRetryError",
                "NameResolutionError",
                "ConnectTimeout",
                "ReadTimeout",
                "ConnectError",
            ),
            *("LocalEntryNotFoundError", "OfflineModeIsEnabled", "HfHubHTTPError"),
        ),
        "network",
    ),
    **dict.fromkeys(("ModuleNotFoundError", "PackageNotFoundError"), "missing package"),
    "ImportError": "import problem",
    "FileNotFoundError": "missing file",
    "KeyboardInterrupt": "interrupted",
}
# The operating system's number, as Python, Rust ("os error 28") and PyTorch's allocator ("Error code 12 (") write it.
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|\bError code (\d+) \(")
_NUMBERS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "disk full"),
    errno.ENOMEM: "out of memory",
    **dict.fromkeys(
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT),
        "network",
    ),
}


@dataclass(frozen=True)
class Words:
    """A piece of a library's message. `seen` is the version it was read in, `file` where it stands in the package."""

    text: str
    kind: str
    seen: str
    file: str


WORDS = (
    Words(
        "You are trying to access a gated repo",
        "gated model",
        "transformers 5.17",
        "transformers/utils/hub.py",
    ),
    Words("is a gated repository", "gated model", "transformers 5.17", "transformers/utils/hub.py"),
    Words(
        "is not a valid model identifier", "no such model", "transformers 5.17", "transformers/utils/hub.py"
    ),
    Words("We couldn't connect to", "network", "transformers 5.17", "transformers/utils/hub.py"),
    Words(
        "No available memory for the cache blocks",
        "no kernel memory",
        "vLLM 0.32",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    Words(
        "is larger than the available KV cache",
        "no kernel memory",
        "vLLM 0.32",
        "vllm/v1/core/kv_cache_utils.py",
    ),
    # torch.AcceleratorError has the driver's words alone; they are compiled in, in no file that could be searched.
    Words("CUDA error: out of memory", "out of memory", "PyTorch 2.13", ""),
)


def explain(name: str, message: str, *, cell: int | None = None, source: str = "") -> Failure:
    """Turn an exception's name and message into a Failure. `cell` counts code cells from 1."""
    message = _ANSI.sub("", message).strip()
    head = f"{name}: {message}" if message else name
    if name in ("WorkbookError", "UsageError", "DiskFull"):
        got, _, rest = message.partition("\nWhat to do: ")
        got, _, expected = got.partition("\nExpected: ")
        why = f"{got} Expected: {expected}" if expected else got
        kind = "disk full" if name == "DiskFull" else "refused"
        return Failure(kind, head, why, rest or say("See the message."), cell, source)
    kind = _kind_of(name, message)
    why, remedy = _KINDS[kind]
    if kind == "missing package" and (module := re.search(r"No module named '([\w.]+)'", message)):
        why = say(
            "The Python package {package} is not installed in the environment that runs the notebooks.",
            package=module[1].split(".")[0],
        )
    return Failure(kind, head, why, remedy, cell, source)


def _kind_of(name: str, message: str) -> str:
    number = _NUMBER.search(message)
    by_number = _NUMBERS.get(int(next(filter(None, number.groups())))) if number else None
    by_words = next((words.kind for words in WORDS if words.text in message), None)
    return by_number or by_words or _CLASSES.get(name.rpartition(".")[2], "error")


def explain_dead_kernel(
    exit_code: int | None, peak_bytes: int, total_bytes: int, *, cell: int | None, source: str
) -> Failure:
    """The kernel's process ended by itself: killed for memory, crashed in native code, or ended by the notebook."""
    used = f"It had used up to {peak_bytes / 1e9:.1f} GB of this machine's {total_bytes / 1e9:.1f} GB."
    if exit_code == -9:
        return Failure(
            "out of memory",
            "The kernel was killed (signal 9).",
            f"The operating system ended the process, which it does when memory runs out. {used}",
            "Take a smaller model or batch, a shorter context, or close other programs; `exaone-nb memory MODEL` "
            "predicts what fits.",
            cell,
            source,
        )
    how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    return Failure(
        "dead kernel",
        f"The kernel died ({how}).",
        f"The process crashed or ended itself. {used}",
        "Run again with --force. If it dies at the same cell, `exaone-nb doctor` checks the installed engines.",
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
