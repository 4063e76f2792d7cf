"""Files are written whole or not at all, and a full disk is said plainly."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.files import ABANDONED_AFTER, staged_directory, staged_file, write_text
from exaone_nb.paths import ROOT

needs_full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")


@needs_full_device
@pytest.mark.parametrize("staged", [staged_file, staged_directory])
def test_a_full_disk_is_said_and_the_old_state_stays(tmp_path, staged):
    out = tmp_path / "out"
    if staged is staged_file:
        out.write_text("old")
    else:
        out.mkdir()
        (out / "a").write_text("old")
    with (
        pytest.raises(WorkbookError, match="disk became full while writing out"),
        staged(out),
        open("/dev/full", "w") as handle,  # the kernel's own refusal
    ):
        handle.write("x" * 100_000)
    assert (out if out.is_file() else out / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(PermissionError), staged_file(tmp_path / "out"):
        raise PermissionError(13, "not yours")
    with pytest.raises(WorkbookError, match="mine"), staged_file(tmp_path / "out"):
        raise WorkbookError("mine: No space left on device")
    assert not list(tmp_path.iterdir())


def test_text_is_replaced_whole(tmp_path):
    write_text(tmp_path / "out", "one")
    assert write_text(tmp_path / "out", "두").read_text(encoding="utf-8") == "두"


def test_an_abandoned_temporary_file_goes_and_a_fresh_one_stays(tmp_path):
    abandoned, fresh = tmp_path / ".out[1].aaaa.part", tmp_path / ".out[1].bbbb.part"
    for path in (abandoned, fresh):
        path.write_text("half")
    os.utime(abandoned, (time.time() - ABANDONED_AFTER - 60,) * 2)
    write_text(tmp_path / "out[1]", "whole")
    assert sorted(os.listdir(tmp_path)) == [fresh.name, "out[1]"]


def test_what_a_killed_process_left_is_cleared_at_the_next_call_and_what_a_living_one_holds_is_not(tmp_path):
    out, other = tmp_path / "out", tmp_path / "out.2"
    code = """
import os, sys
from exaone_nb.files import staged_directory
with staged_directory(sys.argv[1]) as staging:
    (staging / "a").write_text("half")
    print(staging, flush=True)
    sys.stdin.readline()
"""
    command = [sys.executable, "-c", code]
    start = functools.partial(
        subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    killed, living, neighbour = (start([*command, str(p)]) for p in (out, out, other))
    places = [Path(p.stdout.readline().strip()) for p in (killed, living, neighbour)]
    killed.terminate()
    killed.wait()
    neighbour.kill()
    neighbour.wait()
    with staged_directory(out) as staging:
        (staging / "a").write_text("whole")
    assert [p.exists() for p in places] == [False, True, True]
    living.communicate("\n")
    neighbour.communicate()
    assert (out / "a").read_text() == "half" and not places[1].exists()


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    room = tmp_path / ".out.abc.part"
    (room / "old").mkdir(parents=True)
    (room / "old" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged_directory(tmp_path / "out"):
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "a").read_text() == "old" and os.listdir(tmp_path) == ["out"]


def test_what_cannot_be_moved_stays_and_nothing_is_left_beside_it(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError), staged_directory("."):
        pass
    assert os.listdir(tmp_path) == ["a"]
