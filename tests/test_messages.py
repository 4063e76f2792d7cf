"""Sentences: filled in, harmless on a terminal, and written so that a translation can find them."""

from __future__ import annotations

import ast
import re
import string

import pytest

from exaone_nb.messages import say, visible
from exaone_nb.paths import ROOT


def test_fields_are_filled_in_with_their_format():
    assert say("{count:,} of {name}", count=1234567, name="W4A16") == "1,234,567 of W4A16"


@pytest.mark.parametrize("fields", [{}, {"name": "a", "other": "b"}, {"name": "a", "nam": "b"}])
def test_a_field_too_few_or_too_many_is_a_mistake(fields):
    with pytest.raises((KeyError, ValueError)):
        say("{name} is not there", **fields)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("x\x1b[2J\x1b]0;title\x07y", r"x\x1b[2J\x1b]0;title\x07y"),
        ("\x9b31m", r"\x9b31m"),
        ("safe\u202egpj.exe", r"safe\u202egpj.exe"),
        ("한국어\tand\nlines", "한국어\tand\nlines"),
    ],
)
def test_control_characters_are_written_out(given, shown):
    assert visible(given) == shown == say("{text}", text=given)


def test_an_attribute_of_what_is_given_steers_nothing_either():
    class Tensor:
        name, shape = "x\x1b[2J", (3, 4)

    assert say("{t.name} has {t.shape[0]:,} rows", t=Tensor()) == r"x\x1b[2J has 3 rows"


def calls_of_say():
    for path in sorted((ROOT / "exaone_nb").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "exaone_nb.messages import" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_sentence_is_one_literal_with_the_fields_it_names():
    for where, call in calls_of_say():
        template = call.args[0]
        assert isinstance(template, ast.Constant) and isinstance(template.value, str), (
            f"{where}: not a literal"
        )
        assert len(call.args) == 1, where
        named = {
            field.split(".")[0].split("[")[0]
            for _, field, _, _ in string.Formatter().parse(template.value)
            if field
        }
        given = {keyword.arg for keyword in call.keywords}
        assert named == given or None in given, f"{where}: {named} against {given}"


def test_only_paths_sends_anybody_to_the_makefile_which_an_installed_workbook_does_not_have():
    files = [*(ROOT / "exaone_nb").rglob("*.py"), *(ROOT / "data").glob("*.yaml")]
    named = [path for path in files if re.search(r"\bmake (install|lab|report)\b", path.read_text("utf-8"))]
    assert named == [ROOT / "exaone_nb" / "paths.py"]
