"""Files are written whole or not at all, and a full disk is said plainly."""

from __future__ import annotations

import os

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.files import staged_directory, staged_file, write_text

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
