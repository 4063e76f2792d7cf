"""python -m exaone_nb.serve.guard PARENT COMMAND...: run a server that cannot outlive whoever asked for it.

The guard starts the command in a session of its own and looks twice a second whether its own parent, the process PARENT,
is still there (a notebook kernel that is killed says no goodbye; it may be gone before the guard's Python has started).
When the parent is gone, or the guard is told to stop, it ends everything that was started, politely first, and by force
after ten seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

PATIENCE = 10.0


def main(parent: int, command: list[str]) -> int:
    if os.getppid() != parent:
        return 1
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while child.poll() is None and not stopping and os.getppid() == parent:
            time.sleep(0.5)
    finally:
        end_group(child)
    return child.returncode if child.returncode is not None else 1


def end_group(child: subprocess.Popen) -> None:
    """End the child's whole process group, workers of a dead child included."""
    deadline = time.monotonic() + PATIENCE
    _signal_group(child.pid, signal.SIGTERM)
    while time.monotonic() < deadline and (child.poll() is None or _group_lives(child.pid)):
        time.sleep(0.1)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
