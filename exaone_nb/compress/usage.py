"""Seconds and peak memory of a block of code, measured by watching this process."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any

from exaone_nb.processes import Watch

SAMPLE_SECONDS = 0.02


class Meter:
    """Context manager; afterwards `seconds`, `peak_bytes` (resident memory), `start_bytes`, `gpu_peak_bytes`.

    Resident memory is sampled every 20 ms, so a peak shorter than that can be missed.
    """

    def __enter__(self) -> Meter:
        self.gpu_peak_bytes = 0
        self._cuda: Any = _cuda()
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
        self._watch = Watch(os.getpid(), SAMPLE_SECONDS, descendants=False)
        self.start_bytes = self._watch.first_bytes
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self._watch.stop()
        self.peak_bytes = self._watch.peak_bytes
        if self._cuda:
            self.gpu_peak_bytes = int(self._cuda.max_memory_allocated())


def _cuda() -> Any:
    import sys

    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None
