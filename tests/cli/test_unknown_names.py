"""A name that is not there is a wrong call, whatever it names: exit code 2, and what there is instead."""

from __future__ import annotations

import re

import pytest

from exaone_nb.cli import main


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["diff", "no-run-of-this-name", "nor-of-this"], "There is no run no-run-of-this-name."),
        (["compare", "nobody", "nothing", "--out", "RUN"], "There is no accuracy of 'nobody'"),
        (["inspect", "no-such-model"], "No model 'no-such-model'"),
        (["note", "no-such-model"], "No model 'no-such-model'"),
        (["memory", "nano", "--gpu", "Voodoo2"], "No GPU is called 'Voodoo2'"),
    ],
)
def test_a_name_that_is_not_there_is_a_wrong_call(
    capsys, tmp_path, arguments: list[str], wanted: str
) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "run") if word == "RUN" else word for word in arguments])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert wanted in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["diff", "no-such-run", "nor-this"],
        ["note", "no-such-model"],
        ["memory", "nano", "--gpu", "Voodoo2"],
        ["size", "nano", "--scheme", "W5A5"],
        ["run", "-p", "NO_SUCH_NAME", "1"],
    ],
)
def test_in_korean_nothing_of_it_is_english_but_names(capsys, monkeypatch, arguments: list[str]) -> None:
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("오류: ")
    assert re.findall(r"(?<![\w/.'-])[a-z]+ [a-z]+ [a-z]+", said) == []
