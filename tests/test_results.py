"""The run folder: a measurement is never lost to another one's name."""

from __future__ import annotations

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.paths import RUNS
from exaone_nb.results import RunFolder


def test_names_in_other_scripts_stay_apart(tmp_path):
    run = RunFolder.at(tmp_path)
    for value, recipe in enumerate(("양자화", "기본", "a b/c")):
        run.write_result("bytes", recipe=recipe, value=value, unit="B")
    assert {r["recipe"]: r["value"] for r in run.read_results("bytes")} == {
        "양자화": 0,
        "기본": 1,
        "a b/c": 2,
    }
    assert all(path.parent == run.results for path in run.results.iterdir())


def test_what_says_how_to_go_on_names_this_folder_wherever_it_is(tmp_path):
    assert RunFolder(RUNS / "nano").out == "nano" and RunFolder(tmp_path / "nano").out == str(
        tmp_path / "nano"
    )
    with pytest.raises(WorkbookError) as caught:
        RunFolder(tmp_path / "nano").checkpoint("w8a8")
    assert caught.value.remedy.endswith(f"--out {tmp_path / 'nano'}")


def test_a_word_is_a_name_under_runs_and_a_path_has_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("exaone_nb.results.RUNS", tmp_path / "runs")
    found = {named: RunFolder.at(named).path for named in ("", "first", "./first", str(tmp_path / "x"))}
    assert list(found.values()) == [
        tmp_path / "runs" / "interactive", tmp_path / "runs" / "first", tmp_path / "first", tmp_path / "x",
    ]  # fmt: skip
    (tmp_path / "first" / "results").mkdir(parents=True)
    assert RunFolder.at("first").path == tmp_path / "first"  # there is no other of that name
    (tmp_path / "second").mkdir()
    assert RunFolder.at("second").path == tmp_path / "runs" / "second"  # a folder that is no run
    (tmp_path / "second" / "run.json").touch()
    assert RunFolder.at("second").path == tmp_path / "second"
    (tmp_path / "runs" / "first").mkdir(parents=True)
    assert RunFolder.at("first").path == tmp_path / "runs" / "first"
    with pytest.raises(WorkbookError, match="is not a name for a run"):
        RunFolder.at("..")
