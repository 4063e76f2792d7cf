"""Writing files so that a crash, a full disk or Ctrl-C leaves the old state, never half of the new one."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from exaone_nb.errors import DiskFull, WorkbookError
from exaone_nb.messages import in_english, say

ABANDONED_AFTER = 24 * 3600  # seconds; whoever still writes a file touches it far more often


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no space (or quota) is left. Libraries in Rust say it in their text only."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or "no space left on device" in str(error).lower()


@contextmanager
def _said_plainly(destination: Path) -> Iterator[None]:
    """A full disk is the user's to mend, not a traceback."""
    try:
        yield
    except Exception as error:
        if isinstance(error, WorkbookError) or not is_disk_full(error):
            raise
        got = say(
            "The disk became full while writing {name}; what was there before is as it was.",
            name=destination.name,
        )
        raise DiskFull(got, remedy="Free some space, or choose another output folder with --out.") from error


@contextmanager
def staged_file(destination: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `destination`; rename it into place only if the block succeeds.

    A temporary file that a killed process left there is removed once nobody has written to it for a day.
    Raises DiskFull.
    """
    destination = Path(destination)
    with _said_plainly(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        for dead in destination.parent.glob(f".{glob.escape(destination.name)}.*.part"):
            with suppress(OSError):  # another process may be faster
                if dead.is_file() and time.time() - dead.stat().st_mtime > ABANDONED_AFTER:
                    dead.unlink()
        handle, name = tempfile.mkstemp(
            prefix=f".{destination.name}.", suffix=".part", dir=destination.parent
        )
        os.close(handle)
        staging = Path(name)
        try:
            yield staging
            os.chmod(staging, 0o644)
            os.replace(staging, destination)
        finally:
            staging.unlink(missing_ok=True)


@contextmanager
def staged_directory(destination: str | Path) -> Iterator[Path]:
    """Yield an empty directory near `destination`; swap it into place only if the block succeeds.

    What earlier processes left behind when they were killed is cleared away first. Raises DiskFull.
    """
    destination = Path(destination)
    with _said_plainly(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(destination)
        with _room(destination) as room:
            staging = room / "new"
            staging.mkdir()
            yield staging
            os.chmod(staging, 0o755)
            # In two renames, so that at every moment either the old or the new is whole; `_clear` undoes a lone first one.
            if destination.is_symlink():
                destination.unlink()
            if destination.exists():
                os.replace(destination, room / "old")
            os.replace(staging, destination)


@contextmanager
def _room(destination: Path) -> Iterator[Path]:
    """A temporary directory beside `destination`, locked for as long as this process uses it."""
    from filelock import FileLock

    made = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".new", dir=destination.parent))
    room = made.with_suffix(".part")
    lock = FileLock(made / "lock")
    lock.acquire()
    try:
        made.rename(room)  # under this name others may clear it away, and by now it is locked
        yield room
    finally:
        _clear(room, destination)
        lock.release()


def _clear_leftovers(destination: Path) -> None:
    """Remove the rooms of processes that were killed; one that is still at work holds its lock."""
    from filelock import FileLock, Timeout

    ours = re.compile(rf"\.{re.escape(destination.name)}\.[^.]+\.part")
    for room in list(destination.parent.iterdir()):
        if not (ours.fullmatch(room.name) and room.is_dir()):
            continue
        lock = FileLock(room / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        _clear(room, destination)
        lock.release()


def _clear(room: Path, destination: Path) -> None:
    """Remove a room. If it holds the only copy of what stood at `destination`, that goes back first."""
    if (room / "old").exists() and not destination.exists():
        os.replace(room / "old", destination)
    shutil.rmtree(room, ignore_errors=True)


def write_text(destination: str | Path, text: str) -> Path:
    """Write UTF-8 text atomically and return the path."""
    with staged_file(destination) as staging:
        staging.write_text(text, encoding="utf-8")
    return Path(destination)


def read_object(path: str | Path) -> dict[str, Any]:
    """What a JSON file holds; empty when there is no object that can be read."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def write_json(destination: str | Path, document: Any) -> Path:
    """Write one JSON document atomically (UTF-8, two spaces, keys as given, sentences in English). NaN and infinity are refused."""
    text = json.dumps(in_english(document), ensure_ascii=False, indent=2, allow_nan=False)
    return write_text(destination, text + "\n")


def require_free_space(folder: str | Path, needed_bytes: int, what: str) -> None:
    """Raise DiskFull when the file system that will hold `folder` has less than `needed_bytes` free."""
    probe = Path(folder).absolute()
    while not probe.exists():
        probe = probe.parent
    free = shutil.disk_usage(probe).free
    if free < needed_bytes:
        got = say(
            "Not enough disk space for {what}: {needed_bytes:,} bytes needed, {free:,} bytes free in {probe}.",
            what=what,
            needed_bytes=needed_bytes,
            free=free,
            probe=probe,
        )
        raise DiskFull(got, remedy="Free some space, or choose another output folder with --out.")


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's content, read in chunks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
