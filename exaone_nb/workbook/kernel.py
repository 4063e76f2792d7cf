"""Executing one notebook in a Jupyter kernel: fresh for heavy chapters, warm for light ones.

nbclient does the work; what is added here is papermill's idea of an injected cell, a limit for the whole
chapter, a kernel that outlives its notebook, memory of the process tree, and an ending that leaves nothing alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.processes import Watch
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.explain import Failure, explain, explain_dead_kernel, explain_timeout

START_SECONDS = 120
_SILENT = logging.getLogger("exaone_nb.nbclient")
_SILENT.setLevel(logging.CRITICAL + 1)
# Both are run without a trace in the notebook.
REMEMBER = "import exaone_nb.workbook.warm"
START_OVER = "import exaone_nb.workbook.warm; exaone_nb.workbook.warm.start_over()"


@dataclass
class Execution:
    """What came of one notebook. `failure` is None when it ran to its end; the document is there in both cases."""

    document: dict[str, Any]
    seconds: float
    peak_bytes: int
    failure: Failure | None = None


def inject(chapter: Chapter, values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the notebook with a cell of these values after its `parameters` cell (papermill's convention)."""
    document = copy.deepcopy(chapter.document)
    if not values:
        return document
    cell = {
        "cell_type": "code",
        "id": "injected-parameters",
        "metadata": {"tags": ["injected-parameters"]},
        "execution_count": None,
        "outputs": [],
        "source": "# Values of this run\n"
        + "\n".join(f"{name} = {value!r}" for name, value in values.items()),
    }
    cells = document["cells"]
    place = next((i for i, c in enumerate(cells) if has_tag(c, "parameters")), -1)
    cells.insert(place + 1, cell)
    return document


@contextlib.contextmanager
def _without_slow_imports():
    """nbformat's schema checker imports a grammar (1.5 s) for a kind of address that no notebook contains."""
    absent = "rfc3987_syntax" not in sys.modules
    if absent:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            sys.modules.pop("rfc3987_syntax", None)


def _import_nbclient() -> None:
    with _without_slow_imports():
        import nbclient  # noqa: F401


class Kernel:
    """One running kernel process and the client that talks to it. `shared`: others may run beside it."""

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self._manager: Any = None
        self._client: Any = None
        self._sockets = ""
        # A kernel that is ended while it works complains on its standard error, below what the notebook captures. That
        # is no news to the person who ended it; when a kernel cannot start, it is the reason.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        self.tree: Watch | None = None
        self.used = False

    async def start(self, folder: Path) -> Kernel:
        """Start the process in `folder`. The Python is the one that runs this code, whatever kernelspecs say."""
        from jupyter_client.manager import AsyncKernelManager

        # Sockets in a folder of our own rather than TCP ports: nobody else can connect, and no port can be taken.
        self._sockets = tempfile.mkdtemp(prefix="exaone-nb-") if os.name == "posix" else ""
        self._manager = AsyncKernelManager(kernel_name="python3")
        if self._sockets:
            self._manager.transport, self._manager.ip = "ipc", f"{self._sockets}/kernel"
            self._manager.connection_file = f"{self._sockets}/kernel.json"
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._manager.kernel_spec.argv[:] = command
        environment = {**os.environ, "EXAONE_NB_HEADLESS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        environment.setdefault("TQDM_MININTERVAL", "5")
        if self.shared:
            # OpenMP threads that wait by spinning take the cores from the neighbours: chapters 03 and 04 together took
            # 134 s with and 72 s without. A chapter that measures is alone and keeps what its user's programs have.
            environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        environment.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        await self._manager.start_kernel(
            cwd=str(folder),
            env=environment,
            stderr=self._errors,
            extra_arguments=["--HistoryManager.hist_file=:memory:"],
        )
        self.tree = Watch(self._manager.provisioner.pid)
        self._client = self._manager.client()
        self._client.start_channels()
        await asyncio.to_thread(_import_nbclient)  # while the kernel's own process starts up
        try:
            await self._client.wait_for_ready(timeout=START_SECONDS)
        except RuntimeError as error:
            raise WorkbookError(
                f"A notebook kernel did not start: {self._last_words() or error}",
                remedy="`exaone-nb doctor` checks what is installed.",
            ) from error
        self._client.allow_stdin = False
        await self._quietly(REMEMBER)
        return self

    async def _quietly(self, code: str) -> None:
        await self._client.execute_interactive(
            code, silent=True, output_hook=lambda message: None, timeout=START_SECONDS
        )

    async def execute(
        self,
        document: dict[str, Any],
        timeout_s: float,
        on_cell: Callable[[int, int], None] = lambda done, total: None,
    ) -> Execution:
        """Run every code cell. Never raises for what a cell does; cancelling it leaves the kernel to `close`."""
        import nbformat
        import psutil
        from nbclient import NotebookClient
        from nbclient.exceptions import CellControlSignal, DeadKernelError

        assert self.tree is not None
        notebook = nbformat.from_dict(document)
        client = NotebookClient(
            notebook, km=self._manager, timeout=None, coalesce_streams=True, record_timing=False
        )
        client.log = _SILENT  # what it would log is in the Execution
        client.kc = self._client
        client.reset_execution_trackers()
        self.tree.peak_bytes = 0
        code = [
            i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()
        ]
        injected = sum(has_tag(notebook.cells[i], "injected-parameters") for i in code)
        if self.used:
            await self._quietly(START_OVER)
        self.used = True
        at, failure = 0, None
        limit = asyncio.timeout(timeout_s)
        began = time.monotonic()
        try:
            async with limit:
                for at, index in enumerate(code, start=1):
                    on_cell(at, len(code))
                    await client.async_execute_cell(notebook.cells[index], index, execution_count=at)
        except (TimeoutError, DeadKernelError, CellControlSignal) as error:
            # The cell is counted as the reader counts: without the one that the runner put in.
            where = {"cell": max(1, at - injected), "source": notebook.cells[code[max(at, 1) - 1]].source}
            # nbclient reports a cancelled wait as a dead kernel, whoever cancelled it.
            if isinstance(error, TimeoutError) or limit.expired():
                failure = explain_timeout(timeout_s, **where)
            elif isinstance(error, DeadKernelError):
                if (task := asyncio.current_task()) and task.cancelling():
                    raise asyncio.CancelledError from error
                total = psutil.virtual_memory().total
                failure = explain_dead_kernel(await self._exit_code(), self.tree.peak_bytes, total, **where)
            else:
                name = getattr(error, "ename", type(error).__name__)
                failure = explain(name, getattr(error, "evalue", str(error)), **where)
        client.set_widgets_metadata()
        self.tree.sample()
        return Execution(_plain(notebook), time.monotonic() - began, self.tree.peak_bytes, failure)

    async def _exit_code(self) -> int | None:
        process = getattr(self._manager.provisioner, "process", None)
        for _ in range(20):
            if process is None or process.poll() is not None:
                break
            await asyncio.sleep(0.1)
        return process.returncode if process is not None else None

    def _last_words(self, most_bytes: int = 500) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - most_bytes))
        return self._errors.read().decode(errors="replace").strip()

    async def close(self, patience_seconds: float = 5.0) -> None:
        """Ask the kernel to finish, then end whatever is left of its process tree."""
        if self._manager is None:
            return
        with contextlib.suppress(Exception):
            if self._client is not None:
                self._client.stop_channels()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(patience_seconds):
                await self._manager.shutdown_kernel(now=False)
        if self.tree is not None:
            await asyncio.to_thread(self.tree.end)
        with contextlib.suppress(Exception):
            await self._manager.shutdown_kernel(now=True)
        if self._sockets:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._errors.close()
        self._manager = None


def _plain(value: Any) -> Any:
    """nbformat's nodes as plain dicts and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
