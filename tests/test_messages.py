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
    assert visible(given) == shown == say("{text}", text=given) == say("{text}", text=ValueError(given))


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


ERRORS = {"WorkbookError", "UsageError", "DiskFull", "Mistake"}
# Makers of errors and findings -> which of their arguments are sentences, beside those named as below.
TOLD = dict.fromkeys(ERRORS, slice(1)) | dict.fromkeys(("wrong", "broken", "_broken", "refuse"), slice(None))
TOLD |= {
    "_require": slice(1, 3),
    "_explained": slice(3),
    "Finding": slice(2, 4),
    "_stops": slice(2, 4),
    "fail": slice(1, 3),
    "warn": slice(1, 3),
    "ok": slice(1, 2),
}

LITERALS = {*ERRORS, "wrong", "_require", "_explained"}  # of these scripts/translation takes literals


def chosen(node, variables):
    """The argument, or what it is chosen from or was assigned from."""
    parts = {
        ast.IfExp: lambda: [node.body, node.orelse],
        ast.BoolOp: lambda: node.values,
        ast.BinOp: lambda: [node.left, node.right],
        ast.Name: lambda: variables.get(node.id),
    }.get(type(node), lambda: None)()
    if not parts:
        return [node]
    others = {name: values for name, values in variables.items() if name != getattr(node, "id", "")}
    return [each for part in parts for each in chosen(part, others)]


def untold(source):
    """Lines where an error or a finding gets English that no translation can find."""
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.FunctionDef):
            continue
        variables = {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                for name, one in zip(target.elts, value.elts, strict=True) if both else [(target, value)]:
                    variables.setdefault(getattr(name, "id", ""), []).append(one)
        for node in ast.walk(scope):
            made = (
                getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            )
            if made not in TOLD:
                continue
            named = [k.value for k in node.keywords if k.arg in ("got", "expected", "text", "remedy")]
            for argument in [*node.args[TOLD[made]], *named]:
                # A literal is found where it stands in the call; not in a variable.
                hidden = isinstance(argument, ast.Name) or made not in LITERALS
                for each in chosen(argument, variables):
                    words = isinstance(each, ast.Constant) and re.search("[A-Za-z]{2}", str(each.value or ""))
                    if isinstance(each, ast.JoinedStr) or (hidden and words):
                        yield each.lineno


@pytest.mark.parametrize(
    "line",
    [
        'raise UsageError(f"No engine {name}.")',
        'got = f"No engine {name}."; raise UsageError(got)',
        'raise UsageError(say("No."), expected="one." if name else f"{name}.")',
        'got, remedy = say("No."), "Take another."; raise UsageError(got, remedy=remedy)',
        'yield warn("code", f"{name} is odd.")',
        'yield Finding("note", "code", "It is odd.")',
    ],
)
def test_english_that_no_translation_finds_is_seen(line):
    assert list(untold(f"def function(name): {line}"))
    assert not list(
        untold('def function(name): raise UsageError(say("{name}", name=name), remedy="Take one.")')
    )


def test_errors_and_findings_are_said():
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "exaone_nb").rglob("*.py")
        for line in untold(path.read_text(encoding="utf-8"))
    }
    assert not found, sorted(found)


def test_only_paths_sends_anybody_to_the_makefile_which_an_installed_workbook_does_not_have():
    files = [*(ROOT / "exaone_nb").rglob("*.py"), *(ROOT / "data").glob("*.yaml")]
    named = [path for path in files if re.search(r"\bmake (install|lab|report)\b", path.read_text("utf-8"))]
    assert named == [ROOT / "exaone_nb" / "paths.py"]
