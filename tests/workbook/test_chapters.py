"""Finding, choosing and ordering chapters."""

from __future__ import annotations

import pytest
from notebook_maker import PARAMETERS, write_notebook

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook.chapters import discover, in_order, load, select
from exaone_nb.workbook.values import values_for


@pytest.fixture
def chapters(tmp_path):
    for number, after in (("00", []), ("01", ["02"]), ("02", []), ("05", ["00"])):
        write_notebook(tmp_path, f"{number}_part", [("code", PARAMETERS, "parameters")], after=after)
    return discover(tmp_path)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ([], "00 01 02 05"),
        (["5"], "05"),
        (["05_part"], "05"),
        (["00-02"], "00 01 02"),
        (["02", "0"], "00 02"),
    ],
)
def test_names_numbers_and_ranges(chapters, names, numbers):
    assert [c.number for c in select(chapters, names)] == numbers.split()


@pytest.mark.parametrize("name", ["9", "07-09", "05_prat", ""])
def test_unknown_chapter(chapters, name):
    with pytest.raises(UsageError):
        select(chapters, [name])


def test_dependencies_come_first(chapters):
    assert [c.number for c in in_order(chapters)] == ["00", "02", "01", "05"]


def test_a_circle_is_named(tmp_path):
    write_notebook(tmp_path, "01_a", [("code", "1")], after=["02"])
    write_notebook(tmp_path, "02_b", [("code", "1")], after=["01"])
    with pytest.raises(WorkbookError, match="01 -> 02 -> 01"):
        in_order(discover(tmp_path))


def test_values_go_to_all_or_to_one(chapters):
    values = values_for(chapters, {"N": "5", "05.N": 3, "02": {"MODEL": "org/x"}})
    assert (
        values["00"] == {"N": 5} and values["05"] == {"N": 3} and values["02"] == {"N": 5, "MODEL": "org/x"}
    )


def test_one_chapter_is_not_told_twice(chapters):
    for given in ({"05.N": 3, "5.N": 5}, {"05": {"N": 3}, "05_part.N": 3}):
        with pytest.raises(UsageError, match="N of chapter 05 is set twice"):
            values_for(chapters, given)


def test_an_unknown_name_is_refused_with_the_nearest(chapters):
    for wrong, right in (("MODLE", "MODEL"), ("n", "N")):
        with pytest.raises(UsageError, match=f"No parameter is named '{wrong}'[\\s\\S]*Did you mean {right}"):
            values_for(chapters, {wrong: "nano"})


def test_guesses_are_found_by_a_near_name_and_not_listed():
    with pytest.raises(UsageError) as refused:
        values_for(discover(), {"GUESS_MINUTE": 3})
    assert "GUESS_MINUTES?" in refused.value.remedy
    assert "MODEL" in refused.value.expected and "GUESS_" not in refused.value.expected


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            [("code", "N: int = 1", "parameters"), ("code", "N: int = 2", "parameters")],
            "cell 2, .* as the second one",
        ),
        ([("markdown", "N: int = 1", "parameters")], "cell 1, a markdown cell, is tagged 'parameters'"),
        ([("code", "1"), ("code", "N: int = 1", "Parameters")], "cell 2, .* is tagged 'Parameters'"),
        ([("code", "N: int = 1", "PARAMETERS")], "tagged 'PARAMETERS'"),
        ([("code", "N: int = 1", "parameters ")], "tagged 'parameters '"),
        ([("code", "N: int = 1", "parameter")], "tagged 'parameter'"),
    ],
)
def test_a_tag_that_papermill_would_not_see_is_refused(tmp_path, cells, says):
    with pytest.raises(WorkbookError, match=says) as caught:
        load(write_notebook(tmp_path, "01_x", cells))
    assert caught.value.expected and caught.value.remedy


def test_other_tags_and_a_lone_string_are_no_mistake(tmp_path):
    cells = [("code", "1", "injected-parameters", "hide-input"), ("code", "N: int = 1", "parameters")]
    path = write_notebook(tmp_path, "01_x", cells)
    path.write_text(path.read_text().replace('["parameters"]', '"parameters"'))
    assert [p.name for p in load(path).parameters] == ["N"]


@pytest.mark.parametrize("given", [{"07.N": 3}, {"05.M": 3}, {"RUN_DIR": "x"}, {"N": 4}])
def test_values_that_fit_nowhere_are_refused(chapters, given):
    with pytest.raises(UsageError):
        values_for(chapters, given)


@pytest.mark.parametrize("content", ["", "[]", '{"nbformat": 3, "cells": []}', "{"])
def test_not_a_notebook(tmp_path, content):
    path = tmp_path / "01_x.ipynb"
    path.write_text(content)
    with pytest.raises(WorkbookError, match="not a notebook"):
        load(path)
