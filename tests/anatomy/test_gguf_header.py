"""GGUF headers: good ones are read as the `gguf` package reads them, every kind of broken one ends in a sentence."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone_nb.anatomy.gguf import types
from exaone_nb.anatomy.gguf.cursor import FIRST_READ
from exaone_nb.anatomy.gguf.header import read_gguf
from exaone_nb.anatomy.gguf.inspection import explain_gguf, inspect_gguf
from exaone_nb.anatomy.gguf.values import GgufList
from exaone_nb.anatomy.reader import Folder
from exaone_nb.cli import main
from exaone_nb.errors import WorkbookError

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10
HUGE = (1 << 64) - 1


def text(value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def key(name: str | bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def u32(name: str, value: int) -> bytes:
    return key(name, U32, struct.pack("<I", value))


def string(name: str, value: str | bytes) -> bytes:
    return key(name, STRING, text(value))


def array(name: str, kind: int, count: int, items: bytes) -> bytes:
    return key(name, ARRAY, struct.pack("<IQ", kind, count) + items)


def tensor(name: str | bytes, sides: tuple[int, ...] = (32,), kind: int = 0, begin: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, begin)


def gguf(
    keys: list[bytes] = (),
    tensors: list[bytes] = (),
    data: int = 0,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """A file with these keys and tensors and `data` bytes behind them."""
    start = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(keys))))
    header = start + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % alignment if tensors else 0) + bytes(data)


ARCHITECTURE = string("general.architecture", "llama")


def read(content: bytes, place: Path):
    file = place / "x.gguf"
    file.write_bytes(content)
    return read_gguf(Folder(file), file.name)


def test_good_header_is_read(tmp_path):
    keys = [
        ARCHITECTURE,
        u32("a.u32", 7),
        key("a.bool", BOOL, b"\1"),
        key("a.f32", F32, struct.pack("<f", 0.5)),
        array("a.words", STRING, 3, text("x") + text("") + text("\uac00")),
        array("a.empty", STRING, 0, b""),
        array("a.bytes", U8, 20, bytes(range(20))),
    ]
    tensors = [tensor("q", (256, 2), 12), tensor("s", (), 0, 288), tensor("e", (0, 4), 1, 320)]
    file = read(gguf(keys, tensors, 320), tmp_path)
    assert file.values == {
        "general.architecture": "llama",
        "a.u32": 7,
        "a.bool": True,
        "a.f32": 0.5,
        "a.words": GgufList("string", 3, 28, ("x", "", "\uac00")),
        "a.empty": GgufList("string", 0, 0, ()),
        "a.bytes": GgufList("u8", 20, 20, tuple(range(8))),
    }
    assert [(t.name, t.type.name, t.shape, t.bytes, t.elements) for t in file.tensors] == [
        ("q", "Q4_K", (2, 256), 288, 512),
        ("s", "F32", (), 4, 1),
        ("e", "F16", (4, 0), 0, 0),
    ]
    assert file.header_bytes + file.data_bytes + file.padding_bytes == file.file_bytes


def test_the_last_tensor_may_end_the_file_and_alignment_may_be_named(tmp_path):
    tensors = [tensor("a", (1,), 0), tensor("b", (1,), 0, 64)]
    keys = [u32("general.alignment", 64)]
    for data in (68, 128):
        assert read(gguf(keys, tensors, data, alignment=64), tmp_path).alignment == 64


GOOD = gguf([ARCHITECTURE], [tensor("a", (32,))], 128)
BAD = {
    "empty file": (b"", "is no GGUF file"),
    "magic cut": (b"GGU", "is no GGUF file"),
    "other magic": (b"GGML" + GOOD[4:], "is no GGUF file"),
    "pickle": (b"PK\x03\x04" + GOOD, "is a pickle"),
    "web page": (b"<!DOCTYPE html><p>Sign in</p>", "is a web page"),
    "git-LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
    "only the magic": (b"GGUF", "ends inside its header: 4 bytes wanted at byte 4"),
    "version 1": (gguf(version=1), "of version 1"),
    "version 4": (gguf(version=4), "of version 4"),
    "version 0": (gguf(version=0), "of version 0"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "byte order"),
    "counts cut": (GOOD[:20], "ends inside its header"),
    "tensors without room": (gguf(counts=(HUGE, 0)), "18,446,744,073,709,551,615 tensors"),
    "keys without room": (gguf(counts=(0, HUGE)), "18,446,744,073,709,551,615 keys"),
    "more tensors than listed": (gguf([ARCHITECTURE], [tensor("a")], counts=(2, 1)), "the name ''"),
    "header cut": (GOOD[:95], "ends inside its header"),
    "key of endless length": (
        gguf(counts=(0, 1)) + struct.pack("<Q", HUGE) + bytes(64),
        "18,446,744,073,709,551,615 bytes wanted",
    ),
    "key of nothing": (gguf([u32("", 1)]), "a key of 0 bytes"),
    "key too long": (gguf([u32("k" * 70_000, 1)]), "a key of 70,000 bytes"),
    "key is no UTF-8": (gguf([key(b"a\xff", U32, bytes(4))]), "is not UTF-8 at byte 33 (a key)"),
    "key twice": (gguf([u32("a", 1), u32("a", 2)]), "the key 'a' twice"),
    "value of an unknown type": (gguf([key("a", 13, bytes(8))]), "unknown type 13"),
    "text that is no UTF-8": (gguf([string("a", b"ab\xc3")]), "is not UTF-8 at byte 47 (a)"),
    "token that is no UTF-8": (gguf([array("a", STRING, 1, text(b"\xff\xfe"))]), "is not UTF-8"),
    "text of endless length": (
        gguf([key("a", STRING, struct.pack("<Q", 1 << 62))]) + bytes(64),
        "4,611,686,018,427,387,904 bytes wanted",
    ),
    "array of endless length": (
        gguf([array("a", U64, 1 << 61, b"")]) + bytes(64),
        "18,446,744,073,709,551,616 bytes wanted",
    ),
    "array of endless strings": (gguf([array("a", STRING, 1 << 60, b"")]), "1,152,921,504,606,846,976 strings"),
    "array of an unknown type": (gguf([array("a", 99, 1, bytes(8))]), "unknown type 99"),
    "array of arrays": (
        gguf([array("a", ARRAY, 1, struct.pack("<IQ", U8, 1) + b"\0")]),
        "an array of arrays",
    ),
    "truth value of 2": (gguf([key("a", BOOL, b"\2")]), "the truth value 2"),
    "alignment of 0": (gguf([u32("general.alignment", 0)]), "general.alignment 0"),
    "alignment of 48": (gguf([u32("general.alignment", 48)]), "general.alignment 48"),
    "alignment is text": (gguf([string("general.alignment", "32")]), "general.alignment '32'"),
    "tensor twice": (gguf([], [tensor("a"), tensor("a", begin=128)], 256), "the tensor 'a' twice"),
    "tensor without a name": (gguf([], [tensor("")], 128), "the name ''"),
    "tensor with a long name": (gguf([], [tensor("n" * 64)], 128), "the name 'nnn"),
    "tensor name is no UTF-8": (gguf([], [tensor(b"\xed\xa0\x80")], 128), "is not UTF-8"),
    "five sides": (gguf([], [tensor("a", (1,) * 5)], 4), "gives 'a' 5 sides"),
    "endless sides": (
        gguf(counts=(1, 0)) + text("a") + struct.pack("<I", (1 << 32) - 1) + bytes(64),
        "4,294,967,295 sides",
    ),
    "sides overflow": (gguf([], [tensor("a", (1 << 40, 1 << 40))], 0), "more than 2**63 elements"),
    "a side below zero": (gguf([], [tensor("a", (HUGE, 0))], 0), "more than 2**63 elements"),
    "type that was removed": (gguf([], [tensor("a", kind=4)], 128), "the unknown type 4"),
    "type of the future": (gguf([], [tensor("a", kind=1 << 31)], 128), "the unknown type 2147483648"),
    "row that blocks do not divide": (
        gguf([], [tensor("a", (100, 2), 12)], 0),
        "rows of 100, which do not divide into the blocks of 256 of Q4_K",
    ),
    "overlap": (gguf([], [tensor("a"), tensor("b", begin=64)], 192), "puts 'b' at 64, where 128 follows"),
    "gap": (gguf([], [tensor("a"), tensor("b", begin=160)], 288), "puts 'b' at 160"),
    "gap at the start": (gguf([], [tensor("a", begin=32)], 160), "puts 'a' at 32"),
    "endless offset": (gguf([], [tensor("a", begin=1 << 63)], 128), "puts 'a' at 9,223"),
    "data cut": (GOOD[:-1], "download the file again"),
    "no data at all": (GOOD[:-128], "its header describes"),
    "data too long": (GOOD + bytes(32), "has 288 bytes; its header describes 256"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_file_ends_in_a_sentence_and_takes_little_memory(name, tmp_path, capsys):
    content, message = BAD[name]
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(WorkbookError) as caught:
        read_gguf(Folder(file), file.name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert message in str(caught.value) and "x.gguf" in caught.value.got
    assert caught.value.expected and caught.value.remedy
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(file)])
    assert stopped.value.code == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and "Traceback" not in err


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (gguf([array("a", U8, 90 << 30, b"")]), "longer than 100,000,000 bytes"),
        (gguf(counts=(3_000_000, 0)), "3,000,000 tensors, more than any model has"),
        (gguf(counts=(0, 7_000_000)), "7,000,000 keys and 0 tensors, more than any model has"),
    ],
)
def test_a_huge_sparse_file_is_refused_before_it_is_read(start, said, tmp_path):
    """A file that has room for what it claims, past what is believed of any model."""
    file = tmp_path / "x.gguf"
    file.write_bytes(start)
    with file.open("r+b") as handle:
        handle.truncate(100 << 30)
    tracemalloc.start()
    with pytest.raises(WorkbookError, match=said):
        read_gguf(Folder(file), file.name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_control_characters_infinity_and_nan_harm_no_output(tmp_path, capsys):
    keys = [
        string("general.architecture", "a\x1b[2J"),
        key("x", F32, struct.pack("<f", float("nan"))),
        array("y", F32, 1, struct.pack("<f", float("-inf"))),
        string("z", "\u202e\x07"),
    ]
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf(keys, [tensor("t\x1b[31m")], 128))
    with pytest.raises(SystemExit, match="0"):
        main(["inspect", str(file), "--tensors"])
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"t\x1b[31m" in out
    with pytest.raises(SystemExit, match="0"):
        main(["inspect", str(file), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["keys"]["x"] == "nan" and document["keys"]["y"]["first"] == ["-inf"]


@pytest.mark.parametrize(
    ("number", "said"), [(u32("split.no", 2), "part 3 of 4"), (string("split.no", "x"), "part ? of 4")]
)
def test_a_part_of_a_model_says_so(number, said, tmp_path):
    content = gguf([ARCHITECTURE, u32("split.count", 4), number], [tensor("t")], 128)
    assert any(said in note for note in explain_gguf(read(content, tmp_path)).notes)


LAYER = [f"blk.0.{part}.weight" for part in (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
)]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"blocks": 2}, "llama.block_count is 2, the tensors are of 1 layers"),
        ({"blocks": (1 << 32) - 1}, "llama.block_count is 4,294,967,295"),
        ({"width": 64}, "llama.embedding_length is 64, the embedding is 3 x 32"),
        ({"tokens": 4}, "the vocabulary has 4 tokens, the embedding 3 rows"),
        ({"without": "blk.0.ffn_up.weight"}, "there is no blk.0.ffn_up.weight"),
        ({"without": "output_norm.weight"}, "there is no output_norm.weight"),
    ],
)
def test_keys_are_held_against_the_tensors(change, said, tmp_path, capsys):
    tokens = change.get("tokens", 3)
    keys = [
        ARCHITECTURE,
        u32("llama.block_count", change.get("blocks", 1)),
        u32("llama.embedding_length", change.get("width", 32)),
        array("tokenizer.ggml.tokens", STRING, tokens, text("x") * tokens),
    ]
    names = [n for n in ["token_embd.weight", *LAYER, "output_norm.weight"] if n != change.get("without")]
    tensors = [tensor(n, (32, 3), 0, 384 * i) for i, n in enumerate(names)]
    content = gguf(keys, tensors, 384 * len(names))
    found = explain_gguf(read(content, tmp_path))
    assert found.sound == (not said)
    assert not said or any(said in problem for problem in found.index_problems)
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(tmp_path / "x.gguf")])
    assert stopped.value.code == bool(said)
    assert ("disagrees with itself" in capsys.readouterr().err) == bool(said)


def test_remote_header_is_read_like_the_local_one(tmp_path, serve):
    """A long vocabulary takes more requests; the data stays where it is."""
    keys = [ARCHITECTURE, array("tokenizer.ggml.tokens", STRING, 60_000, text("a long token") * 60_000)]
    content = gguf(keys, [tensor("a", (1 << 20,))], 4 << 20)
    (tmp_path / "model.gguf").write_bytes(content)
    site = serve(tmp_path)
    remote, local = inspect_gguf(f"{site.address}/model.gguf"), inspect_gguf(tmp_path / "model.gguf")
    assert remote.rows == local.rows and remote.file.values == local.file.values
    assert remote.file.requests == len(site.seen) > 1
    assert FIRST_READ < remote.file.wire_bytes == site.sent < len(content) - (3 << 20)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"status": 404}, "has no model.gguf"),
        ({"status": 403}, "refuses model.gguf"),
        ({"ignore_range": True}, "ignores Range"),
        ({"html_instead": True}, "is a web page"),
        ({"wrong_range": True}, "answered with the range"),
    ],
)
def test_remote_trouble_ends_in_a_sentence(trouble, said, tmp_path, serve):
    (tmp_path / "model.gguf").write_bytes(GOOD)
    site = serve(tmp_path)
    for name, value in trouble.items():
        setattr(site, name, value)
    with pytest.raises(WorkbookError, match=said):
        inspect_gguf(f"{site.address}/model.gguf")


def test_a_folder_of_gguf_files_says_to_name_one(tmp_path):
    from exaone_nb.anatomy.reader import read_headers

    (tmp_path / "x.gguf").write_bytes(GOOD)
    with pytest.raises(WorkbookError, match=r"no safetensors files[\s\S]*Name one of its GGUF files"):
        read_headers(tmp_path)


@given(junk=st.binary(max_size=200), at=st.integers(0, len(GOOD)), cut=st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(junk, at, cut, tmp_path_factory):
    """A good file with bytes put in and taken out: a header or a WorkbookError, nothing else."""
    file = tmp_path_factory.getbasetemp() / "junk.gguf"
    file.write_bytes(GOOD[:at] + junk + GOOD[at + cut :])
    with contextlib.suppress(WorkbookError):
        explain_gguf(read_gguf(Folder(file), file.name)).document()


def test_the_tables_are_those_of_the_gguf_package():
    """Numbers, blocks and value types; the package 0.19 does not know Q2_0 yet, and Q8_1 is in no file."""
    package = pytest.importorskip("gguf")
    sizes = {
        kind.name: (kind.value, *package.GGML_QUANT_SIZES[kind]) for kind in package.GGMLQuantizationType
    }
    ours = {each.name: (each.number, each.block, each.bytes) for each in types.BLOCK_TYPES.values()}
    assert {name: each for name, each in ours.items() if name != "Q2_0"} == {
        name: each for name, each in sizes.items() if name not in ("Q8_1", "Q2_0")
    }
    values = {kind.value: kind.name for kind in package.GGUFValueType}
    short = {"u": "uint", "i": "int", "f": "float"}
    for number, (name, letter) in types.VALUE_TYPES.items():
        long = f"{short[name[0]]}{name[1:]}" if name[1:].isdigit() else name
        assert values[number] == long.upper()
        if letter:
            assert package.GGUFWriter._simple_value_packing[package.GGUFValueType(number)] in (letter, "?")
    for name, (number, _) in types.FILE_TYPES.items():
        assert package.LlamaFileType[f"MOSTLY_{name}"] == number
