"""What the benchmarks of the anatomy wing share: processes that are timed, and oracles that live in the tests."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
# Starts the command and waits. It is a process of its own because a child's peak memory is never below what its
# parent had when it was started, and a benchmark that has imported things has much.
_LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
seconds = time.perf_counter() - begin
with open(sys.argv[1], "w") as handle:
    json.dump([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)], handle)
"""


@dataclass
class Run:
    """One finished process. Processor time is disturbed less than wall time by what else the machine does."""

    seconds: float
    processor: float
    megabytes: float  # peak resident
    code: int
    output: str

    @property
    def last_line(self) -> str:
        """What it said last, for a failure."""
        return (self.output.strip().splitlines() or ["no output"])[-1]


def run(command: list[str], **environment: str) -> Run:
    """Run a command to its end. `output` is stdout and stderr together."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as said:
        figures = Path(scratch) / "figures.json"
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(figures), *command],
            stdout=said,
            stderr=said,
            env={**os.environ, **environment},
            check=True,
        )
        said.seek(0)
        return Run(*json.loads(figures.read_text()), said.read())


def median(runs: list[Run]) -> Run:
    """The medians of several runs of one command, with the first one's output."""
    parts = (
        statistics.median(getattr(one, part) for one in runs)
        for part in ("seconds", "processor", "megabytes")
    )
    return Run(*parts, max(one.code for one in runs), runs[0].output)


def median_seconds(action: Callable[[], object], repeats: int) -> float:
    """Median wall time of `action()`."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def from_tests(path: str) -> ModuleType:
    """A module below tests/, whose oracle is the one that the tests are held against."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "tests" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
