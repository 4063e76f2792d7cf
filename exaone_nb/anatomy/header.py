"""The header of a safetensors file, read strictly.

    8 bytes    length N of the header, little-endian
    N bytes    a JSON object: name -> {"dtype", "shape", "data_offsets": [begin, end]}; "__metadata__" is text -> text
    the rest   the tensors, back to back, from offset 0 to the end of the file

Everything that does not add up is refused with what was found and what was expected, before any memory is set
aside for it. Format: https://github.com/huggingface/safetensors#format.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.lfs import refuse_pointer
from exaone_nb.messages import say
from exaone_nb.tensors import DTYPE_BITS

# The format's own limit (safetensors/src/tensor.rs): a longer header is an attack or not a safetensors file.
LONGEST_HEADER = 100_000_000
LARGEST_OFFSET = 1 << 63
DOWNLOAD_AGAIN = say("Download the file again; if that gives the same, its writer is broken.")
SAFETENSORS = say("a safetensors file.")
PICKLE, GGUF, WEB_PAGE = "pickle", "gguf", "web page"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a header. Offsets count from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def bytes(self) -> int:
        """Bytes of its data."""
        return self.end - self.begin

    @property
    def elements(self) -> int:
        """Stored elements (a packed int32 counts as one)."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class FileHeader:
    """The header of one file. 8 + header_bytes + data_bytes is the file's size, or reading would have failed."""

    name: str
    header_bytes: int
    file_bytes: int
    entries: tuple[TensorEntry, ...]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.bytes for entry in self.entries)


def refuse_other_kinds(first_bytes: bytes, name: str, expected: str, but: bytes = b"") -> None:
    """Raise WorkbookError when a file begins like a pickle, a GGUF file (unless that is what is wanted, `but`), a web
    page or a git-LFS pointer.
    """
    refuse_pointer(name, first_bytes)
    text = first_bytes[:64].lstrip().lower()
    for what, start, signatures in (
        (PICKLE, first_bytes, (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")),
        (GGUF, first_bytes, b"GGUF"),
        (WEB_PAGE, text, (b"<!docty", b"<html", b"<head", b"<?xml")),
    ):
        if start.startswith(signatures) and not (but and start.startswith(but)):
            raise not_weights(name, what, expected)


def header_length(first_bytes: bytes, file_bytes: int, name: str = "file") -> int:
    """N from the first 8 bytes. Raises WorkbookError when it cannot be the length of a header in this file."""
    refuse_other_kinds(first_bytes, name, SAFETENSORS)
    length = int.from_bytes(first_bytes[:8], "little")
    if length > LONGEST_HEADER:
        raise WorkbookError(
            say("{name} claims a header of {length:,} bytes.", name=name, length=length),
            expected=say(
                "at most {most:,}; this does not look like a safetensors file.", most=LONGEST_HEADER
            ),
            remedy="Check that the name ends in .safetensors and that the download was not an error page.",
        )
    got = ""
    if len(first_bytes) < 8:
        got = say("{name} has {count} bytes.", name=name, count=len(first_bytes))
    elif length + 8 > file_bytes:
        got = say(
            "{name} claims a header of {length:,} bytes but the whole file has {total:,}.",
            name=name,
            length=length,
            total=file_bytes,
        )
    elif length < 2:
        got = say("{name} has a header of {length} bytes.", name=name, length=length)
    if got:
        raise WorkbookError(
            got,
            expected="8 bytes of header length, and a header of at least 2 bytes that fits into the file.",
            remedy=DOWNLOAD_AGAIN,
        )
    return length


def not_weights(name: str, kind: str, expected: str = SAFETENSORS) -> WorkbookError:
    """The error for a file that is something else: PICKLE, GGUF or WEB_PAGE."""
    got, remedy = {
        PICKLE: (
            say("{name} is a pickle. It can run code when loaded, so it is not opened.", name=name),
            say("Use the repository's safetensors files, or convert it in a sandbox you trust."),
        ),
        GGUF: (
            say("{name} is a GGUF file.", name=name),
            say("Let its name end in .gguf and inspect it again, or name the original model."),
        ),
        WEB_PAGE: (
            say("{name} is a web page, not a file of weights.", name=name),
            say(
                "The server sent an error or a login page: open the address in a browser, check the name and access."
            ),
        ),
    }[kind]
    return WorkbookError(got, expected=expected, remedy=remedy)


def refuse_pickle_name(name: str) -> None:
    """Raise WorkbookError when a file's name says that it is a pickle."""
    if name.lower().endswith(PICKLES):
        raise not_weights(name, PICKLE)


def parse_header(
    content: bytes, data_bytes: int, name: str = "file"
) -> tuple[tuple[TensorEntry, ...], dict[str, str]]:
    """Entries in the order of their data, and the metadata, from the JSON bytes.

    `data_bytes` is what the file has after its header. Raises WorkbookError for text that is not UTF-8 or not JSON,
    duplicate names, unknown dtypes, impossible shapes, and offsets that overlap, leave gaps or miss the file's end.
    """
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_Unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _broken(
            say("The header of {name} is not UTF-8 at byte {at}.", name=name, at=error.start)
        ) from error
    except (ValueError, RecursionError) as error:
        raise _broken(
            say("The header of {name} is not JSON: {reason}.", name=name, reason=str(error)[:200])
        ) from error
    if not isinstance(document, dict):
        raise _broken(
            say(
                "The header of {name} is a JSON {kind}, not an object.",
                name=name,
                kind=type(document).__name__,
            )
        )
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _broken(say("The header of {name} has __metadata__ that is not text to text.", name=name))
    entries = [_entry(key, value, name) for key, value in document.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    _check_cover(entries, data_bytes, name)
    return tuple(entries), dict(metadata)


class _Unique(dict):
    """A JSON object whose keys were all different. (json keeps the last of two equal keys without a word.)"""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise ValueError(say("the key {key!r} is there twice", key=twice))


def _no_constant(text: str) -> None:
    raise ValueError(say("{text} is not a number", text=text))


def _broken(got: str) -> WorkbookError:
    return WorkbookError(got, expected="a safetensors header.", remedy=DOWNLOAD_AGAIN)


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_OFFSET


def _entry(tensor: str, value: Any, name: str) -> TensorEntry:
    fields = {"name": name, "tensor": tensor}
    if type(value) is not _Unique or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise _broken(
            say(
                "The header of {name} describes {tensor!r} without exactly dtype, shape and data_offsets.",
                **fields,
            )
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _broken(
            say("The header of {name} gives {tensor!r} the unknown dtype {dtype!r}.", dtype=dtype, **fields)
        )
    if type(shape) is not list or not all(map(_whole, shape)):
        raise _broken(
            say("The header of {name} gives {tensor!r} the shape {shape!r}.", shape=shape, **fields)
        )
    pair = type(offsets) is list and len(offsets) == 2 and all(map(_whole, offsets))
    if not pair or offsets[0] > offsets[1]:
        raise _broken(
            say("The header of {name} gives {tensor!r} the offsets {offsets!r}.", offsets=offsets, **fields)
        )
    elements = 1
    for side in shape:
        elements *= side
        if elements >= LARGEST_OFFSET:  # also stops a long shape from growing an endless number
            raise _broken(
                say("The header of {name} gives {tensor!r} a shape of more than 2**63 elements.", **fields)
            )
    bits = elements * DTYPE_BITS[dtype]
    begin, end = offsets
    if bits != (end - begin) * 8:
        fields |= {"given": end - begin, "dtype": dtype, "shape": shape, "taken": bits / 8}
        raise _broken(
            say(
                "The header of {name} gives {tensor!r} {given:,} bytes, but {dtype} {shape} takes {taken:,.10g}.",
                **fields,
            )
        )
    return TensorEntry(tensor, dtype, tuple(shape), begin, end)


def _check_cover(entries: list[TensorEntry], data_bytes: int, name: str) -> None:
    """The tensors follow each other without overlap or gap and end where the file ends."""
    position, before = 0, say("the start")
    for entry in entries:
        if gap := entry.begin - position:
            fields = {"name": name, "tensor": entry.name, "before": before}
            raise _broken(
                say("The header of {name} is wrong about offsets: {tensor!r} overlaps {before}.", **fields)
                if gap < 0
                else say(
                    "The header of {name} is wrong about offsets: {tensor!r} leaves {gap:,} unused bytes after {before}.",
                    gap=gap,
                    **fields,
                )
            )
        position, before = entry.end, repr(entry.name)
    if missing := position - data_bytes:
        found = {"name": name, "found": data_bytes, "off": abs(missing)}
        raise WorkbookError(
            say("{name} has {found:,} bytes of data, {off:,} fewer than its header describes.", **found)
            if missing > 0
            else say("{name} has {found:,} bytes of data, {off:,} more than its header describes.", **found),
            expected=say("{position:,} bytes of data.", position=position),
            remedy="The download stopped early: download the file again." if missing > 0 else DOWNLOAD_AGAIN,
        )
