"""Where the workbook's own files are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"
NANO = DATA / "nano"


def cache_folder() -> Path:
    """Where things are kept that can be made again: EXAONE_NB_CACHE, or ~/.cache/exaone-nb."""
    named = os.environ.get("EXAONE_NB_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "exaone-nb"
