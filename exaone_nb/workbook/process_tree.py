"""Memory of a process and everything it started, and ending all of it.

The figure is the sum of the resident sets (RSS). Pages that several processes share are counted once for each,
so it errs upwards; for the single-process engines used here the difference is small.
"""

from __future__ import annotations

import contextlib
import threading

import psutil

SAMPLE_SECONDS = 0.2


class ProcessTree:
    """Watches one process and its descendants from a thread: `peak_bytes`, and `end()` for all that is left.

    Descendants are remembered from every sample, so that a child whose parent died first is still ended.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {pid: self._root}
        self._stop = threading.Event()
        self.peak_bytes = 0
        self._thread = threading.Thread(target=self._watch, name=f"memory-{pid}", daemon=True)
        self._thread.start()

    def restart_peak(self) -> None:
        """Begin a new measurement (the next chapter on a warm kernel)."""
        self.peak_bytes = 0
        self.sample()

    def sample(self) -> int:
        """Resident bytes of the tree now."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for child in self._root.children(recursive=True):
                self._seen.setdefault(child.pid, child)
        for process in list(self._seen.values()):
            with contextlib.suppress(psutil.Error):
                if process.is_running():
                    total += process.memory_info().rss
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.sample()

    def end(self, patience_seconds: float = 3.0) -> None:
        """Terminate, then kill, every process of the tree that is still alive. Safe to call twice."""
        self._stop.set()
        with contextlib.suppress(psutil.Error):
            self.sample()
        alive = [process for process in self._seen.values() if _alive(process)]
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(alive, timeout=patience_seconds)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=patience_seconds)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
