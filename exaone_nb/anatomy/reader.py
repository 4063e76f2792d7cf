"""Reading the headers of a checkpoint: all tensors, none of the data.

    checkpoint = read_headers("path/to/model")
    checkpoint.file_bytes, len(checkpoint.entries)

Works the same for a local folder or file, an http(s) address and a hub id. Shards are found through the index and
read in parallel; the length of each header is guessed from the index, so that one request per shard is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.header import (
    FileHeader,
    TensorEntry,
    header_length,
    parse_header,
    refuse_pickle_name,
)
from exaone_nb.anatomy.index import (
    INDEX,
    SINGLE,
    folder_findings,
    index_findings,
    json_object,
    parse_index,
)
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.remote import Web

PARALLEL = 8
# Bytes asked for when nothing is known: covers a file of about 400 tensors in one request.
FIRST_READ = 48 << 10
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checkpoint:
    """The headers of all files, the config when there is one, and what it took to read them."""

    name: str
    files: tuple[FileHeader, ...]
    config: dict[str, Any] | None = None
    folder: Path | None = None  # set when the data is on this disk
    # Where the index, the files and the engines that read them disagree.
    findings: tuple[Finding, ...] = ()
    requests: int = 0
    wire_bytes: int = 0

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings with which it cannot work."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every file."""
        return tuple(entry for file in self.files for entry in file.entries)

    @property
    def file_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.file_bytes for file in self.files)

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(file.data_bytes for file in self.files)


class Folder:
    """A folder on this disk, or one file in it (`only`). `remote.Web` answers to the same names."""

    requests = 0
    wire_bytes = 0

    def __init__(self, path: Path) -> None:
        self.only = path.name if path.is_file() else ""
        self.path = path.parent if self.only else path

    def _open(self, name: str):
        try:
            return (self.path / name).open("rb")
        except FileNotFoundError as error:
            got = say("There is no {name} in {path}.", name=name, path=self.path)
            raise WorkbookError(got, remedy="Download the missing file.") from error
        except OSError as error:
            got = say(
                "{name} in {path} cannot be read: {reason}.", name=name, path=self.path, reason=error.strerror
            )
            raise WorkbookError(got) from error

    def close(self) -> None:
        """Nothing is left open."""

    def start(self, name: str, count: int) -> tuple[bytes, int]:
        """The first `count` bytes of a file (fewer if it is shorter) and its size in bytes."""
        with self._open(name) as handle:
            content = handle.read(count)
            return content, handle.seek(0, 2)

    def part(self, name: str, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of a file."""
        with self._open(name) as handle:
            handle.seek(begin)
            return handle.read(end - begin)

    def text(self, name: str) -> bytes | None:
        """A whole small file (index, config), or None when it is not there."""
        path = self.path / name
        return path.read_bytes() if path.is_file() else None

    def safetensors(self) -> list[str]:
        """The names of all safetensors files of the folder, hidden ones aside; none when one file was named."""
        return [] if self.only else sorted(path.name for path in self.path.glob("[!.]*.safetensors"))

    def weight_files(self) -> list[str]:
        """The weight files when there is no index."""
        found = self.safetensors()
        if SINGLE in found:
            return [SINGLE]
        if found:
            return found
        for path in sorted(self.path.iterdir()):
            refuse_pickle_name(path.name)
        raise WorkbookError(
            say("There are no safetensors files in {path}.", path=self.path),
            expected=say("{single}, or shards with {index}.", single=SINGLE, index=INDEX),
            remedy=say("Name one of its GGUF files.")
            if any(self.path.glob("*.gguf"))
            else say("Name the folder that holds the weights."),
        )


def read_headers(
    model: str | Path | Place, revision: str | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Read every header of a checkpoint. `progress(done, total)` is called after each file.

    Raises WorkbookError for a header that does not add up, an index that names a missing shard or a path outside its
    folder, a pickle, a web page in place of a file, a server without Range, or a network that stays away.
    """
    place = model if isinstance(model, Place) else resolve(model)
    with closing(_source(place, revision)) as source, ThreadPoolExecutor(PARALLEL) as pool:
        content = None if source.only else source.text(INDEX)
        index = parse_index(content) if content is not None else None
        present = source.safetensors()
        beside = folder_findings(present, index)
        if index:
            guesses = index.header_lengths()
            if beside and SINGLE in present and not set(index.shards).issubset(present):
                raise WorkbookError(beside[0].text, expected="one set of weights.", remedy=beside[0].remedy)
        else:
            names = [source.only] if source.only else source.weight_files()
            guesses = dict.fromkeys(names, FIRST_READ)
        files = []
        # A disk gains nothing from threads, and a browser's Python has none.
        run = map if isinstance(source, Folder) else pool.map
        for header in run(partial(read_header, source), guesses, guesses.values()):
            files.append(header)
            if progress:
                progress(len(files), len(guesses))
        config = source.text("config.json")
    return Checkpoint(
        name=place.name,
        files=tuple(files),
        config=json_object(config, "config.json") if config is not None else None,
        folder=source.path if isinstance(source, Folder) else None,
        findings=(*beside, *index_findings(files, index)),
        requests=source.requests,
        wire_bytes=source.wire_bytes,
    )


def _source(place: Place, revision: str | None) -> Folder | Web:
    if place.kind in ("file", "url"):
        refuse_pickle_name(place.url or place.path.name)
    if place.kind in ("folder", "file") or (place.path is not None and place.path.exists()):
        return Folder(place.path)
    from exaone_nb.anatomy import remote

    if place.kind == "url":
        return remote.web(place.url)
    if place.hub_id:
        return remote.hub(place.hub_id, revision)
    got = say("{name} has no weights on this disk.", name=place.name)
    raise WorkbookError(got, remedy="Name a local folder or a hub id.")


def read_header(source: Folder | Web, name: str, first_read: int) -> FileHeader:
    """The header of one file: one read when `first_read` bytes cover it, two otherwise."""
    first, file_bytes = source.start(name, first_read)
    length = header_length(first, file_bytes, name)
    content = first[8 : 8 + length]
    if len(content) < length:
        content += source.part(name, 8 + len(content), 8 + length)
    if len(content) != length:
        got = say(
            "The header of {name} ends after {count:,} of {length:,} bytes.",
            name=name,
            count=len(content),
            length=length,
        )
        raise WorkbookError(got, remedy="Download the file again.")
    entries, metadata = parse_header(content, file_bytes - 8 - length, name)
    return FileHeader(name, length, file_bytes, entries, metadata)
