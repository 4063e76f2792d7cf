"""What a run leaves on disk: executed notebooks, whether they still hold, the report and its PDF, the lock that keeps two runs apart."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import staged_file, write_text
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.workbook import cache
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.guesses import tally
from exaone_nb.workbook.record import ChapterRecord, RunRecord, scrubbed
from exaone_nb.workbook.scrub import Scrubber

LOCK = ".lock"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LIMIT_SECONDS = 180


@contextmanager
def exclusive(folder: Path, busy: str = "") -> Iterator[None]:
    """Hold a folder for this process. Raises WorkbookError, saying `busy`, at once when another process holds it."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise WorkbookError(
            busy or say("Another run is writing to {folder}.", folder=folder.name),
            expected=say("one at a time: they would overwrite what the other writes."),
            remedy=say("Wait for it, or give this one its own --out NAME."),
        ) from error
    except OSError as error:
        raise UsageError(
            say("{folder} cannot be written ({reason}).", folder=str(folder), reason=error.strerror),
            expected=say("a folder that can be made and written to."),
            remedy=say("Choose another --out."),
        ) from error
    try:
        yield
    finally:
        lock.release()


def notebook_path(run: Path, slug: str) -> Path:
    return run / "notebooks" / f"{slug}.ipynb"


def page_path(run: Path, slug: str) -> Path:
    return run / "html" / f"{slug}.html"


def stored(run: Path, slug: str) -> dict[str, Any]:
    return json.loads(notebook_path(run, slug).read_text(encoding="utf-8"))


NOT_YET = say("not run yet")


def why_stale(run: Path, chapter: Chapter, before: ChapterRecord | None, parts: Mapping[str, Any]) -> str:
    """Why a chapter must run again, in words; empty when its stored result still holds."""
    if before is None:
        return NOT_YET
    if before.status != "ok":
        return say("was {status}", status=before.status)
    if before.key != cache.digest(parts):
        return cache.why_stale(before.key_parts, parts)
    if not notebook_path(run, chapter.slug).is_file() or not page_path(run, chapter.slug).is_file():
        return say("its page is missing")
    if before.stored != cache.fingerprint_path(notebook_path(run, chapter.slug)):
        return say("its executed copy was changed")
    if before.wrote != cache.fingerprint_globs(run, chapter.writes):
        return say("what it wrote was changed or deleted")
    return ""


def keep(run: Path, document: dict[str, Any], chapter: ChapterRecord, scrubber: Scrubber) -> None:
    """Store the executed notebook and its page, both without secrets."""
    document = scrubber.document(document)
    _store_notebook(run, document, chapter)
    _write_page(run, document, chapter, scrubber)


def refresh_prose(run: Path, chapter: Chapter, kept: ChapterRecord, scrubber: Scrubber) -> None:
    """When only the prose changed, put it around the stored outputs; nothing is executed."""
    from exaone_nb.workbook.report import look

    before = stored(run, chapter.slug)
    done = [c for c in before["cells"] if c["cell_type"] == "code"]
    injected = [c for c in done if has_tag(c, "injected-parameters")]
    outputs = iter([c for c in done if not has_tag(c, "injected-parameters")])
    marked = {c.get("id"): c["metadata"] for c in before["cells"]}  # papermill marks text, too
    cells = []
    for cell in scrubber.document(chapter.document["cells"]):
        metadata = {**marked.get(cell.get("id"), {}), **cell["metadata"]}
        cells.append(next(outputs) if cell["cell_type"] == "code" else {**cell, "metadata": metadata})
        if has_tag(cell, "parameters"):
            cells += injected
    fresh = {**before, "cells": cells}
    if fresh != before:
        _store_notebook(run, fresh, kept)
    if fresh != before or kept.look != look.fingerprint():
        _write_page(run, fresh, kept, scrubber)


def _store_notebook(run: Path, document: dict[str, Any], chapter: ChapterRecord) -> None:
    """Write the executed copy; its fingerprint in the record tells later whether somebody changed it."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    chapter.stored = cache.fingerprint_path(write_text(notebook_path(run, chapter.slug), text))


def _write_page(run: Path, document: dict[str, Any], chapter: ChapterRecord, scrubber: Scrubber) -> None:
    """Write the page of one executed chapter; the look it was drawn with goes into its record."""
    from exaone_nb.workbook.report import look, page

    write_text(page_path(run, chapter.slug), page.chapter(document, scrubbed(chapter, scrubber)))
    chapter.look = look.fingerprint()


def write_report(
    run: Path, made: RunRecord, scrubber: Scrubber, *, single: bool, pdf: bool
) -> tuple[Path, ...]:
    """Write index.html and, if asked, report.html (everything in one file) and report.pdf. Returns their paths.

    What an earlier call made of these is made again, so that no old page stands beside a new index; the PDF only where
    a browser is installed, and only when report.html became another.
    """
    from exaone_nb.workbook.report import page

    shown = scrubbed(made, scrubber)
    slugs = [chapter.slug for chapter in shown.chapters.values()]
    documents = {slug: stored(run, slug) for slug in slugs if notebook_path(run, slug).is_file()}
    guessed = tally(RunFolder(run))
    pages = [write_text(run / "index.html", page.index(shown, documents, guessed))]
    whole, printed = run / "report.html", run / "report.pdf"
    if single or pdf or whole.is_file():
        before = whole.read_text(encoding="utf-8") if whole.is_file() else ""
        text = page.single(shown, documents, guessed)
        pages.append(write_text(whole, text))
        if pdf or (printed.is_file() and text != before and find_browser()):
            pages.append(print_pdf(whole, printed))
    return tuple(pages)


def find_browser() -> str:
    """Path of an installed Chromium-like browser ($CHROMIUM first), or empty."""
    return os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, BROWSERS)), "")


def require_browser() -> str:
    """`find_browser`, or a WorkbookError when there is none or $CHROMIUM names no program."""
    browser = find_browser()
    if not shutil.which(browser):
        raise WorkbookError(
            say("CHROMIUM={browser} is no program.", browser=browser)
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
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses to sandbox for root, as in containers
        places = [f"--user-data-dir={profile}", f"--print-to-pdf={staging}", page.absolute().as_uri()]
        command = [browser, *options, *places]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            got = say("{browser} did not make the PDF ({reason}).", browser=Path(browser).name, reason=error)
            raise WorkbookError(got) from error
        if done.returncode != 0 or staging.stat().st_size == 0:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            got = say("{browser} did not make the PDF. {last}", browser=Path(browser).name, last=last)
            raise WorkbookError(got, remedy="Print report.html instead.")
    return destination
