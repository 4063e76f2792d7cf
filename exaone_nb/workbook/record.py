"""run.json: what was run, with what, where, and how it went. Rewritten whole after every change of state."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb import __version__
from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_json
from exaone_nb.paths import ROOT
from exaone_nb.workbook.cache import library_versions
from exaone_nb.workbook.passport import mode_of
from exaone_nb.workbook.scrub import Scrubber

SCHEMA = 1
FILE = "run.json"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(run: str | Path) -> dict[str, Any]:
    """The record of a run. Raises WorkbookError when the folder has none, or it cannot be read or is not whole."""
    path = Path(run) / FILE
    if Path(run).is_file():
        raise WorkbookError(
            f"{run} is a file, not a run.", remedy="Name a folder that `exaone-nb run --out NAME` made."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WorkbookError(
            f"{Path(run).name} is not a run: there is no {FILE} in it.",
            remedy="Name a folder that `exaone-nb run --out NAME` made.",
        ) from error
    except (OSError, ValueError) as error:
        raise WorkbookError(
            f"{path.name} of {Path(run).name} cannot be read as JSON: {error}", remedy="Run it again."
        ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise WorkbookError(
            f"{path.name} of {Path(run).name} has another format.", expected=f'"schema": {SCHEMA}.'
        )
    if missing := _missing(document):
        raise WorkbookError(
            f"{path.name} of {Path(run).name} is not whole: {missing} is missing or of another type.",
            remedy="Run it again; a damaged record is begun anew.",
        )
    return document


def _missing(document: dict[str, Any]) -> str:
    """Name of the first part that readers rely on and that is not there; empty when all are."""
    texts = dict.fromkeys(("name", "model", "model_fingerprint", "package", "commit", "python", "began"), str)
    folders = dict.fromkeys(("libraries", "machine", "chapters"), dict)
    for name, kind in (texts | folders).items():
        if not isinstance(document.get(name), kind):
            return name
    for number, entry in document["chapters"].items():
        for name in ("slug", "title", "status"):
            if not isinstance(entry, dict) or not isinstance(entry.get(name), str):
                return f"{name} of chapter {number}"
    return ""


def machine() -> dict[str, Any]:
    """What was run on, without anything that names the machine or its owner."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpu(),
        "python": platform.python_version(),
    }


def _gpu() -> str:
    """Name of the first NVIDIA GPU, or empty. Asked from the driver's own tool: importing torch takes seconds."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = answer.stdout.strip().splitlines()
    return lines[0] if answer.returncode == 0 and lines else ""


def commit() -> str:
    """The git commit of this workbook, with `+` when files differ from it; empty outside git."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
        return answer.stdout.strip() if answer.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if head and git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def begin(name: str, given: dict[str, Any], model: str, model_fingerprint: str) -> dict[str, Any]:
    """A new record, before any chapter has run."""
    return {
        "schema": SCHEMA,
        "name": name,
        "status": "running",
        "began": now(),
        "ended": None,
        "seconds": None,
        "parameters": given,
        "model": model,
        "mode": mode_of(model),
        "model_fingerprint": model_fingerprint,
        "package": __version__,
        "commit": commit(),
        "python": sys.version.split()[0],
        "libraries": library_versions(),
        "machine": machine(),
        "chapters": {},
    }


def write(run: Path, record: dict[str, Any], scrubber: Scrubber) -> None:
    """Store the record, atomically, without secrets."""
    write_json(run / FILE, scrubber.document(record))
