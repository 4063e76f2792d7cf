"""The verbs run and diff as a person types them."""

from __future__ import annotations

import json

import pytest
from notebook_maker import PARAMETERS, write_notebook

from exaone_nb.cli import main


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code or 0


@pytest.mark.notebook
@pytest.mark.parametrize("spelling", [("-p", "N", "5"), ("-p", "N=5"), ("--parameter", "01.N", "5")])
def test_run_takes_parameters_and_says_where_the_report_is(tmp_path, capsys, spelling):
    write_notebook(tmp_path / "nb", "01_a", [("code", PARAMETERS, "parameters"), ("code", "print(N * 111)")])
    assert (
        call("run", "01", "--notebooks", tmp_path / "nb", "--out", tmp_path / "r", *spelling, "--json") == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "ok" and document["report"].endswith("index.html")
    assert "555" in (tmp_path / "r" / "html" / "01_a.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "M", "5"], "No parameter is named"),
        (["-p", "N"], "no value"),
        (["-p", "N", "x"], "not of type int"),
        (["--timeout", "-5"], "--timeout -5"),
        (["--memory", "0"], "--memory 0"),
        (["-f", "missing.yaml"], "no file missing.yaml"),
        (["77"], "no chapter"),
        (["--notebooks", "nowhere"], "no folder"),
    ],
)
def test_wrong_calls_end_with_2_and_a_remedy(tmp_path, capsys, words, said):
    write_notebook(tmp_path / "nb", "01_a", [("code", PARAMETERS, "parameters")])
    folder = [] if "--notebooks" in words else ["--notebooks", tmp_path / "nb"]
    assert call("run", *folder, "--out", tmp_path / "r", *words) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_help_notebook_prints_the_schema(tmp_path, capsys):
    write_notebook(tmp_path / "nb", "01_a", [("code", PARAMETERS, "parameters")])
    assert call("run", "01", "--help-notebook", "--json", "--notebooks", tmp_path / "nb") == 0
    (chapter,) = json.loads(capsys.readouterr().out)
    assert chapter["parameters"][2] == {
        "name": "N",
        "type": "int",
        "default": 3,
        "choices": [3, 5],
        "low": None,
        "high": None,
        "help": "how many",
        "kind": "",
    }


def test_help_notebook_shows_types_as_they_are_and_what_can_be_set(tmp_path, capsys):
    lines = PARAMETERS + 'ITEMS: list[str] = ["red", "b"]  # which [ones] there are\n'
    write_notebook(tmp_path / "nb", "01_a", [("code", lines, "parameters")])
    assert call("run", "01", "--help-notebook", "--notebooks", tmp_path / "nb") == 0
    said = capsys.readouterr().out
    assert (
        "list[str]" in said
        and "['red', 'b']" in said
        and "which [ones] there are" in said
        and "RUN_DIR" not in said
    )


def test_diff_of_nothing(tmp_path, capsys):
    assert call("diff", tmp_path, tmp_path) == 1
    assert "is not a run" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert call("diff", tmp_path / "file", tmp_path) == 1
    assert "is not a run" in capsys.readouterr().err


@pytest.mark.notebook
def test_diff_cannot_write_into_a_folder(tmp_path, capsys):
    write_notebook(tmp_path / "nb", "01_a", [("code", PARAMETERS, "parameters")])
    assert call("run", "--notebooks", tmp_path / "nb", "--out", tmp_path / "r") == 0
    assert call("diff", tmp_path / "r", tmp_path / "r", "--html", tmp_path) == 2
    assert "cannot be written" in capsys.readouterr().err
