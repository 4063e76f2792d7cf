"""Work in a process of its own ends with whoever asked for it, and says why it gave nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from exaone_nb.engines.apart import run_apart
from exaone_nb.errors import WorkbookError

ASKS = "from exaone_nb.engines.apart import run_apart; run_apart('time:sleep', 600, timeout=600)"


def test_nobody_outlives_the_one_who_asked():
    parent = subprocess.Popen([sys.executable, "-c", ASKS])
    family = []
    for _ in range(200):
        family = psutil.Process(parent.pid).children(recursive=True)
        if any("time:sleep" in " ".join(process.cmdline()) for process in family):
            break
        time.sleep(0.1)
    assert family, "the process was not started"
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_what_takes_too_long_is_ended_and_said():
    with pytest.raises(WorkbookError, match="not ready after"):
        run_apart("time:sleep", 600, timeout=3)
    mine = psutil.Process().children(recursive=True)
    assert not [process for process in mine if "time:sleep" in " ".join(process.cmdline())]


def test_an_error_of_the_other_process_is_one_line():
    with pytest.raises(WorkbookError, match="ValueError: could not convert string to float"):
        run_apart("builtins:float", "no number", timeout=60)
