"""Where the workbook's own files are: beside the package in the source tree, inside it in an installed wheel."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IN_SOURCE_TREE = not (PACKAGE / "_share").is_dir()
# What lies beside the package in the source tree. pyproject.toml says what a wheel carries.
ROOT = PACKAGE.parent if IN_SOURCE_TREE else PACKAGE / "_share"
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
# An installed package is no place for results: they go where the user stands.
RUNS = (ROOT if IN_SOURCE_TREE else Path.cwd()) / "runs"
NANO = DATA / "nano"
LOCALE = ROOT / "locale"
# What installs the packages that are missing.
COMPLETE = "make install" if IN_SOURCE_TREE else "exaone-nb install"


def cache_folder() -> Path:
    """Where things are kept that can be made again: EXAONE_NB_CACHE, or ~/.cache/exaone-nb."""
    named = os.environ.get("EXAONE_NB_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "exaone-nb"
