"""What is printed: how wide, in every locale, and without letting a stranger's text steer the terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.cli import output
from exaone_nb.cli.output import LOG_COLUMNS, console, emit, tell
from exaone_nb.quantization.stored import StoredTensor

EVIL = "x\x1b[2J\x1b]0;title\x07y\x9b31m\u202eend\x7f\r"
SHOWN = r"x\x1b[2J\x1b]0;title\x07y\x9b31m\u202eend\x7f\r"
DROPPED_BY_RICH = SHOWN.replace(r"\x07", "").removesuffix(r"\r")  # what its Text leaves out by itself
STEERING = set("\x1b\x07\x9b\u202e\x7f\r")


@pytest.mark.parametrize(("columns", "width"), [(None, LOG_COLUMNS), ("60", 60)])
def test_a_log_gets_whole_lines_unless_a_width_is_asked_for(monkeypatch, capsys, columns, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert console().width == console(stderr=True).width == width
    emit(False, {}, lambda out: out.print("x" * 100))
    assert len(capsys.readouterr().out.split()[0]) == min(100, width)


def test_control_characters_are_written_out_wherever_they_are_printed(capsys):
    """Text in a table is whole, too: it is written out before it is measured, so that no column cuts it."""
    table = Table("name", "other", title=EVIL)
    table.add_row(EVIL, Text(EVIL))
    for thing, shown in ((EVIL, SHOWN), (Text(EVIL), DROPPED_BY_RICH), (table, f"│ {SHOWN} │")):
        emit(False, {}, lambda out, thing=thing: out.print(thing, markup=False))
        said = capsys.readouterr().out
        assert shown in said and not STEERING & set(said)
    tell(f"line one\n\t{EVIL}")
    assert capsys.readouterr().err == f"line one\n\t{SHOWN}\n"


def test_colours_of_our_own_still_reach_a_terminal(monkeypatch):
    """What is written out are the characters of the texts, not what the console makes of its styles."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    screen = console()
    shown = output._console_class()(
        file=(terminal := io.StringIO()), force_terminal=True, color_system="standard"
    )
    shown.print(f"[red]{EVIL}[/]", highlight=False)
    assert type(shown) is type(screen)
    assert terminal.getvalue() == f"\x1b[31m{SHOWN}\x1b[0m\n"


@pytest.mark.parametrize("text", [EVIL, "한글", "한글 \u3000 tab\t", "\udce9", "🙂\x9b", "\x7f"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp949"])
def test_json_stays_json_in_every_encoding(monkeypatch, text, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    emit(True, {text: [text]}, lambda out: None)
    stream.flush()
    printed = stream.buffer.getvalue().decode(encoding)
    assert json.loads(printed) == {text: [text]}
    assert not STEERING & set(printed)
    if text == "한글" and encoding in ("utf-8", "cp949"):
        assert "한글" in printed


LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
]
in_every_locale = pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: ",".join(locale.values()))


def call(locale, *words, **options):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONUTF8", "PYTHONIO"))
    }
    command = [sys.executable, "-m", "exaone_nb", *words]
    return subprocess.run(command, env=environment | locale, capture_output=True, timeout=60, **options)


def spellings(text):
    return text.encode(), text.encode("ascii", "backslashreplace")


@in_every_locale
def test_korean_arguments_arrive_and_are_shown_in_every_locale(locale):
    done = call(locale, "run", "00", "-p", "MODEL", "한글", "--out", "/nowhere/한글")
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert any(b"No model '" + text + b"'" in done.stderr for text in spellings("한글"))


@in_every_locale
def test_a_korean_path_is_read_and_its_json_is_json_in_every_locale(locale, tmp_path):
    header = header_json([StoredTensor("가중치", "U8", (0,))])
    (tmp_path / "모형.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    done = call(locale, "inspect", "모형.safetensors", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode("utf-8"))["tensors"][0]["name"] == "가중치"
    shown = call(locale, "inspect", "모형.safetensors", "--tensors", cwd=tmp_path)
    assert shown.returncode == 0 and any(text in shown.stdout for text in spellings("가중치"))


@in_every_locale
def test_an_argument_that_is_not_utf8_is_refused_before_anything_runs(locale, tmp_path):
    done = call(locale, "run", "00", "-p", "MODEL", b"caf\xe9", "--out", str(tmp_path / "r"))
    assert done.returncode == 2 and b"Argument 5 is not UTF-8: b'caf\\xe9'" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.notebook
@in_every_locale
def test_a_chapter_and_what_it_starts_print_korean_in_every_locale(locale, tmp_path):
    schema = 'MODEL: str = "nano"  # m [model]\nRUN_DIR: str = ""  # r\nTAG: str = ""  # t'
    work = (
        "import subprocess, sys\nfrom pathlib import Path\nprint(TAG)\n(Path(RUN_DIR) / '가.txt').write_text(TAG)\n"
        "subprocess.run([sys.executable, '-c', 'print(\"한글\")'], check=True)"
    )
    cells = [(schema, {"tags": ["parameters"]}), (work, {})]
    document = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{n}",
                "metadata": tags,
                "source": code,
                "execution_count": None,
                "outputs": [],
            }
            for n, (code, tags) in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "01_toy.ipynb").write_text(json.dumps(document), encoding="utf-8")
    out = tmp_path / "실행"
    done = call(locale, "run", "--notebooks", str(tmp_path), "-p", "TAG", "한글", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "가.txt").read_text(encoding="utf-8") == "한글"


def test_a_closed_stdout_ends_nothing():
    done = subprocess.run(
        f"{sys.executable} -m exaone_nb size nano >&-", shell=True, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_under_stdout_is_said(form):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "exaone_nb", "size", "nano", *form]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (
        done.returncode == 1
        and done.stderr.startswith("error: The disk that the output goes to is full")
        and "Traceback" not in done.stderr
    )


def test_a_strangers_tensor_name_steers_no_terminal(tmp_path):
    """The name is shown harmless on stdout, in JSON, and in the error about it on stderr."""
    name = "x\x1b[2J\x1b]0;title\x07y"
    file = tmp_path / "x.safetensors"

    def write(**wrong):
        document = {name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], **wrong}}
        header = json.dumps(document).encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header)

    write()
    shown = call({}, "inspect", str(file), "--tensors")
    assert shown.returncode == 0 and rb"x\x1b[2J" in shown.stdout
    as_json = call({}, "inspect", str(file), "--json")
    assert json.loads(as_json.stdout)["tensors"][0]["name"] == name
    write(data_offsets=[0, 5])
    refused = call({}, "inspect", str(file))
    assert refused.returncode == 1 and rb"x\x1b[2J\x1b]0;title\x07y" in refused.stderr
    for stream in (shown.stdout, shown.stderr, as_json.stdout, refused.stdout, refused.stderr):
        assert b"\x1b" not in stream and b"\x07" not in stream
