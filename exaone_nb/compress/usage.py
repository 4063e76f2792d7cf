"""Seconds and peak memory of a block of code, measured by watching this process."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

SAMPLE_SECONDS = 0.02


class Meter:
    """Context manager; afterwards `seconds`, `peak_bytes` (resident memory), `start_bytes`, `gpu_peak_bytes`.

    Resident memory is sampled every 20 ms, so a peak shorter than that can be missed.
    """

    def __enter__(self) -> Meter:
        import psutil

        self._process = psutil.Process()
        self.start_bytes = self.peak_bytes = self._process.memory_info().rss
        self.gpu_peak_bytes = 0
        self._cuda: Any = _cuda()
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self._stop.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
        if self._cuda:
            self.gpu_peak_bytes = int(self._cuda.max_memory_allocated())


def _cuda() -> Any:
    import sys

    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None
