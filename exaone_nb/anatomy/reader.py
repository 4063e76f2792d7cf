"""Reading the headers of a checkpoint: all tensors, none of the data.

    checkpoint = read_headers("path/to/model")
    checkpoint.file_bytes, len(checkpoint.entries)

Works the same for a local folder or file, an http(s) address and a hub id. Shards are found through the index and
read in parallel; the length of each header is guessed from the index, so that one request per shard is enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.header import (
    PICKLE,
    FileHeader,
    TensorEntry,
    header_length,
    not_weights,
    parse_header,
)
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.remote import Web

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
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
    index_total: int | None = None  # total_size of the index
    problems: tuple[str, ...] = ()  # where index and files disagree
    requests: int = 0
    wire_bytes: int = 0

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
            raise WorkbookError(
                f"There is no {name} in {self.path}.", remedy="Download the missing file."
            ) from error
        except OSError as error:
            raise WorkbookError(f"{name} in {self.path} cannot be read: {error.strerror}.") from error

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

    def weight_files(self) -> list[str]:
        """The weight files when there is no index."""
        if (self.path / SINGLE).is_file():
            return [SINGLE]
        found = sorted(path.name for path in self.path.glob("*.safetensors"))
        if found:
            return found
        for path in sorted(self.path.iterdir()):
            refuse_pickle_name(path.name)
        raise WorkbookError(
            f"There are no safetensors files in {self.path}.",
            expected=f"{SINGLE}, or shards with {INDEX}.",
            remedy=say("Name one of its GGUF files.")
            if any(self.path.glob("*.gguf"))
            else say("Name the folder that holds the weights."),
        )


def refuse_pickle_name(name: str) -> None:
    """Raise WorkbookError when a file's name says that it is a pickle."""
    if name.lower().endswith(PICKLES):
        raise not_weights(name, PICKLE)


def read_headers(
    model: str | Path | Place, revision: str | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Read every header of a checkpoint. `progress(done, total)` is called after each file.

    Raises WorkbookError for a header that does not add up, an index that names a missing shard or a path outside its
    folder, a pickle, a web page in place of a file, a server without Range, or a network that stays away.
    """
    place = model if isinstance(model, Place) else resolve(model)
    with closing(_source(place, revision)) as source, ThreadPoolExecutor(PARALLEL) as pool:
        index = None if source.only else source.text(INDEX)
        if index is not None:
            guesses, weight_map, total = _from_index(index)
        else:
            names = [source.only] if source.only else source.weight_files()
            guesses, weight_map, total = dict.fromkeys(names, FIRST_READ), {}, None
        files = []
        for header in pool.map(partial(read_header, source), guesses, guesses.values()):
            files.append(header)
            if progress:
                progress(len(files), len(guesses))
        config = source.text("config.json")
    return Checkpoint(
        name=place.name,
        files=tuple(files),
        config=_json_object(config, "config.json") if config is not None else None,
        folder=source.path if isinstance(source, Folder) else None,
        index_total=total,
        problems=tuple(_disagreements(files, weight_map)),
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
    raise WorkbookError(
        f"{place.name} has no weights on this disk.", remedy="Name a local folder or a hub id."
    )


def read_header(source: Folder | Web, name: str, first_read: int) -> FileHeader:
    """The header of one file: one read when `first_read` bytes cover it, two otherwise."""
    first, file_bytes = source.start(name, first_read)
    length = header_length(first, file_bytes, name)
    content = first[8 : 8 + length]
    if len(content) < length:
        content += source.part(name, 8 + len(content), 8 + length)
    if len(content) != length:
        raise WorkbookError(
            f"The header of {name} ends after {len(content):,} of {length:,} bytes.",
            remedy="Download the file again.",
        )
    entries, metadata = parse_header(content, file_bytes - 8 - length, name)
    return FileHeader(name, length, file_bytes, entries, metadata)


def _from_index(content: bytes) -> tuple[dict[str, int], dict[str, str], int | None]:
    """Shard -> a guess of its header's length, tensor -> shard, and the total the index gives."""
    document = _json_object(content, INDEX)
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise WorkbookError(f"{INDEX} has no weight_map of tensor to file.", expected="a safetensors index.")
    guesses: dict[str, int] = {}
    for tensor, shard in weight_map.items():
        # name, dtype, shape and two offsets take about 77 bytes beside the name; too short a guess costs a second request
        guesses[shard] = guesses.get(shard, 70) + len(tensor) + 77
    for shard in guesses:
        _check_inside(shard)
    metadata = document.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    return dict(sorted(guesses.items())), weight_map, int(total) if isinstance(total, int | float) else None


def _check_inside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise WorkbookError(
            f"{INDEX} names the file {name!r}.",
            expected="files inside the model's own folder.",
            remedy="Do not use this checkpoint: its index points elsewhere.",
        )
    refuse_pickle_name(name)


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WorkbookError(
            f"{name} is not JSON: {str(error)[:200]}.", remedy="Download the file again."
        ) from error
    if not isinstance(document, dict):
        raise WorkbookError(f"{name} holds a {type(document).__name__}.", expected="one JSON object.")
    return document


def _disagreements(files: Iterable[FileHeader], weight_map: dict[str, str]) -> list[str]:
    """Tensors that the index puts into a file that lacks them, that no index entry names, or that are there twice."""
    problems = []
    place: dict[str, str] = {}
    for file in files:
        for entry in file.entries:
            if entry.name in place:
                problems.append(f"{entry.name} is in {place[entry.name]} and in {file.name}")
            place[entry.name] = file.name
    if weight_map:
        for tensor, shard in weight_map.items():
            if place.get(tensor) != shard:
                problems.append(f"{tensor}: the index says {shard}, it is in {place.get(tensor, 'no file')}")
        unlisted = place.keys() - weight_map.keys()
        problems += [f"{tensor} in {place[tensor]} is not in the index" for tensor in sorted(unlisted)]
    return problems
