"""The parameters cell as schema."""

from __future__ import annotations

import pytest

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook import check_parameters
from exaone_nb.workbook.parameters import KINDS, coerce, parse
from exaone_nb.workbook.values import CHECKS, read_given

SOURCE = """
MODEL: str = "nano"  # which model
BITS: int = 4  # bits per weight [choices: 4 | 8]
RATE: float = 0.5  # share
THINK: bool = False  # write the thoughts out
TASKS: list[str] = [  # what to score [choices: gsm | mc]
    "gsm",
]
SEEDS: list[int] = [1, 2]  # seeds
GUESS: float | None = None  # your guess, in MB [range: 0 ..]
WORST: str | None = None  # your guess
"""


def schema():
    return {p.name: p for p in parse(SOURCE)}


def test_reads_type_default_help_and_choices():
    found = schema()
    assert [p.name for p in found.values()] == [
        "MODEL",
        "BITS",
        "RATE",
        "THINK",
        "TASKS",
        "SEEDS",
        "GUESS",
        "WORST",
    ]
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
        ("MODEL", "a/b", "a/b"), ("SEEDS", "", []), ("GUESS", "3", 3.0), ("GUESS", "None", None), ("GUESS", None, None),
        ("WORST", "w8a8", "w8a8"), ("WORST", "", None),
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
        ("GUESS", "many"), ("GUESS", -1), ("BITS", None),
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


def test_marks_at_the_end_are_taken_off_the_help_in_any_order():
    (a, b) = parse(
        'A: list[str] = ["x"]  # some [choices: x | y] [recipe]\nB: int = 3  # any [seed] [range: 1 ..]'
    )
    assert (a.help, a.kind, a.choices) == ("some", "recipe", ("x", "y"))
    assert (b.help, b.kind, b.low) == ("any", "seed", 1)
    assert set(CHECKS) <= set(KINDS)


WRITTEN = {"STEPS": "int", "TAG": "str", "RATE": "float", "IDS": "list[str]", "NUMBERS": "list[int]"}


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("STEPS", "010", 10), ("TAG", "010", "010"), ("TAG", "1:30", "1:30"), ("TAG", "0.10", "0.10"),
        ("TAG", "null", "null"), ("TAG", "yes", "yes"), ("TAG", "2026-11-25", "2026-11-25"), ("TAG", "한글", "한글"),
        ("IDS", "[042]", ["042"]), ("IDS", "[042, 1:30, 0.10]", ["042", "1:30", "0.10"]), ("NUMBERS", "[042]", [42]),
        ("RATE", "010", 10.0), ("RATE", "1e3", 1000.0), ("IDS", "", []), ("IDS", "a, 042", ["a", "042"]),
    ],
)  # fmt: skip
def test_one_rule_for_words_files_and_lists_what_was_written_read_by_its_type(tmp_path, name, written, value):
    """Plain YAML 1.1 makes 8 of 010, 90 of 1:30, 0.1 of 0.10 and 34 of 042."""
    (parameter,) = parse(
        f"{name}: {WRITTEN[name]} = {'[]' if 'list' in WRITTEN[name] else '1' if name != 'TAG' else repr('')}"
    )
    file = tmp_path / "mine.yaml"
    file.write_text(f"{name}: {written}\n", encoding="utf-8")
    for given in (read_given([f"{name}={written}"]), read_given([], file)):
        got = coerce(parameter, given[name])
        assert got == value and type(got) is type(value)


@pytest.mark.parametrize("written", ["1:30", "0x10", "1e3", "8.0"])
def test_an_int_is_written_in_digits_everywhere(tmp_path, written):
    (parameter,) = parse("STEPS: int = 1")
    file = tmp_path / "mine.yaml"
    file.write_text(f"STEPS: {written}\n")
    for given in (read_given([f"STEPS={written}"]), read_given([], file)):
        with pytest.raises(UsageError, match="STEPS = "):
            coerce(parameter, given["STEPS"])


@pytest.mark.parametrize("text", ["A: 1\nA: 1\n", '"05": {A: 1, A: 2}\n', '"05": {A: 1}\n05.A: 1\n'])
def test_a_key_twice_is_refused(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="twice"):
        read_given([], file)


def test_a_word_wins_over_the_file_and_stands_once(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text('A: 1\n"05": {B: 1}\n')
    assert read_given(["A=2", "05.B=3"], file) == {"A": "2", "05.B": "3"}
    with pytest.raises(UsageError, match="A is set twice"):
        read_given(["A=2", "A=3"])
    for words in (["A"], ["=3"]):
        with pytest.raises(UsageError, match="names no value"):
            read_given(words)
    file.write_text("- A\n")
    with pytest.raises(UsageError, match="names and values"):
        read_given([], file)


def test_a_value_that_no_file_can_hold_is_refused():
    """An argument that is not UTF-8 comes as a lone surrogate."""
    with pytest.raises(UsageError, match="TAG"):
        coerce(parse("TAG: str = ''")[0], "caf\udce9")


def test_values_typed_in_a_notebook_meet_the_same_check():
    namespace = {"SAMPLES": "16", "RECIPES": ["w8a8"], "other": None}
    check_parameters("07", namespace)
    assert namespace == {"SAMPLES": 16, "RECIPES": ["w8a8"], "other": None}
    with pytest.raises(UsageError, match="Did you mean w8a8"):
        check_parameters("07", {"RECIPES": ["w8a9"]})
    with pytest.raises(UsageError, match="TENSOR_PARALLEL_SIZE = 0 is out of range"):
        check_parameters("09", {"TENSOR_PARALLEL_SIZE": 0})
    with pytest.raises(UsageError, match="SAMPLES = 'many' is not of type int"):
        check_parameters("07", {"SAMPLES": "many"})


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
        "X: int = 2  # [range: 1 ..] items",
        "X: str = 'a'  # which [modle]",
        "X: str = 'a'  # which [model], or another",
        "X: int = 2  # which [model]",
        "X: str = 'a'  # which [seed]",
    ],
)
def test_a_cell_that_is_no_schema_is_an_error_with_its_line(source):
    with pytest.raises(WorkbookError, match="line 1"):
        parse(source)


def test_a_name_declared_twice_is_refused():
    with pytest.raises(WorkbookError, match="line 2: X is declared twice"):
        parse("X: int = 1\nX: int = 2")
