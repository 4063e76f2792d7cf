"""Processes are started, watched and ended; nothing is left behind, whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from exaone_nb import processes
from tests.waiting import gone

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STARTS = """
import subprocess, sys, time
from exaone_nb import processes
child = processes.start([sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -11),
    ],
)
def test_the_exit_code_is_that_of_the_command(code, expected):
    assert processes.start([sys.executable, "-c", code]).wait(30) == expected


def test_end_reaches_what_the_command_started_and_can_be_called_twice():
    child = processes.start([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    grandchild = int(child.stdout.readline())
    processes.end(child)
    processes.end(child)
    assert gone(grandchild) and child.returncode is not None
    child.stdout.close()


def test_without_a_guard_end_reaches_the_family_as_well(monkeypatch):
    """Windows has no guard; what is ended there is ended by us, one by one."""
    monkeypatch.setattr(processes, "GUARDED", False)
    child = processes.start([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    grandchild = int(child.stdout.readline())
    assert psutil.Process(child.pid).children()[0].pid == grandchild
    processes.end(child)
    assert gone(grandchild) and child.returncode is not None
    child.stdout.close()


def test_end_is_not_stopped_by_a_command_that_does_not_listen():
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    short = f"from exaone_nb import processes; processes.PATIENCE_SECONDS = 0.5; import sys; sys.exit(processes._guard({os.getpid()}, [sys.executable, '-c', {deaf!r}]))"
    child = subprocess.Popen([sys.executable, "-c", short], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    (inner,) = psutil.Process(child.pid).children()
    processes.end(child)
    assert gone(inner.pid)
    child.stdout.close()


def test_end_reaches_the_command_though_the_guard_does_not_listen():
    child = processes.start([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    grandchild = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGSTOP)
    processes.end(child, patience_seconds=-4.0)
    assert gone(grandchild)
    child.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_parent_that_is_ended(how):
    parent = subprocess.Popen([sys.executable, "-c", STARTS, FAMILY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    grandchild = int(parent.stdout.readline())
    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    assert gone(grandchild)


def test_a_command_outlives_the_thread_that_started_it():
    """Linux' PR_SET_PDEATHSIG would end it with that thread: the runs of a sweep are started from a pool."""
    started = []
    thread = threading.Thread(
        target=lambda: started.append(
            processes.start([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
        )
    )
    thread.start()
    thread.join()
    (child,) = started
    grandchild = int(child.stdout.readline())
    assert not gone(grandchild, within=1.5)
    processes.end(child)
    assert gone(grandchild)
    child.stdout.close()


def test_memory_of_a_child_counts_and_a_child_in_a_session_of_its_own_is_ended():
    code = (
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'a = bytearray(300_000_000); import time; time.sleep(600)'], start_new_session=True); "
        "print(p.pid, flush=True); time.sleep(2); print('big', flush=True); time.sleep(600)"
    )
    root = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(root.stdout.readline())
    watch, alone = processes.Watch(root.pid, 0.05), processes.Watch(root.pid, 0.05, descendants=False)
    root.stdout.readline()
    watch.sample()
    assert 3e8 < watch.peak_bytes < 6e8 and alone.peak_bytes < 1e8
    alone.stop()
    root.kill()
    root.wait()
    watch.end()
    assert gone(child)
    watch.end()
    root.stdout.close()


@pytest.mark.parametrize(
    ("available", "kills", "short"),
    [
        ([8e9, 4e9, 8e9], [0, 0], False),
        ([8e9, 0.5e9, 8e9], [0, 0], True),
        ([8e9, 8e9, 8e9], [2, 3], True),
        ([8e9, 8e9, 8e9], [2, 2], False),
    ],
)
def test_memory_was_short_where_little_was_left_or_the_system_killed_for_it(
    monkeypatch, available, kills, short
):
    figures, counter = iter([*available, *[8e9] * 100]), iter([*kills, *[kills[-1]] * 100])
    monkeypatch.setattr(processes, "total_bytes", lambda: 10e9)
    monkeypatch.setattr(processes, "available_bytes", lambda: next(figures))
    monkeypatch.setattr(processes, "out_of_memory_kills", lambda: next(counter))
    watch = processes.Watch(os.getpid(), 60)
    watch.sample()
    watch.stop()
    assert watch.was_short is short


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/job", {"job/memory.max": "3000", "job/memory.current": "1000", "job/memory.stat": "inactive_file 200",
                     "job/memory.events": "max 1\noom_kill 4"}, (3000, 2200, 4)),
        ("0::/elsewhere", {"memory.max": "max", "memory.current": "1000"}, (None, None, 0)),
        ("4:memory:/job", {"memory/job/memory.limit_in_bytes": "5000", "memory/job/memory.usage_in_bytes": "4000",
                           "memory/job/memory.stat": "total_inactive_file 300\ninactive_file 1",
                           "memory/job/memory.oom_control": "oom_kill 2"}, (5000, 1300, 2)),
    ],
)  # fmt: skip
def test_the_limits_of_a_container_are_read(tmp_path, monkeypatch, group, files, expected):
    """File formats of Linux' control groups, versions 2 and 1 (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst)."""
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    (tmp_path / "own").write_text(group + "\n")
    real = processes.Path
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(
        processes, "Path", lambda p: tmp_path / ("own" if p == "/proc/self/cgroup" else "none") if str(p).startswith("/proc") else real(p)
    )  # fmt: skip
    memory = psutil.virtual_memory()
    total, available, kills = expected
    assert processes.total_bytes() == (total or memory.total)
    assert processes.available_bytes() == pytest.approx(available or memory.available, rel=0.1)
    assert processes.out_of_memory_kills() == kills


SILENCED = """
import ctypes, os, sys
from exaone_nb.processes import nothing_written
print("before")  # waits in Python's buffer
with nothing_written():
    print("from Python")
    os.write(1, b"from the system")
    os.write(2, b"from the system")
    ctypes.CDLL(None).printf(b"from C")  # waits in C's buffer
print("after")
"""


def test_nothing_written_hides_python_and_c_and_keeps_what_was_said_before():
    done = subprocess.run([sys.executable, "-c", SILENCED], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")
