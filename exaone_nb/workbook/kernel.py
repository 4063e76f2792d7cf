"""One kernel: a process of its own for one notebook, with what it needs around it and an end that leaves nothing alive.

Starting returns at once; whoever talks to the kernel waits for it in `client`. What runs in a kernel runs in its own
event loop (`run`), in the thread that started it; `cancel` may be called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.processes import Watch

START_SECONDS = 120
OWN_KERNEL = "python3"
Result = TypeVar("Result")


class Kernel:
    """A Jupyter kernel. `timed`: something in the notebook is timed, so its threads wait as its user's programs do."""

    def __init__(self, timed: bool = False, name: str = OWN_KERNEL) -> None:
        self._timed, self._name = timed, name
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._sockets = ""
        self._client: Any = None
        self.manager: Any = None
        self.watch: Watch | None = None
        # A kernel that is ended while it works complains on its standard error, below what the notebook captures. That
        # is no news to the person who ended it; when a kernel cannot start, it is the reason.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)

    def start(self, folder: Path) -> Kernel:
        """Start the process in `folder`. A `python3` kernel is the Python that runs this code, whatever kernelspecs say."""
        self.run(self._start(folder))
        return self

    async def _start(self, folder: Path) -> None:
        from jupyter_client.manager import AsyncKernelManager

        manager = AsyncKernelManager(kernel_name=self._name)
        if os.name == "posix":
            # Sockets in a folder of our own rather than TCP ports: nobody else can connect, and no port can be taken.
            self._sockets = tempfile.mkdtemp(prefix="exaone-nb-")
            manager.transport, manager.ip = "ipc", f"{self._sockets}/kernel"
            manager.connection_file = f"{self._sockets}/kernel.json"
        arguments = []
        if self._name == OWN_KERNEL:
            manager.kernel_spec.argv[:] = [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
            ]
            arguments = ["--HistoryManager.hist_file=:memory:"]
        self.manager = manager
        await manager.start_kernel(
            cwd=str(folder), env=self._environment(), stderr=self._errors, extra_arguments=arguments
        )
        self.watch = Watch(manager.provisioner.pid)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "EXAONE_NB_HEADLESS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        environment.setdefault("TQDM_MININTERVAL", "5")
        environment.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        if not self._timed:
            # OpenMP threads that wait by spinning take the cores from whatever else runs: with two busy neighbours a
            # chapter of 50 seconds took 7 minutes.
            environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        return environment

    async def client(self, start_seconds: float = START_SECONDS) -> Any:
        """A client that the kernel answers. Raises WorkbookError with the kernel's last words when it cannot start."""
        self._client = self.manager.client()
        self._client.start_channels()
        try:
            await self._client.wait_for_ready(timeout=start_seconds)
        except RuntimeError as error:
            raise WorkbookError(
                say("A notebook kernel did not start: {reason}", reason=self._last_words() or str(error)),
                remedy=say("`exaone-nb doctor` checks what is installed."),
            ) from error
        self._client.allow_stdin = False
        return self._client

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` to its end in the kernel's event loop. Raises CancelledError after `cancel`."""

        async def cancellable() -> Result:
            self._task = asyncio.current_task()
            try:
                if self._cancelled:
                    raise asyncio.CancelledError
                return await work
            finally:
                self._task = None
                work.close()

        return self._runner.run(cancellable())

    def cancel(self) -> None:
        """End what runs now and whatever would be run later. From any thread, at any time."""
        self._cancelled = True
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._cancel_now)

    def _cancel_now(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def exit_code(self) -> int | None:
        """How the process ended; None when it has not, within two seconds."""
        for _ in range(20):
            if (code := await self.manager.provisioner.poll()) is not None:
                return code
            await asyncio.sleep(0.1)
        return None

    def _last_words(self, most_bytes: int = 500) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - most_bytes))
        return self._errors.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Ask the kernel to finish, then end whatever is left of its process tree."""
        self._cancelled = False  # closing runs in the loop, too
        with contextlib.ExitStack() as last:  # in reverse, each whatever becomes of the others
            last.callback(self._errors.close)
            if self._sockets:
                last.callback(shutil.rmtree, self._sockets, ignore_errors=True)
            last.callback(self._runner.close)
            if self.manager is not None:
                last.callback(self._shut_down, now=True)
            if self.watch is not None:
                last.callback(self.watch.end)
            if self.manager is not None:
                self._shut_down(now=False)

    def _shut_down(self, now: bool, patience_seconds: float = 5.0) -> None:
        async def ask() -> None:
            async with asyncio.timeout(patience_seconds):
                if self._client is not None and not now:
                    self._client.stop_channels()
                await self.manager.shutdown_kernel(now=now)

        with contextlib.suppress(Exception):
            self.run(ask())
