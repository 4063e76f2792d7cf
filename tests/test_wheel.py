"""The wheel, installed into an empty environment outside the source tree, answers as the source tree does."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from exaone_nb.cli import WINGS
from exaone_nb.paths import ROOT

pytestmark = pytest.mark.heavy
# What the arithmetic needs, and nothing else: none of these may be in the light installation.
HEAVY = ("torch", "transformers", "vllm", "llmcompressor", "lm_eval", "matplotlib", "papermill", "jupyterlab")
# Verb -> (arguments, exit code). `doctor` finds packages missing.
LIGHT = {
    "inspect": (["nano"], 0),
    "size": (["EXAONE-4.0-1.2B"], 0),
    "memory": (["EXAONE-4.0-1.2B", "--gpu", "L4"], 0),
    "speed": (["EXAONE-4.0-1.2B", "--gpu", "L4"], 0),
    "note": (["EXAONE-4.0-1.2B"], 0),
    "plan": (["nano", "--recipe", "w4a16_rtn"], 0),
    "check": (["{nano}", "--no-load"], 0),
    "compare": (["{base}", "{candidate}"], 0),
    "doctor": ([], 1),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *folder.iterdir()], check=True)
    return next(folder.glob("*.whl"))


def environment(folder: Path, python: str, *what: str | Path) -> Path:
    """The programs of a new environment with these packages."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *what]
    subprocess.run(install, check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("light"), sys.executable, wheel)


def run(programs: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EXAONE"))}
    command = [programs / "exaone-nb", *words]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


def samples(folder: Path, right: int) -> Path:
    """A samples file as lm-eval writes it: 20 items, the first `right` of them right."""
    path = folder / "samples_task_2026-01-01T00-00-00.jsonl"
    folder.mkdir()
    with path.open("w") as stream:
        for number in range(20):
            line = {
                "doc_id": number,
                "doc_hash": f"h{number}",
                "target": "1",
                "filter": "none",
                "metrics": ["exact_match"],
            }
            line |= {
                "resps": [["1"]],
                "filtered_resps": ["1"],
                "prompt_hash": f"p{number}",
                "target_hash": "t",
            }
            stream.write(json.dumps(line | {"exact_match": float(number < right)}) + "\n")
    return path


def arguments(words: list[str], folder: Path) -> list[str]:
    places = {"nano": ROOT / "data" / "nano"}
    if "{base}" in words:
        places |= {"base": samples(folder / "base", 18), "candidate": samples(folder / "candidate", 12)}
    return [word.format(**places) for word in words]


def test_the_wheel_carries_what_it_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "data", "notebooks"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("this source tree is no git repository, so what belongs to it is not known")
    assert {f"exaone_nb/_share/{name}" for name in tracked.stdout.split("\n") if name} <= names


@pytest.mark.parametrize("verb", LIGHT)
def test_light_verbs_answer_as_in_the_source_tree(verb: str, light: Path, tmp_path: Path) -> None:
    words, code = LIGHT[verb]
    words = [verb, *arguments(words, tmp_path), "--json"]
    done = run(light, tmp_path, *words)
    assert done.returncode == code, done.stderr
    installed = json.loads(done.stdout)
    if verb in ("doctor", "plan"):  # they speak of this environment
        return
    here = subprocess.run(
        [sys.executable, "-m", "exaone_nb", *words], cwd=ROOT, capture_output=True, text=True
    )
    ours = json.loads(here.stdout.replace(str(ROOT / "data"), str(share(light) / "data")))
    assert installed == ours


def share(programs: Path) -> Path:
    return next(programs.parent.glob("lib/python*/site-packages/exaone_nb/_share"))


def test_the_light_installation_has_nothing_heavy(light: Path) -> None:
    code = (
        "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    )
    found = subprocess.run([light / "python", "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["quantize", "nano", "--recipe", "w4a16_rtn", "--out", "made"], "llmcompressor"),
        (["bench", "nano"], "torch"),
        (["convert", "nano", "--gguf", "Q4_K_M", "--out", "made.gguf"], "gguf"),
        (["score", "nano", "--tasks", "nano_gsm", "--limit", "2"], "lm_eval"),
        (["run", "01", "--out", "made"], "papermill"),
        (["lab"], "JupyterLab"),
    ],
)
def test_a_verb_says_what_it_lacks(words: list[str], missing: str, light: Path, tmp_path: Path) -> None:
    done = run(light, tmp_path, *words)
    assert done.returncode == 1
    assert missing in done.stderr and "exaone-nb install" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_verb_was_tried(light: Path, tmp_path: Path) -> None:
    tried = {*LIGHT, "quantize", "bench", "convert", "score", "run", "lab", "notebooks", "install"}
    elsewhere = {"fetch", "pack", "diff", "sweep", "gate", "record", "capacity"}
    assert {verb for verbs in WINGS.values() for verb in verbs} == tried | elsewhere
    for verb in sorted(elsewhere):
        done = run(light, tmp_path, verb, "--help")
        assert done.returncode == 0, done.stderr


def test_notebooks_are_copied_and_nothing_is_overwritten(light: Path, tmp_path: Path) -> None:
    chapters = tmp_path / "chapters"
    assert run(light, tmp_path, "notebooks", "chapters").returncode == 0
    names = {path.name for path in chapters.iterdir()}
    assert names == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    mine = sorted(chapters.iterdir())[0]
    mine.write_text("mine")
    again = run(light, tmp_path, "notebooks", "chapters")
    assert again.returncode == 2 and mine.name in again.stderr
    assert mine.read_text() == "mine"


def test_a_light_chapter_runs_with_the_notebook_extra(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "notebook", sys.executable, f"{wheel}[notebook]")
    done = run(programs, tmp_path, "run", "01", "--out", "first")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "first" / "index.html").is_file()


@pytest.mark.parametrize("minor", [12, 13])
def test_other_pythons(minor: int, wheel: Path, tmp_path: Path) -> None:
    candidates = [
        shutil.which(f"python3.{minor}"),
        *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"),
    ]
    # A pyenv shim is a file that may still refuse.
    works = [
        str(path)
        for path in candidates
        if path and subprocess.run([path, "-V"], capture_output=True).returncode == 0
    ]
    if not works:
        pytest.skip(f"this machine has no Python 3.{minor}")
    programs = environment(tmp_path / "other", works[0], wheel)
    done = run(programs, tmp_path, "size", "EXAONE-4.0-1.2B", "--scheme", "W4A16", "--json")
    assert done.returncode == 0, done.stderr
    # The figure for the file that vLLM serves today (LLM Compressor's own, 1.2B shape).
    assert "971261368" in done.stdout
