"""What chapters show: tables that read well in JupyterLab too."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from exaone_nb.show.notebook import names_stay, with_code
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.workbook import note, show_table
from exaone_nb.workbook.report.markdown import sanitize


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as HTML."""
    html = []
    monkeypatch.setattr("IPython.display.display", lambda output: html.append(output.data))
    return html


def cells(html):
    """(side, number to sort by or None, what is read) of every cell."""
    found = re.findall(
        r'<td(?: class="\w+")?(?: data-sort="([^"]*)")? style="text-align: (\w+)">(.*?)</td>', html
    )
    return [
        (side, float(number) if number else None, re.sub("<.*?>", "", text)) for number, side, text in found
    ]


def test_words_stand_left_and_numbers_right(shown):
    show_table(pd.DataFrame({"": ["<td>", "b"], "n": [1, 2.5], "c": ["d", "e"]}), "A <b>")
    assert cells(shown[0]) == [
        ("left", None, "&lt;td&gt;"), ("right", 1, "1.0"), ("left", None, "d"),
        ("left", None, "b"), ("right", 2.5, "2.5"), ("left", None, "e"),
    ]  # fmt: skip
    assert re.findall(r'<th style="text-align: (\w+)">', shown[0]) == ["left", "right", "left"]
    assert "<caption><span>A &lt;b&gt;</span></caption>" in shown[0]


def test_a_pivot_has_no_empty_column_and_keeps_its_alignment(shown):
    long = pd.DataFrame(
        {"task": ["a", "b"] * 2, "model": ["m", "m", "n", "n"], "score": ["x", "y", "z", "w"]}
    )
    show_table(long.pivot(index="task", columns="model", values="score").reset_index())
    assert re.findall(r"<th style.*?>(.*?)</th>", shown[0]) == ["task", "m", "n"]
    assert [text for _, _, text in cells(shown[0])] == ["a", "x", "z", "b", "y", "w"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3, 12_000], ["3", "12000"]),
        ([0.25, 1.0], ["0.25", "1.00"]),
        ([1e-9, 0.5], ["1e-09", "0.5"]),
        ([1, None], ["1.0", ""]),
        ([True, False], ["yes", "no"]),
        (["3,704", "x"], ["3,704", "x"]),
        ([float("nan"), 2.0], ["", "2.0"]),
        ([[1, 2], "a"], ["1, 2", "a"]),
    ],
)
def test_a_data_frame_keeps_its_values(shown, values, texts):
    show_table(pd.DataFrame({"x": values}))
    assert [text for _, _, text in cells(shown[0])] == texts


def test_numbers_among_words_sort_as_numbers_and_text_that_looks_like_one_does_not(shown):
    table = Table([Column("speed", form=",.0f")], [{"speed": 1234.4}, {"speed": "no kernel"}, {"speed": 7}])
    show_table(table)
    assert cells(shown[0]) == [("right", 1234.4, "1,234"), ("right", None, "no kernel"), ("right", 7, "7")]
    show_table(pd.DataFrame({"tag": ["010", "1:30"]}))
    assert [number for _, number, _ in cells(shown[1])] == [None, None]


def test_an_interval_takes_two_lines_at_most(shown, monkeypatch):
    table = Table([Column("loss", form=".2f")], [{"loss": Estimate(0.41, 0.38, 0.44)}])
    show_table(table)
    assert cells(shown[0]) == [("right", 0.41, "0.41 (0.38\u00a0to\u00a00.44)")]
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    show_table(table)
    assert ">0.41<wbr>(0.38~0.44)<" in shown[1], "and in Korean, which has no space there, it can take two"


def test_lines_with_a_dash_are_a_list_and_other_lines_end_where_they_end(shown):
    note("Take w8a8:\n- its score, `0.5`\n- <b>fewer</b> bytes\nMeasure\nagain.")
    assert "<li>&lt;b&gt;fewer&lt;/b&gt; bytes</li></ul>" in sanitize(shown[0])
    assert re.sub(r'^<aside[^>]*>|</aside>$| style="[^"]*"', "", shown[0]) == (
        "Take w8a8:<ul><li>its score, <code>0.5</code></li><li>&lt;b&gt;fewer&lt;/b&gt; bytes</li></ul>Measure<br>again."
    )


def test_no_line_ends_after_the_hyphen_of_a_command_in_a_sentence():
    said = with_code("Ask `exaone-nb note`, with `--out`, of `nano`.")
    assert re.findall(r"nowrap\">([^<]*)<", said) == ["exaone-nb", "--out"]
    assert re.sub(r"</?span[^>]*>", "", said) == (
        "Ask <code>exaone-nb note</code>, with <code>--out</code>, of <code>nano</code>."
    )


def test_what_a_pattern_begins_with_stays_in_its_line():
    assert with_code("names like …self_attn…, and so on… So") == "names like …\u2060self_attn…, and so on… So"


def test_no_line_ends_inside_a_name_a_date_or_a_quantity_of_a_sentence():
    said = with_code("EXAONE-4.0-1.2B in 8-bit, made well-known &lt;2026-11-26&gt; by `lm-eval 1-2`.")
    assert with_code("95 % in 12 ms, 8 kBs: `5 %`") == "95\u00a0% in 12\u00a0ms, 8 kBs: <code>5 %</code>"
    assert re.findall(r"nowrap\">([^<]*)<", said) == [
        "EXAONE-4.0-1.2B",
        "8-bit",
        "2026-11-26",
        "lm-eval",
        "1-2",
    ]
    assert names_stay('<a href="a-1"><code>b-2</code></a>') == '<a href="a-1"><code>b-2</code></a>'


def test_short_names_dates_and_options_stay_whole_and_a_line_ends_where_the_text_has_one(shown):
    texts = [
        "Qwen3-1.7B",
        "(2026-11-26).",
        "TensorRT-LLM",
        "gpt-oss",
        "QK-Reorder-LN",
        "--jinja",
        "EXAONE-4.0-1.2B",
        "EXAONE-4.0-1.2B-Q4_K_M.gguf",
    ]
    show_table(
        Table([Column("x")], [{"x": text} for text in [*texts, "non-reasoning", "191 * 2 = 382\n#### 382"]])
    )
    wholes = re.findall(r'<span class="word" style="white-space: nowrap">([^<]*)</span>', shown[0])
    assert wholes[:7] == texts[:7] and "Q4_<wbr>" not in shown[0] and ">non-reasoning<" in shown[0]
    assert "191 * 2 = 382<br>#### 382" in sanitize(shown[0])
    assert sanitize(shown[0]).count("white-space: nowrap") == shown[0].count("white-space: nowrap")
    show_table(Table([Column("x", code=True)], [{"x": "ChannelWiseTorchFP8ScaledMMLinearKernel"}]))
    rows = [{"asks": "compressed-tensors==0.17.0", "bits": -4}]
    show_table(Table([Column("asks", code=True), Column("bits")], rows))
    assert "compressed-<wbr>tensors==0.17.0" in shown[2] and 'data-sort="-4"' in shown[2]
    assert "ScaledMM<wbr>LinearKernel" in shown[1].replace("Linear<wbr>Kernel", "LinearKernel")


def test_a_sentence_in_a_cell_is_marked_so_that_a_phone_leaves_it_room(shown):
    show_table(
        Table([Column("x")], [{"x": "a sentence of more than forty-eight characters, for once"}, {"x": "b"}])
    )
    assert sanitize(shown[0]).count('class="long"') == 1


def test_long_names_break_after_their_punctuation_and_numbers_never(shown):
    name, prompt = "model.layers.0.self_attn.q_proj", "[|user|]" * 9
    table = Table(
        [Column("name", code=True), Column("n", form=",")], [{"name": name, "n": 10**18}, {"name": prompt}]
    )
    show_table(table)
    assert "<code>model.<wbr>layers.0.self_<wbr>attn.q_proj</code>" in shown[0]
    assert ">1,000,000,000,000,000,000<" in shown[0]
    assert shown[0].count("overflow-wrap: anywhere") == 1
    clean = sanitize(shown[0])
    assert clean.count("overflow-wrap: anywhere") == 1 and clean.count("<wbr>") == shown[0].count("<wbr>")
    assert 'data-sort="1000000000000000000"' in clean and 'class="number"' in clean
    assert [text for _, _, text in cells(shown[0])] == [name, "1,000,000,000,000,000,000", prompt, ""]
