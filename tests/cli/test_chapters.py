"""install, notebooks and lab: wrong calls end before anything is started or written."""

import subprocess
import sys
from pathlib import Path

import pytest

from exaone_nb.cli import main
from exaone_nb.paths import NOTEBOOKS

NO_NEWS = "--LabApp.news_url=None"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been started."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("exaone_nb.cli.chapters.subprocess.run", run)
    return commands


def code_of(*words: str) -> int:
    try:
        main([*words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_an_accelerator_that_is_none_is_a_wrong_call(started: list[list[str]]) -> None:
    assert code_of("install", "--accelerator", "tpu") == 2
    assert started == []


def test_the_stack_is_installed_into_a_virtual_environment_only(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert code_of("install") == 2
    assert started == []
    monkeypatch.setattr(sys, "prefix", "/somewhere/venv")
    assert code_of("install", "--accelerator", "cpu", "--ray") == 0
    (command,) = started
    assert command[2:] == ["--venv", "/somewhere/venv", "--accelerator", "cpu", "--ray"]


@pytest.mark.parametrize("verb", ["notebooks", "lab"])
def test_a_file_is_no_folder_for_chapters(
    verb: str, started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    assert code_of(verb, str(file)) == 2
    assert "mine.txt cannot be written" in capsys.readouterr().err
    assert started == [] and file.read_text() == "mine"


def test_lab_copies_the_chapters_that_are_missing_and_opens_the_first(
    started: list[list[str]], tmp_path: Path
) -> None:
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    (tmp_path / names[1]).write_text("mine")
    assert code_of("lab", str(tmp_path)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / names[1]).read_text() == "mine"
    assert [command[3:] for command in started] == [[str(tmp_path / names[0]), NO_NEWS]]


@pytest.mark.parametrize(("language", "folder"), [("en", NOTEBOOKS), ("ko", NOTEBOOKS / "ko")])
def test_lab_opens_the_readers_chapters_with_those_in_the_other_language_in_sight(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, language: str, folder: Path
) -> None:
    monkeypatch.setenv("EXAONE_NB_LANG", language)
    assert code_of("lab") == 0
    first, above = str(folder / "00_start_here.ipynb"), f"--ServerApp.root_dir={NOTEBOOKS}"
    assert started[0][3:] == [first, above, NO_NEWS]
