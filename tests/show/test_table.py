"""One description of a table gives words for people and numbers for programs."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from exaone_nb.show.notebook import as_html
from exaone_nb.show.table import Column, Table, columns, drawn
from exaone_nb.statistics.estimate import Estimate

SIZES = Table(
    [
        Column("scheme", code=True),
        Column("bytes", "GB", ",.3f", scale=1e-9),
        Column("loss", "loss", "+.2f"),
        Column("runs", "runs on a T4"),
    ],
    [
        {"scheme": "W4A16", "bytes": 971_261_368, "loss": Estimate(0.5, 0.25, 0.75), "runs": True},
        {"scheme": "x\x1b[2J", "bytes": None, "loss": None, "runs": False},
    ],
)


def test_people_read_words():
    assert SIZES.headings() == ["scheme", "GB", "loss", "runs on a T4"]
    assert SIZES.cells() == [
        ["W4A16", "0.971", "+0.50 (+0.25 to +0.75)", "yes"],
        [r"x\x1b[2J", "", "", "no"],
    ]


def test_the_ends_of_an_interval_have_as_many_digits_as_its_middle():
    column = Column("ms", form=".3g", scale=1e3)
    told = [
        column.text(Estimate(*of)) for of in ((2.52e-4, 2.4e-4, 2.65e-4), (0.1, 0.0999, 0.1004), (1, 1, 1))
    ]
    assert told == ["0.252 (0.240 to 0.265)", "100 (99.9 to 100)", "1.00e+03"]
    assert column.text(2.4e-4) == "0.24" and Column("p", form=",.5g").text(
        Estimate(1.025, 1.0133, 1.0369)
    ) == ("1.0250 (1.0133 to 1.0369)")


def test_programs_read_numbers():
    assert SIZES.records()[0] == {
        "scheme": "W4A16",
        "bytes": 971_261_368,
        "loss": {"value": 0.5, "low": 0.25, "high": 0.75},
        "runs": True,
    }
    first = next(csv.DictReader(io.StringIO(SIZES.to_csv())))
    assert first == {
        "scheme": "W4A16",
        "bytes": "971261368",
        "loss": "0.5",
        "loss_low": "0.25",
        "loss_high": "0.75",
        "runs": "True",
    }


def test_numbers_stand_to_the_right_and_truth_values_do_not():
    assert [SIZES.is_number(column) for column in SIZES.columns] == [False, True, True, False]


def test_a_column_that_no_row_fills_is_left_out():
    table = Table(columns(["a", "b"], ","), [{"a": 1000}, {"a": None, "b": None}])
    assert [column.name for column in table.without_empty().columns] == ["a"]
    assert table.cells()[0] == ["1,000", ""]


def test_columns_can_be_left_out():
    """What a wide table loses on a page is still in its rows; a column that was empty is gone already."""
    table = Table([Column("a"), Column("b"), Column("c")], [{"a": 1, "b": 2, "c": 3}], "caption")
    fewer = table.without("b", "never there")
    assert (fewer.headings(), fewer.rows, fewer.caption) == (["a", "c"], table.rows, "caption")


def test_one_value_in_two_units_is_one_value_for_programs():
    table = Table(
        [
            Column("bytes", form=","),
            Column("gib", "GiB", ",.2f", 2**-30, of="bytes"),
            Column("shape", join=" x "),
        ],
        [{"bytes": 2**31, "shape": [2, 3]}],
    )
    assert table.cells() == [["2,147,483,648", "2.00", "2 x 3"]]
    assert table.records() == [{"bytes": 2**31, "shape": [2, 3]}]
    assert table.to_csv() == "bytes,shape\n2147483648,2 3\n"
    assert table.to_markdown().splitlines() == [
        "| bytes | GiB | shape |",
        "| ---: | ---: | --- |",
        "| 2,147,483,648 | 2.00 | 2 x 3 |",
    ]
    assert Table([Column("a")], [{"a": "x|y\nz"}]).to_markdown().endswith("| x\\|y z |")


def test_a_terminal_gets_the_same_words_and_no_markup():
    table = Table([Column("name")], [{"name": "[bold]layers[/bold]"}], caption="[red]tensors")
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(drawn(table))
    text = console.export_text()
    assert "[bold]layers[/bold]" in text and "[red]tensors" in text


def test_html_escapes_names_and_sets_code_as_code():
    html = as_html(
        Table([Column("name", code=True), Column("n", form=",")], [{"name": "<b>&", "n": 1000}]), "a < b"
    )
    assert '<td style="text-align: left"><code>&lt;b&gt;&amp;</code></td>' in html
    assert (
        '<td class="number" data-sort="1000" style="text-align: right">1,000</td>' in html
        and "<caption><span>a &lt; b</span></caption>" in html
    )


def test_backticks_are_code_in_our_own_sentences_and_nowhere_else():
    row = [{"ours": "`re:.*` matches <13>.", "theirs": "`rm`"}]
    html = as_html(Table([Column("ours", ours=True), Column("theirs")], row), "What `plan` says")
    assert "<code>re:.*</code> matches &lt;13&gt;." in html and "`rm`" in html
    assert "<caption><span>What <code>plan</code> says</span></caption>" in html
