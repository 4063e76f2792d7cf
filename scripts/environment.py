"""Make an environment beside .venv from requirements/env-NAME.txt: `make env-judge`.

Some libraries cannot live in .venv: the judge's transformers is older, others pin another torch. Each gets a folder
.venv-NAME. `judge` and `gptqmodel` are laid over .venv: what their files name is installed in them, everything else comes
from .venv.
Standard library only, like scripts/install.py.
"""

import argparse
import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = {"gptqmodel", "judge"}


def main() -> int:
    files = {path.stem.removeprefix("env-"): path for path in (ROOT / "requirements").glob("env-*.txt")}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(files))
    parser.add_argument("--folder", type=Path, help="default: .venv-NAME beside .venv")
    options = parser.parse_args()
    folder = options.folder or ROOT / f".venv-{options.name}"
    wanted, marker = hashlib.sha256(files[options.name].read_bytes()).hexdigest(), folder / "installed.sha256"
    if marker.exists() and marker.read_text() == wanted:
        print(f"{folder} is up to date.")
        return 0
    overlay = options.name in OVERLAYS
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-r",
            files[options.name],
        ]
        subprocess.run([*install, *(["--no-deps"] if overlay else [])], check=True)
    except subprocess.CalledProcessError as error:
        print(
            f"error: This step failed with status {error.returncode}: {' '.join(map(str, error.cmd))}",
            file=sys.stderr,
        )
        print(
            "What to do: Read its message above, check the network, and run the command again.",
            file=sys.stderr,
        )
        return 1
    if overlay:
        # A line in a .pth file comes after the environment's own packages, so its versions win.
        own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (own / "beneath.pth").write_text(sysconfig.get_path("purelib") + "\n")
    marker.write_text(wanted)
    print(f"{python} has what {files[options.name].name} names.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
