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
