"""The report on paper, through whichever Chromium is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from exaone_nb.errors import WorkbookError
from exaone_nb.files import staged_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LIMIT_SECONDS = 180


def find_browser() -> str:
    """Path of an installed Chromium-like browser ($CHROMIUM first), or empty."""
    return os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, BROWSERS)), "")


def require_browser() -> str:
    """`find_browser`, or a WorkbookError when there is none or $CHROMIUM names no program."""
    browser = find_browser()
    if not shutil.which(browser):
        raise WorkbookError(
            f"CHROMIUM={browser} is no program."
            if browser
            else "There is no Chromium or Chrome to make the PDF with.",
            remedy="Install one (Debian: apt install chromium), set CHROMIUM to it, or print report.html (--single) from "
            "any browser.",
        )
    return browser


def print_pdf(page: Path, destination: Path) -> Path:
    """Print a page to PDF. Raises WorkbookError when there is no browser or it does not deliver."""
    browser = require_browser()
    with staged_file(destination) as staging, tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses to sandbox for root, as in containers
        places = [f"--user-data-dir={profile}", f"--print-to-pdf={staging}", page.absolute().as_uri()]
        command = [browser, *options, *places]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorkbookError(f"{Path(browser).name} did not make the PDF ({error}).") from error
        if done.returncode != 0 or staging.stat().st_size == 0:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise WorkbookError(
                f"{Path(browser).name} did not make the PDF. {last}", remedy="Print report.html instead."
            )
    return destination
