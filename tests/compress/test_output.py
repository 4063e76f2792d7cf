"""Where a checkpoint may be put: nothing that we did not write is ever replaced."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from exaone_nb.compress import llmcompressor_adapter, manifest
from exaone_nb.compress import quantize as maker
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO


def model_at(folder: Path) -> Path:
    return Path(shutil.copytree(NANO, folder))


def ours(folder: Path, **document) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    text = json.dumps({"fingerprint": "f", "files": {}, "beside": {"config.json": {}}} | document)
    (folder / manifest.NAME).write_text(text)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("thesis", "holds thesis.txt"),
        ("important.txt", "is a file"),
        ("important.txt/below", "important.txt is a file"),
        ("proj/m2", "is the source model"),
        ("link", "is the source model"),
        ("proj", "contains the source model"),
        ("proj/m2/quantized", "lies inside the source model"),
        ("here", "is the current folder"),
        ("made", "holds notes.md beside"),
        ("run/baseline", "unquantized baseline"),
    ],
)
def test_what_is_not_ours_stays(tmp_path, monkeypatch, out, words):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years")
    (tmp_path / "important.txt").write_text("important")
    source = model_at(tmp_path / "proj" / "m2")
    (tmp_path / "link").symlink_to(source)
    ours(tmp_path / "made")
    (tmp_path / "made" / "notes.md").write_text("mine")
    ours(tmp_path / "run" / "baseline", baseline=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(llmcompressor_adapter, "compress", lambda *a, **k: pytest.fail("loaded"))
    before = everything(tmp_path)
    with pytest.raises(UsageError, match=words):
        maker.quantize(source, "w8a8", tmp_path / out)
    assert everything(tmp_path) == before
    assert not list(tmp_path.rglob("*.part"))


def test_the_current_folder_as_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (".", "..", "below/..", "/"):
        with pytest.raises(UsageError, match=r"current folder|contains the source model"):
            manifest.check_out(Path(out), NANO)


def test_new_empty_and_our_own_folders_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in ("new", "a/b/new", "empty"):
        manifest.check_out(tmp_path / out, NANO)
    manifest.check_out(ours(tmp_path / "made"), NANO)
    old = ours(tmp_path / "old")  # before the manifest listed all files
    (old / manifest.NAME).write_text('{"fingerprint": "f", "files": {}}')
    manifest.check_out(old, NANO)


def test_a_baseline_replaces_a_baseline_only(tmp_path):
    out = maker.copy_baseline("nano", tmp_path / "run" / "baseline")
    other = model_at(tmp_path / "other")
    (other / "config.json").write_text(json.dumps(json.loads((NANO / "config.json").read_text()) | {"x": 1}))
    maker.copy_baseline(other, out)
    assert json.loads((out / "config.json").read_text())["x"] == 1
    # Older baselines have no manifest: a copy of the same model is recognized, another model's is left alone.
    (out / manifest.NAME).unlink()
    maker.copy_baseline(other, out)
    (out / manifest.NAME).unlink()
    with pytest.raises(UsageError, match="exists and holds"):
        maker.copy_baseline("nano", out)
    with pytest.raises(UsageError, match="holds a quantized checkpoint"):
        maker.copy_baseline("nano", ours(tmp_path / "made"))
    assert (tmp_path / "made" / "config.json").is_file()


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(UsageError, match="not writable"):
            manifest.check_out(tmp_path / "out", NANO)
    finally:
        tmp_path.chmod(0o755)


def test_tensors_of_equal_content_are_found_whatever_they_are_called(tmp_path):
    import torch
    from safetensors.torch import save_file

    from exaone_nb.anatomy.duplicates import equal_tensors
    from exaone_nb.anatomy.reader import read_headers

    table = torch.randn(256, 256)
    nearly = table.clone()
    nearly[-1, -1] += 1
    tensors = {
        "a": table,
        "b": table.clone(),
        "other": nearly,
        "small": torch.ones(8),
        "small too": torch.ones(8),
    }
    save_file(tensors | {"flat": table.clone().reshape(-1)}, tmp_path / "model.safetensors")
    assert equal_tensors(read_headers(tmp_path / "model.safetensors")) == [["a", "b"]]


def test_nanos_text_for_another_model_is_told_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    """GPTQ reads calibration text, rounding does not; a text of one's own is nobody's to judge."""
    from exaone_nb.cli import main

    def stop(*arguments, **options):
        raise UsageError("nothing is made here")

    monkeypatch.setattr(maker, "quantize", stop)
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"text": "a"}\n')

    def said(*arguments):
        with pytest.raises(SystemExit):
            main(["quantize", *arguments, "--out", str(tmp_path / "out")])
        return " ".join(capsys.readouterr().err.split())

    real = "LGAI-EXAONE/EXAONE-4.0-1.2B"
    assert "nano_calibration: short arithmetic made for nano" in said(real, "--recipe", "w4a16_gptq")
    for arguments in (
        (real, "--recipe", "w4a16_rtn"),
        ("nano", "--recipe", "w4a16_gptq"),
        (real, "--recipe", "w4a16_gptq", "--calibration", str(mine)),
    ):
        assert "short arithmetic" not in said(*arguments)
