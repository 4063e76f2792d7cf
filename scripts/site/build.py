"""Make the page that answers without an installation: `make site` writes build/site/.

A static folder: Pyodide (Python for browsers) from npm, this package's wheel with the pure-Python packages that its
arithmetic needs, and the page. Nothing of others is committed; it is fetched here, and checked by its hash. Any static host
serves it; `python -m http.server -d build/site` shows it here.
"""

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE, ROOT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
VERSION = "314.0.7"
SHA256 = "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0"
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
# What inspect, size, memory, speed, plan and note import, as PyPI packages without compiled parts.
NEEDED = (
    "annotated_doc", "attr", "attrs", "cattrs", "jinja2", "markupsafe", "packaging", "rich", "shellingham", "typer",
    "typing_extensions", "yaml",
)  # fmt: skip
# The page asks no notebook and no weights.
LEFT_OUT = (
    "exaone_nb/_share/notebooks/",
    "exaone_nb/_share/requirements/",
    "exaone_nb/_share/data/pictures/",
)
LEFT_OUT_SUFFIXES = (".safetensors", ".so", ".pyd", ".pyc", ".c", ".pyi")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "npm", help="where Pyodide is kept")
    options = parser.parse_args()
    try:
        archive = fetch(options.cache)
        shutil.rmtree(options.out, ignore_errors=True)
        (options.out / "pyodide").mkdir(parents=True)
        with tarfile.open(archive) as package:
            for name in CORE:
                (options.out / "pyodide" / name).write_bytes(package.extractfile(f"package/{name}").read())
        write_python(options.out / "python.zip")
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        print(
            f"error: The site was not made: {error}. Is npm installed, and can it reach its registry?",
            file=sys.stderr,
        )
        return 1
    for name in ("index.html", "page.js", "worker.js", "answers.py"):
        shutil.copy(HERE / name, options.out)
    report = (ROOT / "exaone_nb" / "workbook" / "report" / "report.css").read_text("utf-8")
    (options.out / "page.css").write_text(report + (HERE / "page.css").read_text("utf-8"), encoding="utf-8")
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.1f} MB. Look at it: python -m http.server -d {options.out}")
    return 0


def fetch(cache: Path) -> Path:
    """Pyodide's archive from npm, from the cache where it is there already. Raises OSError for another content."""
    archive = cache / f"pyodide-{VERSION}.tgz"
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", f"pyodide@{VERSION}", "--silent", "--pack-destination", str(cache)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise OSError(f"{archive} has the SHA-256 {found}, expected {SHA256}; delete it")
    return archive


def write_python(path: Path) -> None:
    """The wheel and the packages it needs, as one archive for the page's site-packages."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                if not name.startswith(LEFT_OUT) and not name.endswith(LEFT_OUT_SUFFIXES):
                    made.writestr(name, wheel.read(name))
        for name in NEEDED:
            place = Path(importlib.util.find_spec(name).origin)
            files = sorted(place.parent.rglob("*")) if place.name == "__init__.py" else [place]
            for file in files:
                if (
                    file.is_file()
                    and "__pycache__" not in file.parts
                    and not file.name.endswith(LEFT_OUT_SUFFIXES)
                ):
                    root = place.parent.parent if place.name == "__init__.py" else place.parent
                    made.write(file, file.relative_to(root))


if __name__ == "__main__":
    raise SystemExit(main())
