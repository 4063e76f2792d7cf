"""What chapters show: tables that read well in JupyterLab too."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from exaone_nb.show import notebook as display
from exaone_nb.workbook import report, show_table
from exaone_nb.workbook.report.sanitize import sanitize


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as HTML."""
    html = []
    monkeypatch.setattr("IPython.display.display", lambda output: html.append(output.data))
    return html


@pytest.mark.parametrize("index", [False, True])
def test_words_stand_left_and_numbers_right(shown, index):
    show_table(pd.DataFrame({"": ["<td>", "b"], "n": [1, 2.5], "c": ["d", "e"]}), "A <b>", index=index)
    cells = re.findall(r"<td(.*?)>(.*?)</td>", shown[0])
    assert [(bool(style), text) for style, text in cells] == [
        (True, "&lt;td&gt;"), (False, "1.0"), (True, "d"), (True, "b"), (False, "2.5"), (True, "e"),
    ]  # fmt: skip
    heads = re.findall(r"<th(.*?)>(n|c)</th>", shown[0])
    assert [bool(style) for style, _ in heads] == [False, not index]
    assert "A &lt;b&gt;" in shown[0]


def test_a_pivot_has_no_empty_column_and_keeps_its_alignment(shown):
    long = pd.DataFrame({"task": ["a", "b"] * 2, "model": ["m", "m", "n", "n"], "score": ["1", "2", "3*", "4"]})
    show_table(long.pivot(index="task", columns="model", values="score").reset_index())
    assert re.findall(r"<th.*?>(.*?)</th>", shown[0]) == ["task", "m", "n"]
    assert [bool(style) for style in re.findall(r"<td(.*?)>", shown[0])] == [True, False, True] * 2


def test_a_prompt_shown_as_one_word_may_be_broken(shown):
    show_table(pd.DataFrame({"short": ["a b"], "long": ["[|user|]" * 9]}))
    assert shown[0].count("overflow-wrap: anywhere") == 1
    assert sanitize(shown[0]).count("overflow-wrap: anywhere") == 1


@pytest.mark.parametrize(
    ("cells", "left"),
    [
        (["3,704,064", "12"], False), (["38.0%", ""], False), (["+0", None], False), (["1.5 GB", "−2 ms"], False),
        (["0.5 (0.4 to 0.6)", "1"], True), (["yes", "3"], True), ([True, False], True), ([1, None], False),
    ],
)  # fmt: skip
def test_numbers_written_as_text_are_numbers(shown, cells, left):
    show_table(pd.DataFrame({"x": cells}))
    assert ("text-align: left" in shown[0]) is left


def test_an_interval_stays_on_its_line(shown):
    cells = [
        "0.41 (0.38 to 0.44)",
        "0.8714 to 0.9234",
        "0.098 behind (0.056 to +0.137)",
        "from here to there",
        "a (1 to 2) and more",
    ]
    show_table(pd.DataFrame({"x": cells}))
    assert shown[0].count("white-space: nowrap") == 3


def test_the_report_takes_the_same_for_a_number():
    script = (Path(report.__file__).parent / "report.js").read_text(encoding="utf-8")
    assert f"/^$|^{display._NUMBER.pattern.removeprefix('|')}$/" in script
