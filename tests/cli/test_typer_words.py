"""Refusals that are typer's own: what it says in English is what we say, and in Korean nothing of it stays English."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from exaone_nb.cli import command_line, main

REFUSED = [
    ["--"],
    ["frobnicate"],
    ["inspekt"],
    ["size"],
    ["size", "nano", "more", "words"],
    ["size", "nano", "--schemes", "W4A16"],
    ["size", "nano", "--frobnicate"],
    ["size", "nano", "--scheme"],
    ["size", "nano", "--json=1"],
    ["plan", "nano", "--samples", "many"],
    ["plan", "nano", "--samples", "1"],
    ["run", "--jobs", "x"],
    ["run", "--timeout", "long"],
    ["install", "--accelerator", "tpu"],
]


def said(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(words)
    shown = capsys.readouterr()
    assert (stop.value.code, shown.out) == (2, "")
    return shown.err


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_refusal_says_what_typer_says_and_how_the_verb_is_called(words, capsys):
    """The oracle is typer's own message, as it prints it."""
    own = CliRunner().invoke(command_line(words[0]), words)
    (message,) = re.findall(r"^Error: (.*)$", own.stderr, re.MULTILINE)
    call = re.findall(r"^Usage: (.*)$", own.stderr, re.MULTILINE)
    verb = words[0] if words[0] in ("size", "plan", "run", "install") else ""
    assert said(capsys, words).splitlines() == [
        f"error: {message}",
        *(f"Expected: {one}" for one in call),
        f"What to do: Read `{f'exaone-nb {verb}'.strip()} --help`.",
    ]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_in_korean_nothing_of_it_is_english(words, capsys, monkeypatch):
    english = said(capsys, words).splitlines()
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    korean = said(capsys, words).splitlines()
    names = re.findall(r"'[^']+'|--\w+", english[0])
    assert all(name in korean[0] for name in names)
    calls = [[line.partition(": ")[2] for line in lines[1:-1]] for lines in (english, korean)]
    assert korean[0].startswith("오류: ") and calls[0] == calls[1]
    prose = re.sub(r"'[^']+'|--\w+|\((?:more words)\)|more words|x>=\d", "", korean[0] + korean[-1])
    assert re.findall("[A-Za-z]{3,}", re.sub("`[^`]+`", "", prose)) == []


def test_without_a_word_the_help_is_said(capsys, monkeypatch):
    assert said(capsys, []).startswith("Usage: exaone-nb")
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    assert said(capsys, []).startswith("사용법: exaone-nb")


def test_help_of_every_verb_is_korean(capsys, monkeypatch):
    """Between the names of options, their values, and code there is no run of English words."""
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    shown = {}
    for verb in ("", *get_command(command_line()).commands):
        with pytest.raises(SystemExit):
            main([*filter(None, [verb]), "--help"])
        shown[verb] = capsys.readouterr().out
    assert all(text.startswith("사용법: ") for text in shown.values()) and "[필수]" in shown["size"]
    assert {
        verb: found for verb, text in shown.items() if (found := re.findall("[a-z]+ [a-z]+ [a-z]+", text))
    } == {}
