"""The header reader: every kind of broken file is refused with its own message, every good one is read exactly."""

from __future__ import annotations

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone_nb.anatomy.header import LONGEST_HEADER, header_length, parse_header
from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.tensors import DTYPE_BITS


def header(**tensors: dict) -> bytes:
    return json.dumps(tensors).encode()


def tensor(begin: int, end: int, shape: list | None = None, dtype: str = "U8") -> dict:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_good_header_is_read():
    entries, metadata = parse_header(
        header(__metadata__={"format": "pt"}, b=tensor(8, 12), a=tensor(0, 8, [2, 2], "BF16")), 12
    )
    assert [(e.name, e.dtype, e.shape, e.bytes) for e in entries] == [
        ("a", "BF16", (2, 2), 8),
        ("b", "U8", (4,), 4),
    ]
    assert metadata == {"format": "pt"}


def test_zero_size_tensors_and_scalars_are_legal():
    entries, _ = parse_header(
        header(a=tensor(0, 0, [0, 7]), b=tensor(0, 4, [], "F32"), c=tensor(4, 4, [0]), d=tensor(4, 5)), 5
    )
    assert {e.name: e.elements for e in entries} == {"a": 0, "b": 1, "c": 0, "d": 1}
    assert parse_header(b"{}      ", 0) == ((), {})


BAD = {
    "not UTF-8": (b'{"a\xff": 1}', 0, "is not UTF-8 at byte 3"),
    "not JSON": (b"{'a': 1}", 0, "is not JSON"),
    "cut": (header(a=tensor(0, 1))[:-3], 1, "is not JSON"),
    "text after the object": (b"{}{}", 0, "is not JSON"),
    "a list": (b"[]", 0, "JSON list, not an object"),
    "deeply nested": (b"[" * 200_000, 0, "is not JSON"),
    "NaN": (b'{"a": {"dtype": "U8", "shape": [NaN], "data_offsets": [0, 1]}}', 1, "NaN is not a number"),
    "duplicate tensor": (
        b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "the key 'a' is there twice",
    ),
    "duplicate field": (
        b'{"a": {"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}',
        1,
        "the key 'shape' is there twice",
    ),
    "overlap": (header(a=tensor(0, 4), b=tensor(2, 6)), 6, "'b' overlaps 'a'"),
    "same place twice": (header(a=tensor(0, 4), b=tensor(0, 4)), 4, "overlaps"),
    "gap": (header(a=tensor(0, 4), b=tensor(6, 8)), 8, "leaves 2 unused bytes after 'a'"),
    "gap at the start": (header(a=tensor(2, 4)), 4, "leaves 2 unused bytes after the start"),
    "shorter than described": (header(a=tensor(0, 4)), 3, "1 fewer than its header describes"),
    "longer than described": (header(a=tensor(0, 4)), 5, "1 more than its header describes"),
    "size is not shape x dtype": (header(a=tensor(0, 4, [3])), 4, "gives 'a' 4 bytes, but U8 [3] takes 3"),
    "backwards offsets": (header(a=tensor(4, 0, [0])), 0, "the offsets [4, 0]"),
    "negative offset": (
        header(a={"dtype": "U8", "shape": [1], "data_offsets": [-1, 0]}),
        0,
        "the offsets [-1, 0]",
    ),
    "offset is a float": (
        header(a={"dtype": "U8", "shape": [1], "data_offsets": [0, 1.0]}),
        1,
        "the offsets",
    ),
    "one offset": (header(a={"dtype": "U8", "shape": [1], "data_offsets": [1]}), 1, "the offsets [1]"),
    "unknown dtype": (header(a=tensor(0, 1, dtype="Q4_K")), 1, "the unknown dtype 'Q4_K'"),
    "dtype is a number": (header(a=tensor(0, 1, dtype=7)), 1, "the unknown dtype 7"),
    "negative shape": (header(a=tensor(0, 1, [-1])), 1, "the shape [-1]"),
    "shape is true": (header(a=tensor(0, 1, [True])), 1, "the shape [True]"),
    "shape is text": (header(a=tensor(0, 1, "1")), 1, "the shape '1'"),
    "shape overflows": (header(a=tensor(0, 0, [1 << 62] * 1000)), 0, "more than 2**63 elements"),
    "half a byte": (header(a=tensor(0, 1, [1], "F4")), 1, "takes 0.5"),
    "missing field": (
        header(a={"dtype": "U8", "shape": [1]}),
        1,
        "without exactly dtype, shape and data_offsets",
    ),
    "extra field": (header(a={**tensor(0, 1), "x": 1}), 1, "without exactly dtype, shape and data_offsets"),
    "tensor is a number": (header(a=3), 0, "without exactly"),
    "metadata is not text": (header(__metadata__={"a": 1}), 0, "__metadata__ that is not text"),
    "metadata is a list": (header(__metadata__=[]), 0, "__metadata__ that is not text"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_header_is_refused_with_its_own_message(name):
    content, data_bytes, message = BAD[name]
    with pytest.raises(WorkbookError) as caught:
        parse_header(content, data_bytes, "x.safetensors")
    assert message in str(caught.value)
    assert "x.safetensors" in caught.value.got
    assert caught.value.remedy or caught.value.expected


@pytest.mark.parametrize(
    "first, file_bytes, message",
    [
        (b"", 0, "has 0 bytes"),
        (b"\x10\0\0", 3, "has 3 bytes"),
        ((1 << 62).to_bytes(8, "little"), 1 << 40, "claims a header of 4,611,686,018,427,387,904 bytes"),
        ((LONGEST_HEADER + 1).to_bytes(8, "little"), 1 << 40, "claims a header of 100,000,001 bytes"),
        ((500).to_bytes(8, "little"), 100, "the whole file has 100"),
        ((93).to_bytes(8, "little"), 100, "the whole file has 100"),
        ((1).to_bytes(8, "little"), 100, "has a header of 1 bytes"),
        (b"PK\x03\x04\0\0\0\0", 100, "is a pickle"),
        (b"\x80\x02\x8a\nl\xfc\x9c", 100, "is a pickle"),
        (b"GGUF\x03\0\0\0", 100, "is a GGUF file"),
        (b"<!DOCTYPE html>", 100, "is a web page"),
        (b"\n <html>", 100, "is a web page"),
        (b"version https://git-lfs", 130, "is a git-LFS pointer"),
    ],
)
def test_bad_start_is_refused_without_allocating(first, file_bytes, message):
    tracemalloc.start()
    with pytest.raises(WorkbookError, match=message.replace("(", r"\(")):
        header_length(first, file_bytes, "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# --- properties ---------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: text != "__metadata__"
)
specs = st.dictionaries(
    names,
    st.tuples(
        st.sampled_from(sorted(d for d, bits in DTYPE_BITS.items() if bits % 8 == 0)),
        st.lists(st.integers(0, 9), max_size=4),
    ),
    max_size=12,
)


@given(specs)
@settings(deadline=None)
def test_what_is_written_is_read_back(found):
    tensors = [StoredTensor(name, dtype, tuple(shape)) for name, (dtype, shape) in found.items()]
    content = header_json(tensors)
    assert len(content) % 8 == 0
    entries, _ = parse_header(content, sum(tensor.bytes for tensor in tensors))
    assert {(e.name, e.dtype, e.shape) for e in entries} == {(t.name, t.dtype, t.shape) for t in tensors}
    assert sum(e.bytes for e in entries) == sum(t.bytes for t in tensors)


@given(specs)
@settings(max_examples=60, deadline=None)
def test_the_bytes_are_those_of_the_safetensors_library(found):
    numpy_types = {
        "BOOL": "?",
        "U8": "u1",
        "I8": "i1",
        "I16": "i2",
        "U16": "u2",
        "F16": "f2",
        "I32": "i4",
        "U32": "u4",
    }
    numpy_types |= {"F32": "f4", "F64": "f8", "I64": "i8", "U64": "u8"}
    import numpy as np
    from safetensors.numpy import save

    tensors = [StoredTensor(n, d, tuple(s)) for n, (d, s) in found.items() if d in numpy_types]
    arrays = {t.name: np.zeros(t.shape, numpy_types[t.dtype]) for t in tensors}
    real = save(arrays, metadata={"format": "pt"})
    ours = header_json(tensors)
    assert real[: 8 + len(ours)] == len(ours).to_bytes(8, "little") + ours


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
entries_like = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "X", 3]),
        "shape": st.lists(st.integers(-1, 1 << 65), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 64), min_size=2, max_size=2) | json_values,
    }
)


@given(st.binary(max_size=200), st.integers(0, 1 << 50))
@settings(deadline=None)
def test_any_bytes_give_a_header_or_our_error(content, file_bytes):
    with contextlib.suppress(WorkbookError):
        length = header_length(content[:8], file_bytes)
        parse_header(content[8:], file_bytes - 8 - length)


@given(st.dictionaries(st.text(max_size=4), entries_like | json_values, max_size=4), st.integers(0, 64))
@settings(max_examples=300, deadline=None)
def test_any_json_gives_entries_that_cover_the_data_or_our_error(document, data_bytes):
    try:
        entries, _ = parse_header(json.dumps(document).encode(), data_bytes)
    except WorkbookError:
        return
    position = 0
    for entry in entries:
        assert entry.begin == position
        assert entry.bytes * 8 == entry.elements * DTYPE_BITS[entry.dtype]
        position = entry.end
    assert position == data_bytes


@given(specs, st.data())
@settings(max_examples=150, deadline=None)
def test_one_flipped_byte_never_escapes_as_another_error(found, data):
    tensors = [StoredTensor(name, dtype, tuple(shape)) for name, (dtype, shape) in found.items()]
    content = bytearray(header_json(tensors))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WorkbookError):
        parse_header(bytes(content), sum(tensor.bytes for tensor in tensors))
