"""Files that people write: encodings are named, YAML is read as written, a key stands once."""

from __future__ import annotations

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.written import encoding_of, read_text, read_yaml

KOREAN = "scheme: W8A8  # 여덟 비트\n"


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32"), ("cp949", "CP949")],
)  # fmt: skip
def test_another_encoding_is_named_with_its_remedy(tmp_path, encoding, named):
    path = tmp_path / "a.yaml"
    path.write_bytes(KOREAN.encode(encoding))
    with pytest.raises(UsageError, match=rf"a\.yaml.* is not UTF-8; it looks like {named}\.") as caught:
        read_yaml(path)
    assert f"iconv -f {named}" in caught.value.remedy


def test_a_byte_order_mark_changes_nothing_and_noise_gets_no_name(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(KOREAN, encoding="utf-8-sig")
    assert read_yaml(path) == {"scheme": "W8A8"} and read_text(path) == KOREAN
    assert encoding_of(b"caf\xe9 au lait") == "" and encoding_of(b"\xff\xff\xff") == ""


WRITTEN = ["010", "1:30", "0.10", "null", "~", "true", "0x1f", "2026-11-25", "1_000", "1e3", ".5"]


@pytest.mark.parametrize("scalar", WRITTEN)
def test_as_text_is_what_was_written(scalar):
    """Each of these becomes something else in plain YAML 1.1, or may."""
    assert read_yaml(f"K: {scalar}", as_text=True) == {"K": scalar}
    assert read_yaml(f"[{scalar}]", as_text=True) == [scalar]
    assert read_yaml(f"!!float {scalar}", as_text=True) == scalar


def test_as_text_keeps_keys_empty_values_and_merges():
    text = "05: {A: 1}\nE:\nb: &b {X: 010}\nc: {<<: *b, Y: 2}\n"
    expected = {"05": {"A": "1"}, "E": "", "b": {"X": "010"}, "c": {"X": "010", "Y": "2"}}
    assert read_yaml(text, as_text=True) == expected


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A: 1\nB: 2\nA: 1\n", "line 3 .*the key 'A' is written twice"),
        ("x: {A: 1, A: 2}\n", "the key 'A' is written twice"),
        ("A: [", "cannot be read as YAML"),
        ("A: !!python/name:os.system x", "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("A: \x1b[2J", "cannot be read as YAML"),
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path, text, says, as_text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        read_yaml(path, as_text=as_text, expected="NAME: value.")
    assert caught.value.expected == "NAME: value." and caught.value.remedy


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    for path, says in ((tmp_path / "no.yaml", "There is no file"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError, match=says):
            read_yaml(path)
