"""Waiting in tests for what happens in another process."""

import time
from pathlib import Path

import psutil


def gone(pid: int, within: float = 20.0) -> bool:
    """Whether a process ends within so many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def appears(file: Path, within: float = 60.0) -> None:
    """Return once the file is there, or when so many seconds are over."""
    deadline = time.monotonic() + within
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
