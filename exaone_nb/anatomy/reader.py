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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from exaone_nb.anatomy.header import FileHeader, TensorEntry, header_length, parse_header
from exaone_nb.anatomy.sources import INDEX, ByteSource, Folder, refuse_pickle_name
from exaone_nb.catalog import Place, resolve
from exaone_nb.errors import WorkbookError

PARALLEL = 8
FIRST_READ = (
    48 << 10
)  # bytes asked for when nothing is known: covers a file of about 400 tensors in one request
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


def read_headers(
    model: str | Path | Place, revision: str | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Read every header of a checkpoint. `progress(done, total)` is called after each file.

    Raises WorkbookError for a header that does not add up, an index that names a missing shard or a path outside its
    folder, a pickle, a web page in place of a file, a server without Range, or a network that stays away.
    """
    place = model if isinstance(model, Place) else resolve(model)
    source = _source(place, revision)
    try:
        return _read(place, source, progress)
    finally:
        close = getattr(source, "close", None)
        if close:
            close()


def _source(place: Place, revision: str | None) -> ByteSource:
    if place.kind in ("folder", "file") or (place.path is not None and place.path.exists()):
        if place.kind == "file":
            refuse_pickle_name(place.path.name)
        return Folder(place.path)
    from exaone_nb.anatomy import remote

    if place.kind == "url":
        refuse_pickle_name(place.url)
        return remote.web(place.url)
    if place.hub_id:
        return remote.hub(place.hub_id, revision)
    raise WorkbookError(
        f"{place.name} has no weights on this disk.", remedy="Name a local folder or a hub id."
    )


def _read(place: Place, source: ByteSource, progress: Progress | None) -> Checkpoint:
    index = None if getattr(source, "only", "") else source.text(INDEX)
    names, guesses, weight_map, total = (
        _from_index(index) if index is not None else (source.weight_files(), {}, {}, None)
    )
    done = 0

    def read(name: str) -> FileHeader:
        nonlocal done
        header = read_header(source, name, guesses.get(name, FIRST_READ))
        done += 1
        if progress:
            progress(done, len(names))
        return header

    if isinstance(source, Folder):
        files = [read(name) for name in names]
    else:
        with ThreadPoolExecutor(PARALLEL) as pool:
            files = list(pool.map(read, names))
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


def read_header(source: ByteSource, name: str, first_read: int = FIRST_READ) -> FileHeader:
    """The header of one file: one read when `first_read` covers it, two otherwise."""
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


def _from_index(content: bytes) -> tuple[list[str], dict[str, int], dict[str, str], int | None]:
    """Shard names, a guess of each header's length, tensor -> shard, and the total the index gives."""
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
    return sorted(guesses), guesses, weight_map, int(total) if isinstance(total, int | float) else None


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
        problems += [
            f"{tensor} in {shard} is not in the index"
            for tensor, shard in place.items()
            if tensor not in weight_map
        ]
    return problems
