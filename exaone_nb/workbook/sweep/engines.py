"""Where the runs of a sweep are executed: processes on this machine, or tasks on a Ray cluster.

Both take the unfinished runs and yield results as they come. A run that fails does not stop the others.
Ray is the cluster engine because vLLM's own multi-node mode uses it; it is an optional extra.
"""

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook.sweep.grid import Grid, SweepRun
from exaone_nb.workbook.sweep.task import TaskResult, execute

RETRIES_OF_A_LOST_WORKER = 3
CONNECT_SECONDS = 5


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
                    why = f"{type(error).__name__}: its worker was lost"
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
    from exaone_nb.workbook.sweep.task import execute

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
            f"--store {store}: {error}",
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
        raise UsageError("Ray is not installed.", remedy="make install-ray, or use --on local.") from error
    try:
        host, _, port = address.rpartition(":")
        if host and "://" not in address:  # Ray itself would try for minutes, and then end the process
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise WorkbookError(
            f"No Ray cluster answers at {address!r}.",
            expected="the address of a running cluster.",
            remedy="Start one (`ray start --head`), or give --address HOST:PORT.",
        ) from error
    return ray
