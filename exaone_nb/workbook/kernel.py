"""One kernel: a process of its own for one notebook, with what it needs around it and an end that leaves nothing alive."""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from exaone_nb.processes import Watch
from exaone_nb.workbook.parameters import HEADLESS

OWN_KERNEL = "python3"


class Kernel:
    """A Jupyter kernel. `timed`: something in the notebook is timed, so its threads wait as its user's programs do.

    One thread starts, uses and closes it; `end` may be called from any other. `ended` says why it was, in one word.
    """

    def __init__(self, timed: bool = False, name: str = OWN_KERNEL) -> None:
        self._timed, self._name = timed, name
        self._lock = threading.Lock()
        self._sockets = ""
        self.ended = ""
        self.manager: Any = None
        self.watch: Watch | None = None
        # A kernel that is ended while it works complains on its standard error, below what the notebook captures. That
        # is no news to the person who ended it; when a kernel cannot start, it is the reason.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)

    def start(self, folder: Path) -> Self:
        """Start the process in `folder` and return at once. A `python3` kernel is the Python that runs this code."""
        from jupyter_client.manager import AsyncKernelManager
        from jupyter_core.utils import run_sync

        manager = AsyncKernelManager(kernel_name=self._name)
        if os.name == "posix":
            # Sockets in a folder of our own rather than TCP ports: nobody else can connect, and no port can be taken.
            self._sockets = tempfile.mkdtemp(prefix="exaone-nb-")
            manager.transport, manager.ip = "ipc", f"{self._sockets}/kernel"
            manager.connection_file = f"{self._sockets}/kernel.json"
        options: dict[str, Any] = {"cwd": str(folder), "env": self._environment(), "stderr": self._errors}
        if self._name == OWN_KERNEL:
            module = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
            manager.kernel_spec.argv[:] = [sys.executable, *module]
            options["extra_arguments"] = ["--HistoryManager.hist_file=:memory:"]
        self.manager = manager
        run_sync(manager.start_kernel)(**options)
        with self._lock:
            self.watch = Watch(manager.provisioner.pid)
        if self.ended:  # meanwhile
            self.watch.end()
        return self

    def _environment(self) -> dict[str, str]:
        usual = {"TQDM_MININTERVAL": "5", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        if not self._timed:
            # OpenMP threads that wait by spinning take the cores from whatever else runs: with two busy neighbours a
            # chapter of 50 seconds took 7 minutes.
            usual["OMP_WAIT_POLICY"] = "PASSIVE"
        return usual | os.environ | {HEADLESS: "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

    def end(self, why: str) -> None:
        """End the process and everything it started, now or as soon as it is there. Who talks to it sees it die."""
        with self._lock:
            self.ended = self.ended or why
            watch = self.watch
        if watch is not None:
            watch.end()

    def exit_code(self) -> int | None:
        """How the process ended; None when it has not, within two seconds."""
        with contextlib.suppress(Exception):
            return self.manager.provisioner.process.wait(2)
        return None

    def last_words(self, most_bytes: int = 500) -> str:
        """The end of what it wrote to its standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - most_bytes))
        return self._errors.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Ask the kernel to finish, then end whatever is left of its process tree."""
        with contextlib.ExitStack() as last:  # in reverse, each whatever becomes of the others
            last.callback(self._errors.close)
            if self._sockets:
                last.callback(shutil.rmtree, self._sockets, ignore_errors=True)
            if self.watch is not None:
                last.callback(self._shut_down, now=True)
                last.callback(self.watch.end)
                self._shut_down(now=bool(self.ended))

    def _shut_down(self, now: bool) -> None:
        from jupyter_core.utils import run_sync

        with contextlib.suppress(Exception):
            run_sync(self.manager.shutdown_kernel)(now=now)
