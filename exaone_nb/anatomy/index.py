"""The index of a sharded checkpoint, and which weight files of a folder an engine reads.

Engines differ where both a single file and an index lie in a folder, or a file that no index names:

    transformers   model.safetensors when it is there, else the shards of the index (modeling_utils.py,
                   _get_resolved_checkpoint_files; 4.57.3 and 5.17 alike)
    vLLM           consolidated*.safetensors when there are any, else the files of the index, else every
                   *.safetensors in the folder (default_loader.py, _prepare_weights, and filter_duplicate_safetensors_files)

so that one folder may be two models. A test asks both libraries.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from exaone_nb.anatomy.header import FileHeader, refuse_pickle_name
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, fail, some, warn
from exaone_nb.lfs import refuse_pointer
from exaone_nb.messages import say

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MISTRAL = "consolidated*.safetensors"
WRITE_AGAIN = say("Write the index again (save_pretrained does), or download {index} again.", index=INDEX)
DELETE_STALE = say("Delete what is stale: a folder holds one set of weights.")


@dataclass(frozen=True)
class Index:
    """Tensor -> shard, and what the metadata says the sizes add up to (None when it says nothing)."""

    weight_map: dict[str, str]
    total: Any = None

    @property
    def shards(self) -> list[str]:
        """The files that are named, sorted."""
        return sorted(set(self.weight_map.values()))

    def header_lengths(self) -> dict[str, int]:
        """Shard -> a guess of its header's length in bytes; too short a guess costs a second request."""
        guesses = dict.fromkeys(self.shards, 70)
        for tensor, shard in self.weight_map.items():
            # name, dtype, shape and two offsets take about 77 bytes beside the name
            guesses[shard] += len(tensor) + 77
        return guesses


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """The document of a JSON file. Raises WorkbookError when it is none, or no object."""
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        refuse_pointer(name, content)
        got = say("{name} is not JSON: {reason}.", name=name, reason=str(error)[:200])
        raise WorkbookError(got, remedy=say("Download the file again.")) from error
    if not isinstance(document, dict):
        got = say("{name} holds a {kind}.", name=name, kind=type(document).__name__)
        raise WorkbookError(got, expected=say("one JSON object."))
    return document


def parse_index(content: bytes) -> Index:
    """An index from its JSON. Raises WorkbookError when it has no weight_map or names a file outside its folder."""
    document = json_object(content, INDEX)
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise WorkbookError(
            say("{index} has no weight_map of tensor to file.", index=INDEX),
            expected=say("a safetensors index."),
            remedy=WRITE_AGAIN,
        )
    metadata = document.get("metadata")
    index = Index(weight_map, metadata.get("total_size") if isinstance(metadata, dict) else None)
    for shard in index.shards:
        path = PurePosixPath(shard)
        if path.is_absolute() or ".." in path.parts or "\\" in shard or ":" in shard or not path.parts:
            raise WorkbookError(
                say("{index} names the file {shard}.", index=INDEX, shard=repr(shard)),
                expected=say("files inside the model's own folder."),
                remedy=say("Do not use this checkpoint: its index points elsewhere."),
            )
        refuse_pickle_name(shard)
    return index


def read_by_transformers(present: Iterable[str], index: Index | None) -> set[str]:
    """The files of a folder that transformers reads; empty when it finds no weights there."""
    if SINGLE in present:
        return {SINGLE}
    return set(index.shards) if index else set()


def read_by_vllm(present: Iterable[str], index: Index | None) -> set[str]:
    """The files of a folder that vLLM 0.32 reads."""
    if mistral := {name for name in present if fnmatch(name, MISTRAL)}:
        return mistral
    return set(index.shards) if index else set(present)


def dead_weights(present: Iterable[str], index: Index | None) -> list[str]:
    """The files of a folder that neither engine reads."""
    return sorted(set(present) - read_by_transformers(present, index) - read_by_vllm(present, index))


def folder_findings(present: list[str], index: Index | None) -> list[Finding]:
    """What is wrong with the set of weight files in a folder: `present` are its *.safetensors, of the top level."""
    ours, theirs = read_by_transformers(present, index), read_by_vllm(present, index)
    found = []
    if ours and ours != theirs:
        text = say(
            "Two sets of weights lie in one folder: transformers reads {ours}, vLLM reads {theirs}.",
            ours=some(sorted(ours)),
            theirs=some(sorted(theirs)),
        )
        # Mistral publishes the same weights in its own format beside the usual one.
        kind = warn if any(fnmatch(name, MISTRAL) for name in theirs) else fail
        found.append(kind("two-models", text, DELETE_STALE))
    elif not ours and present:
        text = say(
            "transformers finds no weights here: there is neither {single} nor {index}. vLLM reads {theirs}.",
            single=SINGLE,
            index=INDEX,
            theirs=some(sorted(theirs)),
        )
        found.append(warn("no-index", text, say("Save the model again, or download the index.")))
    if dead := dead_weights(present, index):
        text = say("Nothing reads {names}: the index does not name it.", names=some(dead))
        found.append(warn("dead-weights", text, DELETE_STALE))
    return found


def index_findings(files: Iterable[FileHeader], index: Index | None) -> list[Finding]:
    """Tensors that the index puts into a file that lacks them, that it does not name, or that are there twice; sizes."""
    problems: list[str] = []
    place: dict[str, str] = {}
    size = 0
    for file in files:
        size += file.data_bytes
        for entry in file.entries:
            if entry.name in place:
                where = {"tensor": entry.name, "one": place[entry.name], "other": file.name}
                problems.append(say("{tensor} is in {one} and in {other}", **where))
            place[entry.name] = file.name
    found = []
    if index is not None:
        for tensor, shard in index.weight_map.items():
            if tensor not in place:
                problems.append(
                    say("{tensor}: the index says {shard}, it is in no file", tensor=tensor, shard=shard)
                )
            elif place[tensor] != shard:
                where = {"tensor": tensor, "shard": shard, "place": place[tensor]}
                problems.append(say("{tensor}: the index says {shard}, it is in {place}", **where))
        problems += [
            say("{tensor} in {place} is not in the index", tensor=tensor, place=place[tensor])
            for tensor in sorted(place.keys() - index.weight_map.keys())
        ]
        if index.total is not None and index.total != size:
            text = say(
                "The index gives a total_size of {total}, the tensors have {size:,} bytes.",
                total=f"{index.total:,}" if isinstance(index.total, int | float) else repr(index.total),
                size=size,
            )
            found.append(warn("index-size", text, WRITE_AGAIN))
    return [*(fail("index", problem, WRITE_AGAIN) for problem in problems), *found]
