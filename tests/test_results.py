"""The run folder: a measurement is never lost to another one's name."""

from __future__ import annotations

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
