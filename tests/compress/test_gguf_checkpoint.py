"""A GGUF file as a checkpoint of a run: made once, complete, and refused where it would overwrite something."""

from __future__ import annotations

import json

import pytest

from exaone_nb import catalog
from exaone_nb.cli import main
from exaone_nb.compress.gguf_checkpoint import gguf_checkpoint
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO


def test_it_is_made_once_and_read_like_any_other(tmp_path, monkeypatch):
    out = tmp_path / "Q8_0"
    made = gguf_checkpoint("nano", "q8_0", out)
    file = catalog.gguf_in(out)
    assert (
        file is not None
        and file.stat().st_size == made["written_bytes"] == made["predicted_bytes"] == 3_668_704
    )
    for name in ("tokenizer.json", "chat_template.jinja", "config.json", "generation_config.json"):
        assert (out / name).read_bytes() == (NANO / name).read_bytes()
    assert catalog.weights_folder(file) == catalog.weights_folder(out) == out
    assert catalog.recognised(out) == "nano"
    monkeypatch.setattr("exaone_nb.compress.gguf_checkpoint.convert", None)
    assert gguf_checkpoint("nano", "Q8_0", out) == made | {"reused": True}
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert not gguf_checkpoint("nano", "Q8_0", out)["reused"]
    assert not gguf_checkpoint("nano", "F16", out)["reused"] and catalog.gguf_in(out).name == "model-F16.gguf"


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UsageError, match=r"exists and holds notes\.txt"):
        gguf_checkpoint("nano", "Q8_0", tmp_path / "mine")
    with pytest.raises(UsageError, match="No GGUF type"):
        gguf_checkpoint("nano", "Q9", tmp_path / "new")
    assert not (tmp_path / "new").exists() and len(list(tmp_path.rglob("*"))) == 2


def test_convert_makes_a_folder_or_a_file(tmp_path, capsys):
    out = tmp_path / "made"
    with pytest.raises(SystemExit, match="0"):
        main(["convert", "nano", "--gguf", "BF16", "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["file"] == "model-BF16.gguf"
    assert catalog.gguf_in(out).stat().st_size == 6_863_584
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "nano", "--gguf", "BF16", "--out", str(out), "--modelfile"])
    assert "stands beside a file" in capsys.readouterr().err
