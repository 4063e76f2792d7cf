"""Where the runs of a sweep are executed: processes on this machine, or tasks on a Ray cluster.

Both take the unfinished runs and yield results as they come. A run that fails does not stop the others. Each run is one
process in a group of its own, with the command that a person would type, so that a run on a cluster is the run here.
Ray is the cluster engine because vLLM's own multi-node mode uses it; it is an optional extra.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exaone_nb import processes
from exaone_nb.errors import UsageError, WorkbookError
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
RETRIES_OF_A_LOST_WORKER = 3
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class TaskResult:
    """How one run ended: ok, kept (was finished before), failed, timeout, stopped or lost; `why` in words."""

    name: str
    status: str
    seconds: float = 0.0
    why: str = ""


def finished(folder: Path) -> bool:
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
    from filelock import FileLock, Timeout

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
            return TaskResult(
                name, "failed", why=say("{path} cannot be written: {reason}", path=target, reason=error)
            )
        since = log.tell()
        # The run that a killed sweep or a lost worker left behind ends within seconds; if not, this one says who holds it.
        lock = FileLock(target / store.LOCK)
        with (
            contextlib.suppress(Timeout),
            lock.acquire(LEFT_BEHIND_SECONDS, POLL_SECONDS, cancel_check=should_stop),
        ):
            pass
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
        return TaskResult(name, status, seconds, say("ended after {seconds:.0f} s", seconds=seconds))
    if process.returncode == 0 and finished(target):
        return TaskResult(name, "ok", seconds)
    return TaskResult(name, "failed", seconds, reason(target, since, process.returncode))


def reason(folder: Path, since: int = 0, code: int = 1) -> str:
    """Why a run failed: what it said on its way out, else its first failed chapter, else the end of its log.

    `since` is where this attempt begins in the log, in bytes, and `code` how its process ended.
    """
    text = ""
    with contextlib.suppress(OSError), open(folder / "log.txt", "rb") as log:
        log.seek(since)
        text = log.read().decode("utf-8", errors="replace").strip()
    if last := list(re.finditer(f"^{re.escape(say('error: {got}', got=''))}", text, re.MULTILINE)):
        return text[last[-1].end() :]
    if code < 0:
        ended = signal.Signals(-code).name
        return say("its process was ended from outside ({signal}); perhaps the memory was full", signal=ended)
    with contextlib.suppress(WorkbookError, StopIteration):
        failed = next(chapter for chapter in record.read(folder).ordered() if chapter.failure)
        return say("chapter {number}: {error}", number=failed.number, error=failed.failure.error)[:300]
    return text.splitlines()[-1][:300] if text else say("it left no message")


def local(grid: Grid, runs: list[SweepRun], jobs: int = 1, force: bool = False) -> Iterator[TaskResult]:
    """One process per run, `jobs` at a time. On Ctrl-C every process is ended before the exception goes on."""
    stopping = threading.Event()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(execute, grid, run, force, stopping.is_set) for run in runs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            stopping.set()
            for future in futures:
                future.cancel()
            raise


def on_ray(
    grid: Grid, runs: list[SweepRun], address: str = "auto", store: str = "", force: bool = False
) -> Iterator[TaskResult]:
    """One Ray task per run. Ray gives each task the GPUs and cores the grid asks for.

    Without `store` the sweep's folder must be on storage that all nodes share. With it (any fsspec address, for
    instance s3://bucket/sweeps) a worker runs in a folder of its own, uploads it there, and it is fetched from
    there. A run whose worker or node is lost is started again elsewhere. Raises UsageError when Ray is not
    installed, WorkbookError when no cluster answers.
    """
    if store:
        _place(store)
    ray = _ray(address)
    needs = {"num_cpus": grid.cpus_per_run, "num_gpus": grid.gpus_per_run}
    remote = ray.remote(**needs, max_retries=RETRIES_OF_A_LOST_WORKER)(_execute_on_worker)
    names = {remote.remote(grid, run, force, store): run.name for run in runs}
    waiting = list(names)
    try:
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            for reference in done:
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    why = say("{kind}: its worker was lost", kind=type(error).__name__)
                    result = TaskResult(names[reference], "lost", why=why)
                if store and result.status == "ok":
                    _fetch(store, grid.folder / result.name)
                yield result
    except BaseException:
        for reference in waiting:
            ray.cancel(reference, force=True)
        raise
    finally:
        ray.shutdown()


def _execute_on_worker(grid: Grid, run: SweepRun, force: bool, store: str) -> TaskResult:
    """Runs on the cluster. Installed there must be the same workbook, in the same place."""
    if not store:
        return execute(grid, run, force)
    with tempfile.TemporaryDirectory(prefix="exaone-nb-") as own:
        result = execute(replace(grid, folder=Path(own)), run, force)
        files, root = _place(store)
        place = f"{root}/{run.name}"
        if files.exists(place):  # what an earlier version of the run left must not lie among the new
            files.rm(place, recursive=True)
        files.makedirs(root, exist_ok=True)
        files.put(f"{own}/{run.name}/", f"{place}/", recursive=True)
        return result


def _place(store: str) -> tuple[Any, str]:
    """The file system and the folder of an address. Raises UsageError for one that fsspec does not understand."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(store)
    except (ValueError, ImportError, OSError) as error:
        raise UsageError(
            say("--store {store}: {reason}", store=store, reason=error),
            expected="an fsspec address that every node can write to, as s3://bucket/sweeps.",
            remedy="Check the address, and install its driver on every node.",
        ) from error


def _fetch(store: str, folder: Path) -> None:
    """Bring a finished run here, in place of what an earlier version of it left."""
    files, root = _place(store)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    files.get(f"{root}/{folder.name}/", f"{folder}/", recursive=True)


def _ray(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Ray is not installed.", remedy="exaone-nb install --ray, or use --on local."
        ) from error
    try:
        host, _, port = address.rpartition(":")
        if host and "://" not in address:  # Ray itself would try for minutes, and then end the process
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise WorkbookError(
            say("No Ray cluster answers at {address!r}.", address=address),
            expected="the address of a running cluster.",
            remedy="Start one (`ray start --head`), or give --address HOST:PORT.",
        ) from error
    return ray
