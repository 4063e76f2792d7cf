"""The parameters cell as schema."""

from __future__ import annotations

import pytest

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook import check_parameters
from exaone_nb.workbook.parameters import coerce, parse, validate

SOURCE = """
MODEL: str = "nano"  # which model
BITS: int = 4  # bits per weight [choices: 4 | 8]
RATE: float = 0.5  # share
THINK: bool = False  # write the thoughts out
TASKS: list[str] = [  # what to score [choices: gsm | mc]
    "gsm",
]
SEEDS: list[int] = [1, 2]  # seeds
"""


def schema():
    return {p.name: p for p in parse(SOURCE)}


def test_reads_type_default_help_and_choices():
    found = schema()
    assert [p.name for p in found.values()] == ["MODEL", "BITS", "RATE", "THINK", "TASKS", "SEEDS"]
    assert (found["BITS"].default, found["BITS"].help, found["BITS"].choices) == (
        4,
        "bits per weight",
        (4, 8),
    )
    assert (found["TASKS"].default, found["TASKS"].choices) == (["gsm"], ("gsm", "mc"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("BITS", "8", 8), ("RATE", "1e-3", 0.001), ("RATE", 2, 2.0), ("THINK", "true", True), ("THINK", "0", False),
        ("TASKS", "gsm,mc", ["gsm", "mc"]), ("TASKS", "[mc]", ["mc"]), ("SEEDS", "7", [7]), ("SEEDS", [3], [3]),
        ("MODEL", "a/b", "a/b"), ("SEEDS", "", []),
    ],
)  # fmt: skip
def test_text_and_python_values_become_the_declared_type(name, text, value):
    got = coerce(schema()[name], text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("BITS", "1_"), ("BITS", "9" * 5000), ("RATE", "inf"), ("RATE", "-1e999"), ("RATE", 10**400),
        ("BITS", "four"), ("BITS", 4.5), ("BITS", True), ("BITS", 3), ("RATE", "nan"), ("RATE", "x"), ("THINK", "maybe"),
        ("THINK", 2), ("TASKS", "gsm,mmlu"), ("SEEDS", "1,b"), ("SEEDS", 4), ("MODEL", None), ("TASKS", "[gsm"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(name, bad):
    with pytest.raises(UsageError) as error:
        coerce(schema()[name], bad)
    assert name in error.value.got and error.value.expected


@pytest.mark.parametrize(
    ("declared", "good", "bad", "words"),
    [
        ("N: int = 3  # how many [range: 1 ..]", 1, 0, "at least 1"),
        ("N: float = 0.5  # share [range: 0 .. 1]", "1.0", 1.01, "0 to 1"),
        ("N: list[int] = [3]  # [range: -2 .. 4]", [-2, 4], "1,-3", "-2 to 4"),
    ],
)
def test_a_number_out_of_range_is_refused(declared, good, bad, words):
    (parameter,) = parse(declared)
    assert parameter.values == words and "range" not in parameter.help
    coerce(parameter, good)
    with pytest.raises(UsageError, match="is out of range") as error:
        coerce(parameter, bad)
    assert words in error.value.expected


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean MODEL"):
        validate(parse(SOURCE), {"MODLE": "nano"})
    with pytest.raises(UsageError, match="Did you mean BITS"):
        validate(parse(SOURCE), {"bits": 4})


def test_values_typed_in_a_notebook_meet_the_same_check():
    namespace = {"SAMPLES": "16", "RECIPES": ["w8a8"], "other": None}
    check_parameters("05", namespace)
    assert namespace == {"SAMPLES": 16, "RECIPES": ["w8a8"], "other": None}
    with pytest.raises(UsageError, match="Did you mean w8a8"):
        check_parameters("05", {"RECIPES": ["w8a9"]})
    with pytest.raises(UsageError, match="TENSOR_PARALLEL_SIZE = 0 is out of range"):
        check_parameters("06", {"TENSOR_PARALLEL_SIZE": 0})
    with pytest.raises(UsageError, match="SAMPLES = 'many' is not of type int"):
        check_parameters("05", {"SAMPLES": "many"})


@pytest.mark.parametrize(
    "source",
    [
        "X = 1",
        "X: dict = {}",
        "X: int",
        "X: int = f()",
        "X: int = 'a'",
        "X: int = 1  # [choices: 2 | 3]",
        "X: int =",
        "X: int = 0  # [range: 1 ..]",
        "X: str = 'a'  # [range: 1 ..]",
        "X: int = 2  # [range: one ..]",
    ],
)
def test_a_cell_that_is_no_schema_is_an_error_with_its_line(source):
    with pytest.raises(WorkbookError, match="line 1"):
        parse(source)
