"""Where the bytes of a checkpoint come from on this disk: a folder or a single file.

A source answers two questions: how long is a file, and what are its bytes from `begin` to `end`. `remote` has the
same two for http and the hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from exaone_nb.errors import WorkbookError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class ByteSource(Protocol):
    """One checkpoint somewhere."""

    requests: int
    wire_bytes: int

    def start(self, name: str, count: int) -> tuple[bytes, int]:
        """The first `count` bytes of a file (fewer if it is shorter) and its size in bytes."""
        ...

    def part(self, name: str, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of a file."""
        ...

    def text(self, name: str) -> bytes | None:
        """A whole small file (index, config), or None when it is not there."""
        ...

    def weight_files(self) -> list[str]:
        """The weight files when there is no index."""
        ...


class Folder:
    """A folder on this disk, or one file in it."""

    requests = 0
    wire_bytes = 0

    def __init__(self, path: Path) -> None:
        self.only = path.name if path.is_file() else ""
        self.path = path.parent if self.only else path

    def _open(self, name: str):
        try:
            return (self.path / name).open("rb")
        except FileNotFoundError as error:
            raise WorkbookError(
                f"There is no {name} in {self.path}.",
                remedy="The checkpoint is incomplete: download the missing file.",
            ) from error
        except OSError as error:
            raise WorkbookError(f"{name} in {self.path} cannot be read: {error.strerror}.") from error

    def start(self, name: str, count: int) -> tuple[bytes, int]:
        with self._open(name) as handle:
            content = handle.read(count)
            return content, handle.seek(0, 2)

    def part(self, name: str, begin: int, end: int) -> bytes:
        with self._open(name) as handle:
            handle.seek(begin)
            return handle.read(end - begin)

    def text(self, name: str) -> bytes | None:
        path = self.path / name
        return path.read_bytes() if path.is_file() else None

    def weight_files(self) -> list[str]:
        if self.only:
            return [self.only]
        if (self.path / SINGLE).is_file():
            return [SINGLE]
        found = sorted(path.name for path in self.path.glob("*.safetensors"))
        if found:
            return found
        pickles = sorted(path.name for path in self.path.iterdir() if path.suffix in PICKLES)
        if pickles:
            refuse_pickle_name(pickles[0])
        raise WorkbookError(
            f"There are no safetensors files in {self.path}.",
            expected=f"{SINGLE}, or shards with {INDEX}.",
            remedy="Name the folder that holds the weights.",
        )


def refuse_pickle_name(name: str) -> None:
    """Raise WorkbookError when a file's name says that it is a pickle."""
    if name.lower().endswith(PICKLES):
        raise WorkbookError(
            f"{name} is a pickle. It can run code when loaded, so it is not opened.",
            expected="a safetensors file.",
            remedy="Use the repository's safetensors files, or convert it in a sandbox you trust.",
        )
