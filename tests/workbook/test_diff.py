"""What changed between two runs."""

from __future__ import annotations

import json

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.workbook import record
from exaone_nb.workbook.diff import compare_runs
from exaone_nb.workbook.scrub import Scrubber


def make(path, value, interval, bits):
    made = record.begin(path.name, {}, "nano", "f")
    made["chapters"]["05"] = {
        "slug": "05_q", "title": "Q", "status": "ok", "seconds": 10.0 * bits, "code_key": "k",
        "parameters": [{"name": "BITS", "value": bits, "default": 4}],
    }  # fmt: skip
    record.write(path, made, Scrubber({}))
    folder = RunFolder.at(path)
    folder.write_result("accuracy", recipe="r", value=value, unit="fraction", n=100, interval=interval)
    folder.write_result("bytes", recipe="r", value=7, unit="B")
    return path


def test_parameters_seconds_and_results(tmp_path):
    a, b = make(tmp_path / "a", 0.5, (0.4, 0.6), 4), make(tmp_path / "b", 0.75, (0.7, 0.8), 8)
    found = compare_runs(a, b)
    named = {c.name: c for c in found.changes}
    assert set(named) == {"05.BITS", "05 seconds", "accuracy r [fraction]"} and found.equal_results == 1
    assert named["accuracy r [fraction]"].note == "1.5 times, intervals apart"
    assert named["05 seconds"].note == "2 times"
    assert "05.BITS" in found.html() and json.dumps(found.as_dict())
    assert compare_runs(a, a).changes == ()


def test_a_chapter_that_only_one_run_has_is_one_row_and_equal_names_become_folders(tmp_path):
    a, b = make(tmp_path / "x" / "nano", 0.5, (0.4, 0.6), 4), make(tmp_path / "y" / "nano", 0.5, (0.4, 0.6), 4)
    made = record.read(b)
    made["chapters"]["06"] = {**made["chapters"].pop("05"), "seconds": 1.0}
    record.write(b, made, Scrubber({}))
    found = compare_runs(a, b)
    assert [c.name for c in found.changes] == ["05 status", "06 status"]
    assert (found.before, found.after) == (str(a), str(b))


def test_a_result_without_its_kind_is_named(tmp_path):
    a = make(tmp_path / "a", 0.5, (0.4, 0.6), 4)
    (a / "results" / "mine.json").write_text('{"value": 3}')
    with pytest.raises(WorkbookError, match=r"mine\.json lacks kind, recipe"):
        compare_runs(a, a)


PART = '{"schema": 1, "name": "x", "libraries": {}, "machine": {}, "chapters": %s}'


@pytest.mark.parametrize(
    "content",
    [None, "{", '{"schema": 99}', "[]", '{"schema": 1}', '{"schema": 1, "chapters": []}', PART % '{"01": {}}'],
)
def test_not_a_run(tmp_path, content):
    good = make(tmp_path / "a", 0.5, (0.4, 0.6), 4)
    bad = tmp_path / "b"
    bad.mkdir()
    if content is not None:
        (bad / "run.json").write_text(content)
    with pytest.raises(WorkbookError):
        compare_runs(good, bad)
