"""What changed between two runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.workbook import record
from exaone_nb.workbook.diff import compare_runs
from exaone_nb.workbook.explain import explain
from exaone_nb.workbook.record import ChapterRecord, RunRecord, Setting
from exaone_nb.workbook.scrub import Scrubber


def make(path, value, interval, bits):
    made = RunRecord(path.name, {}, "nano", "nano", "f", record.now(), record.origin())
    made.chapters["05"] = ChapterRecord(
        "05", "05_q", "Q", "", "ok", "nano", "nano", record.now(), seconds=10.0 * bits, code_key="k",
        parameters=(Setting("BITS", "int", bits, 4),),
    )  # fmt: skip
    made.write(path, Scrubber({}))
    folder = RunFolder.at(path)
    folder.write_result("accuracy", recipe="r", value=value, unit="fraction", n=100, interval=interval)
    folder.write_result("bytes", recipe="r", value=7, unit="B")
    return path


def test_parameters_seconds_and_results(tmp_path):
    a, b = make(tmp_path / "a", 0.5, (0.4, 0.6), 4), make(tmp_path / "b", 0.75, (0.7, 0.8), 8)
    found = compare_runs(a, b)
    named = {c.name: c for c in found.changes}
    assert (
        set(named) == {"05.BITS", "chapter 05: seconds", "accuracy r [fraction]"} and found.equal_results == 1
    )
    assert named["accuracy r [fraction]"].note == "1.5 times, intervals apart"
    assert named["chapter 05: seconds"].note == "2 times"
    assert "05.BITS" in found.html() and json.dumps(found.as_dict())
    assert compare_runs(a, a).changes == ()


def test_a_chapter_that_only_one_run_has_is_one_row_and_equal_names_become_folders(tmp_path):
    a, b = (
        make(tmp_path / "x" / "nano", 0.5, (0.4, 0.6), 4),
        make(tmp_path / "y" / "nano", 0.5, (0.4, 0.6), 4),
    )
    made = record.read(b)
    made.chapters["06"] = replace(made.chapters.pop("05"), seconds=1.0)
    made.write(b, Scrubber({}))
    found = compare_runs(a, b)
    assert [c.name for c in found.changes] == ["chapter 05: status", "chapter 06: status"]
    assert (found.before, found.after) == (str(a), str(b))


def test_a_result_without_its_kind_is_named(tmp_path):
    a = make(tmp_path / "a", 0.5, (0.4, 0.6), 4)
    (a / "results" / "mine.json").write_text('{"value": 3}')
    with pytest.raises(WorkbookError, match=r"mine\.json lacks kind, recipe"):
        compare_runs(a, a)


def test_a_record_is_read_as_it_was_written(tmp_path):
    run = make(tmp_path / "a", 0.5, (0.4, 0.6), 4)
    made = record.read(run)
    made.chapters["05"].failure = explain("ValueError", "x", cell=3, source="y")
    made.chapters["05"].origin = record.origin()
    made.write(run, Scrubber({}))
    assert record.read(run) == made


def spoiled(run, *place, value):
    """The text of a good run.json with one thing another."""
    document = json.loads((run / "run.json").read_text())
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not a run"),
        ("{", "damaged"),
        ("[]", r"is \[\]"),
        ('{"schema": 2}', "has no name"),
        ((("schema",), 1), "schema is 1"),
        ((("chapters",), []), "damaged"),
        ((("chapters", "05"), {}), "chapters: 05 has no number"),
        ((("chapters", "05", "seconds"), "10"), "chapters: 05: seconds is '10'"),
        ((("chapters", "05", "failure"), {"kind": 3}), "chapters: 05: failure: kind is 3"),
        ((("origin", "machine", "cores"), "two"), "origin: machine: cores is 'two'"),
    ],
)
def test_not_a_run(tmp_path, content, said):
    good = make(tmp_path / "a", 0.5, (0.4, 0.6), 4)
    bad = tmp_path / "b"
    bad.mkdir()
    if content is not None:
        text = content if isinstance(content, str) else spoiled(good, *content[0], value=content[1])
        (bad / "run.json").write_text(text)
    with pytest.raises(WorkbookError, match=said):
        compare_runs(good, bad)


def test_a_person_reads_six_digits_and_a_program_all(tmp_path):
    a, b = make(tmp_path / "a", 1 / 3, (0.3, 0.4), 4), make(tmp_path / "b", 2 / 3, (0.6, 0.7), 4)
    (change,) = compare_runs(a, b).changes
    assert (change.told["before"], change.told["after"]) == ("0.333333", "0.666667")
    assert change.before == 1 / 3 and "0.333333<" in compare_runs(a, b).html()
