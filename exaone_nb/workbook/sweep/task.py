"""One run of a sweep as one process: the same command a person would type, in its own process group.

Both engines use it, so that a run on a cluster is the run on this machine.
"""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb import processes
from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_json
from exaone_nb.messages import say
from exaone_nb.workbook import record, store
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.execution import Executor
from exaone_nb.workbook.store import NOT_YET
from exaone_nb.workbook.sweep.grid import Grid, SweepRun
from exaone_nb.workbook.values import values_for

POLL_SECONDS = 0.2
LEFT_BEHIND_SECONDS = 60.0


@dataclass(frozen=True)
class TaskResult:
    """How one run ended: ok, kept (was finished before), failed, timeout, stopped or lost; `why` in words."""

    name: str
    status: str
    seconds: float = 0.0
    why: str = ""


def finished(folder: Path) -> bool:
    """Whether a run's folder holds a run that ended well."""
    with contextlib.suppress(WorkbookError):
        return record.read(folder).status == "ok"
    return False


def why_to_run(folder: Path, chapters: Sequence[Chapter], parameters: Mapping[str, Any]) -> str:
    """Why a run must be (re)done, in words; empty when it ended well and all that it depends on is as it was.

    It asks what `run` asks before it keeps a chapter, without starting a process.
    """
    if not (folder / record.FILE).exists():
        return NOT_YET
    try:
        before = record.read(folder)
    except WorkbookError:
        return say("its run.json is damaged")
    if before.status != "ok":
        return say("was {status}", status=before.status)
    executor = Executor(folder, values_for(chapters, parameters))
    for chapter in chapters:
        parts = executor.begin(chapter).key_parts
        if why := store.why_stale(folder, chapter, before.chapters.get(chapter.number), parts):
            return say("chapter {number}: {why}", number=chapter.number, why=why)
    return ""


def execute(
    grid: Grid, run: SweepRun, force: bool = False, should_stop: Callable[[], bool] = lambda: False
) -> TaskResult:
    """Run the chapters into the run's folder below the grid's. Never raises for a run that fails.

    The process ends when its parent does (a lost worker must not leave a run behind that holds the folder), when the
    time is up, and soon after `should_stop()` turns true.
    """
    name, target = run.name, grid.folder / run.name
    if should_stop():
        return TaskResult(name, "stopped", why="the sweep was stopped before it began")
    given = target / "parameters.json"
    command = [sys.executable, "-m", "exaone_nb", "run", *grid.chapters, "--out", f"{target}/", "--jobs", "1"]
    command += ["--notebooks", str(grid.notebooks), "--parameters-file", str(given)]
    command += ["--json", "--force"] if force else ["--json"]
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            write_json(given, run.parameters)
            log = stack.enter_context(open(target / "log.txt", "a", encoding="utf-8"))
        except (OSError, WorkbookError) as error:
            return TaskResult(name, "failed", why=f"{target} cannot be written: {error}")
        since = log.tell()
        wait_for_lock(target, should_stop)
        # Ray sets its own otherwise, a shell none
        environment = os.environ | {"OMP_NUM_THREADS": str(grid.threads)}
        process = processes.start(command, stdout=log, stderr=log, env=environment)
        status = ""
        try:
            while process.poll() is None and not status:
                time.sleep(POLL_SECONDS)
                if should_stop():
                    status = "stopped"
                elif grid.timeout_s is not None and time.monotonic() - started > grid.timeout_s:
                    status = "timeout"
        finally:
            processes.end(process)
    seconds = time.monotonic() - started
    if status:
        return TaskResult(name, status, seconds, f"ended after {seconds:.0f} s")
    if process.returncode == 0 and finished(target):
        return TaskResult(name, "ok", seconds)
    return TaskResult(name, "failed", seconds, reason(target, since, process.returncode))


def wait_for_lock(folder: Path, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Wait until the run that a killed sweep or a lost worker left behind has ended, which takes it some seconds.

    After LEFT_BEHIND_SECONDS go on anyway: the run then says who holds the folder.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / store.LOCK)
    with (
        contextlib.suppress(Timeout),
        lock.acquire(LEFT_BEHIND_SECONDS, POLL_SECONDS, cancel_check=should_stop),
    ):
        return


def reason(folder: Path, since: int = 0, code: int = 1) -> str:
    """Why a run failed: what it said on its way out, else its first failed chapter, else the end of its log.

    `since` is where this attempt begins in the log, in bytes, and `code` how its process ended.
    """
    text = ""
    with contextlib.suppress(OSError), open(folder / "log.txt", "rb") as log:
        log.seek(since)
        text = log.read().decode("utf-8", errors="replace").strip()
    if last := list(re.finditer(r"^error: ", text, re.MULTILINE)):
        return text[last[-1].end() :]
    if code < 0:
        ended = signal.Signals(-code).name
        return say("its process was ended from outside ({signal}); perhaps the memory was full", signal=ended)
    with contextlib.suppress(WorkbookError, StopIteration):
        failed = next(chapter for chapter in record.read(folder).ordered() if chapter.failure)
        return say("chapter {number}: {error}", number=failed.number, error=failed.failure.error)[:300]
    return text.splitlines()[-1][:300] if text else say("it left no message")
