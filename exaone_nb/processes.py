"""Starting processes that cannot outlive whoever asked for them, ending them with all they started, reading their memory.

    child = start(command, stdout=log)     # ends when this process does, however this one ends
    end(child)

    watch = Watch(pid)                     # watch.peak_bytes; watch.end() ends the process and its descendants

`start` runs `python -m exaone_nb.processes PARENT COMMAND...`, a guard between the two. A notebook kernel or a sweep
that is killed says no goodbye, so the guard looks twice a second whether its parent is still there. (Linux could tell
it with PR_SET_PDEATHSIG, but that fires when the starting *thread* ends, and setting it between fork and exec is not
safe in a process that has threads.)
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exaone_nb.messages import say

PATIENCE_SECONDS = 20.0  # between asking a process to end and ending it
LOOK_SECONDS = 0.5
GUARDED = os.name == "posix"
SAMPLE_SECONDS = 0.2
SHORT_OF_MEMORY = 0.1  # the share of all memory below which what is available counts as short
_CGROUPS = Path("/sys/fs/cgroup")


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start `command` under a guard and return the guard. Its exit code is the command's.

    `options` are those of subprocess.Popen. Both have sessions of their own: Ctrl-C in a terminal reaches them only
    through this process, which stops them in order. Windows knows no process groups of that kind: there the command has
    no guard, and must see for itself whether this process is still there.
    """
    if not GUARDED:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    return subprocess.Popen(guarded(command), stdin=subprocess.DEVNULL, start_new_session=True, **options)


def failure_of(command: Sequence[str], patience_seconds: float) -> str:
    """Run a program to its end: why it failed, in its own last words or ours; empty when it did not."""
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=patience_seconds,
        )
    except FileNotFoundError:
        return say("{program} is not installed", program=command[0])
    except subprocess.TimeoutExpired:
        return say("not done after {seconds} seconds", seconds=patience_seconds)
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or [say("no reason given")])[-1]


def guarded(command: Sequence[str], patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """The command line of `command` under a guard, for a library that starts processes itself.

    The command reads the guard's stdin. A guard that is asked to end has `patience_seconds` with its command.
    """
    patience = f"--patience={patience_seconds}"
    return [sys.executable, "-m", "exaone_nb.processes", patience, str(os.getpid()), *command]


def end(child: subprocess.Popen[Any], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """End what `start` started, politely first. Safe to call twice, and on a child that has ended."""
    import psutil

    family: list[Any] = []
    if child.poll() is None:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(child.pid).children(recursive=True)
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_seconds + 5)  # the guard itself has this patience with the command
    if child.poll() is None:
        child.kill()
    child.wait()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


class Watch:
    """Samples the resident memory of a process and, unless told otherwise, of everything it started, from a thread.

    `peak_bytes` is the largest sum of resident sets (RSS) so far. Pages that several processes share are counted once
    for each, so it errs upwards. `least_available_bytes` is the least memory that was left for others. Descendants are
    remembered from every sample, so that `end` also reaches a child whose parent died first.
    """

    def __init__(self, pid: int, every_seconds: float = SAMPLE_SECONDS, descendants: bool = True) -> None:
        import psutil

        self._root = psutil.Process(pid)
        self._seen = {pid: self._root}
        self._every, self._descendants = every_seconds, descendants
        self._stop = threading.Event()
        self._kills = out_of_memory_kills()
        self.peak_bytes, self.least_available_bytes = 0, available_bytes()
        self.first_bytes = self.sample()
        self._thread = threading.Thread(target=self._watch, name=f"memory-{pid}", daemon=True)
        self._thread.start()

    def sample(self) -> int:
        """Resident bytes now."""
        import psutil

        total = 0
        if self._descendants:
            with contextlib.suppress(psutil.Error):
                for child in self._root.children(recursive=True):
                    self._seen.setdefault(child.pid, child)
        for process in list(self._seen.values()):
            with contextlib.suppress(psutil.Error):
                if process.is_running():
                    total += process.memory_info().rss
        self.peak_bytes = max(self.peak_bytes, total)
        if self._descendants:
            self.least_available_bytes = min(self.least_available_bytes, available_bytes())
        return total

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self.sample()

    @property
    def was_short(self) -> bool:
        """Whether memory was short while this watched: the system killed for it, or less than a tenth was left."""
        return out_of_memory_kills() > self._kills or (
            self.least_available_bytes < SHORT_OF_MEMORY * total_bytes()
        )

    def stop(self) -> None:
        """Take the last sample and stop watching."""
        self._stop.set()
        self._thread.join()
        self.sample()

    def end(self, patience_seconds: float = 3.0) -> None:
        """Terminate, then kill, every watched process that is still alive. Safe to call twice."""
        import psutil

        self.stop()
        alive: list[psutil.Process] = []
        for process in self._seen.values():
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
        for how in ("terminate", "kill"):
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    getattr(process, how)()
            _, alive = psutil.wait_procs(alive, timeout=patience_seconds)


@contextlib.contextmanager
def nothing_written() -> Iterator[None]:
    """What Python and libraries in C write to the terminal meanwhile is dropped; exceptions come through."""
    with tempfile.TemporaryFile() as sink, contextlib.ExitStack() as undo:
        for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            kept = os.dup(descriptor)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, descriptor)
            undo.callback(stream.flush)
            os.dup2(sink.fileno(), descriptor)
        undo.callback(_flush_c)
        yield


def _flush_c() -> None:
    """In a pipe C keeps what it prints until a buffer is full."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # where C's library has no name for itself
        ctypes.CDLL(None).fflush(None)


def total_bytes() -> int:
    """Memory of this machine, or of the container (control group) that this process runs in where that is less."""
    import psutil

    return min(
        psutil.virtual_memory().total, _group("memory.max", "memory.limit_in_bytes").get("", sys.maxsize)
    )


def available_bytes() -> int:
    """Memory that can be had now without swapping, in this machine and in this container."""
    import psutil

    figures = _group("memory.stat")
    # Given back when it is needed.
    cached = figures.get("total_inactive_file", figures.get("inactive_file", 0))
    limit = _group("memory.max", "memory.limit_in_bytes").get("", sys.maxsize)
    used = _group("memory.current", "memory.usage_in_bytes").get("", 0)
    return max(0, min(psutil.virtual_memory().available, limit - used + cached))


def out_of_memory_kills() -> int:
    """How often the system has killed a process for want of memory, in this container and on this machine."""
    counters = (_group("memory.events"), _group("memory.oom_control"), _figures(Path("/proc/vmstat")))
    return sum(counter.get("oom_kill", 0) for counter in counters)


def _group(*files: str) -> dict[str, int]:
    """The figures in those of these files that the control group which bounds our memory has, of version 2 or 1.

    A file with a lone number has it under the empty name, and "max" is no number.
    """
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            root = _CGROUPS / controllers
            for folder in (root, root / place.lstrip("/")):  # a container sees its own group as the root
                for file in files:
                    found |= _figures(folder / file)
    return found


def _figures(path: Path) -> dict[str, int]:
    """A file of lines `name number`; empty where there is none."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            *name, number = line.split()
            found[" ".join(name)] = int(number)
    return found


def _guard(parent: int, command: list[str]) -> int:
    """Run `command` in a session of its own until it ends, `parent` is gone, or this process is told to stop."""
    if os.getppid() != parent:  # gone before this Python had started
        return 1
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while child.poll() is None and not stopping and os.getppid() == parent:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(LOOK_SECONDS)
    finally:
        _end_group(child)
    return child.returncode


def _end_group(child: subprocess.Popen[Any]) -> None:
    """End the child's whole process group, workers of a dead child included."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            child.poll()  # a zombie counts as a member of its group
            os.killpg(child.pid, 0)
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    asked = sys.argv[1:]
    if asked[0].startswith("--patience="):
        PATIENCE_SECONDS = float(asked.pop(0).partition("=")[2])
    code = _guard(int(asked[0]), asked[1:])
    if code < 0:  # ended by a signal: so that whoever started the guard sees the same
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    sys.exit(code)
