"""The peers of bench_anatomy: a throwaway environment for them, and how each is asked about one checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("hf-mem==0.5.6", "huggingface_hub")
HF_MEM = """
import sys, httpx2
base, plain = sys.argv.pop(), httpx2.AsyncClient.get
async def get(self, url, **more):  # it knows the hub by one fixed address only
    return await plain(self, str(url).replace("https://huggingface.co", base), **more)
httpx2.AsyncClient.get = get
from hf_mem.cli import main
main()
"""
HUB = """
import sys
from huggingface_hub import get_safetensors_metadata
found = get_safetensors_metadata(sys.argv[1])
print(sum(found.parameter_count.values()))
"""
ACCELERATE = "from accelerate.commands.estimate import main; main()"


@dataclass(frozen=True)
class Peer:
    """A program to compare with. `python` is None when it is absent, and `why` then says why."""

    name: str
    python: str | None
    version: str = ""
    why: str = ""


def make_environment(folder: Path) -> tuple[str | None, str]:
    """(its python, "") after installing PACKAGES into a new environment, or (None, what went wrong)."""
    python = str(folder / "bin" / "python")
    if shutil.which("uv"):
        steps = [
            ["uv", "venv", "-q", "--python", sys.executable, str(folder)],
            ["uv", "pip", "install", "-q", "--python", python, *PACKAGES],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "-q", *PACKAGES],
        ]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{step[0]}: {type(error).__name__}"
        if done.returncode:
            return (
                None,
                f"`{' '.join(step[:3])} …` said: {(done.stderr.strip().splitlines() or ['nothing'])[-1]}",
            )
    return python, ""


def find_peers(environment: str | None, why: str) -> dict[str, Peer]:
    """Each peer in the throwaway environment; accelerate in this one.

    accelerate builds the model with torch and transformers: a throwaway environment would download gigabytes of
    them, and the workbook's own has the same accelerate already, as LLM Compressor needs it.
    """
    homes = {"hf-mem": environment, "huggingface_hub": environment, "accelerate": sys.executable}
    return {name: _peer(name, python, why) for name, python in homes.items()}


def _peer(name: str, python: str | None, why: str) -> Peer:
    if python is None:
        return Peer(name, None, why=why)
    asked = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    if done.returncode:
        return Peer(name, None, why=f"not installed in {Path(python).parents[1].name}")
    return Peer(name, python, done.stdout.strip())


def command(peer: Peer, repository: str, address: str) -> list[str]:
    """The command line that asks a peer about `repository` at the look-alike's address."""
    return {
        "hf-mem": [peer.python, "-c", HF_MEM, "--model-id", repository, "--json-output", address],
        "huggingface_hub": [peer.python, "-c", HUB, repository],
        "accelerate": [peer.python, "-c", ACCELERATE, repository],
    }[peer.name]
