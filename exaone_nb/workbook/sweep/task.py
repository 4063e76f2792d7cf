"""One run of a sweep as one process: the same command a person would type, in its own process group.

Both engines use it, so that a run on a cluster is the run on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exaone_nb.files import write_json
from exaone_nb.workbook.store import LOCK

GRACE_SECONDS = 20.0
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class TaskResult:
    """How one run ended: ok, kept (was finished before), failed, timeout, stopped or lost; `why` in words."""

    name: str
    status: str
    seconds: float = 0.0
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def finished(folder: Path) -> bool:
    """Whether a run's folder holds a run that ended well."""
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "ok"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def execute(
    name: str,
    folder: str,
    chapters: list[str],
    notebooks: str,
    parameters: dict[str, Any],
    threads: int = 1,
    timeout_s: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run the chapters into `folder` and return a TaskResult as a dict. Never raises for a run that fails.

    `threads` is the number it computes with. The process ends when its parent does (a lost worker must not leave a run
    behind that holds the folder), when the time is up, and soon after `should_stop()` turns true.
    """
    target = Path(folder)
    if should_stop():
        return TaskResult(name, "stopped", why="the sweep was stopped before it began").as_dict()
    values = write_json(target / "parameters.json", parameters)
    command = [sys.executable, "-m", "exaone_nb", "run", *chapters, "--out", f"{target}/", "--json"]
    command += ["--notebooks", notebooks, "--parameters-file", str(values), "--jobs", "1"]
    started = time.monotonic()
    with open(target / "log.txt", "a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},  # Ray sets its own otherwise, a shell none
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        status = ""
        try:
            while process.poll() is None and not status:
                time.sleep(POLL_SECONDS)
                if should_stop():
                    status = "stopped"
                elif timeout_s is not None and time.monotonic() - started > timeout_s:
                    status = "timeout"
        finally:
            stop(process)
    seconds = time.monotonic() - started
    if status:
        return TaskResult(name, status, seconds, f"ended after {seconds:.0f} s").as_dict()
    if process.returncode == 0 and finished(target):
        return TaskResult(name, "ok", seconds).as_dict()
    return TaskResult(name, "failed", seconds, reason(target)).as_dict()


def wait_for_lock(folder: Path, seconds: float = 60.0) -> None:
    """Wait until the run that a lost worker left behind has let go of `folder`; after `seconds` go on anyway."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout), FileLock(folder / LOCK).acquire(timeout=seconds):
        pass


def stop(process: subprocess.Popen[Any]) -> None:
    """End a run and everything it started: politely, so that it closes its kernels, then for good."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def reason(folder: Path) -> str:
    """Why a run failed: its first failed chapter, else the end of its log."""
    try:
        chapters = json.loads((folder / "run.json").read_text(encoding="utf-8"))["chapters"]
        for number, entry in sorted(chapters.items()):
            if entry.get("status") == "failed":
                failure = entry.get("failure") or {}
                return f"chapter {number}: {failure.get('error') or failure.get('why') or 'failed'}"[:300]
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    with contextlib.suppress(OSError):
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:300]
    return "it left no message"


def _end_with_parent() -> None:
    """Linux: ask the kernel for SIGTERM when the parent dies (prctl, PR_SET_PDEATHSIG). Elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
