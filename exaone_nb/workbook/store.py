"""What a run leaves on disk: executed notebooks, pages, and the lock that keeps two runs apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_text
from exaone_nb.workbook import cache
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.scrub import Scrubber

LOCK = ".lock"


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Hold the run folder for this process. Raises WorkbookError at once when another process holds it."""
    from filelock import FileLock, Timeout

    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise WorkbookError(
            f"Another run is writing to {run.name}.",
            remedy="Wait for it, or give this one its own --out NAME.",
        ) from error
    except OSError as error:
        raise WorkbookError(
            f"{run} cannot be written ({error.strerror}).", remedy="Choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def notebook_path(run: Path, slug: str) -> Path:
    """Where the executed copy of a chapter is."""
    return run / "notebooks" / f"{slug}.ipynb"


def page_path(run: Path, slug: str) -> Path:
    """Where the page of a chapter is."""
    return run / "html" / f"{slug}.html"


def why_stale(run: Path, chapter: Chapter, before: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Why a chapter must run again, in words; empty when its stored result still holds."""
    status = before.get("status")
    if status is None:
        return "not run yet"
    if status != "ok":
        return f"was {status}"
    if before.get("key") != cache.digest(parts):
        return cache.why_stale(before.get("key_parts"), parts) or "changed: parameters"
    if not notebook_path(run, chapter.slug).is_file() or not page_path(run, chapter.slug).is_file():
        return "its page is missing"
    if before.get("stored") != cache.fingerprint_path(notebook_path(run, chapter.slug)):
        return "its executed copy was changed"
    if before.get("wrote") != cache.fingerprint_globs(run, chapter.writes):
        return "what it wrote was changed or deleted"
    return ""


def keep(
    run: Path, chapter: Chapter, document: dict[str, Any], entry: dict[str, Any], scrubber: Scrubber
) -> None:
    """Store the executed notebook and its page, both without secrets."""
    document = scrubber.document(document)
    _store_notebook(run, chapter.slug, document, entry)
    _render_page(run, chapter.slug, document, entry, scrubber)


def refresh_prose(run: Path, chapter: Chapter, entry: dict[str, Any], scrubber: Scrubber) -> None:
    """When only the prose changed, put it around the stored outputs; nothing is executed."""
    from exaone_nb.workbook.report import look

    stored = json.loads(notebook_path(run, chapter.slug).read_text(encoding="utf-8"))
    done = [c for c in stored["cells"] if c["cell_type"] == "code"]
    injected = [c for c in done if has_tag(c, "injected-parameters")]
    outputs = iter([c for c in done if not has_tag(c, "injected-parameters")])
    cells = []
    for cell in scrubber.document(chapter.document["cells"]):
        cells.append(next(outputs) if cell["cell_type"] == "code" else cell)
        if has_tag(cell, "parameters"):
            cells += injected
    fresh = {**stored, "cells": cells}
    if fresh == stored and entry.get("look") == look.fingerprint():
        return
    if fresh != stored:
        _store_notebook(run, chapter.slug, fresh, entry)
    _render_page(run, chapter.slug, fresh, entry, scrubber)


def _store_notebook(run: Path, slug: str, document: dict[str, Any], entry: dict[str, Any]) -> None:
    """Write the executed copy; its fingerprint in the record tells later whether somebody changed it."""
    path = write_text(notebook_path(run, slug), json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    entry["stored"] = cache.fingerprint_path(path)


def _render_page(
    run: Path, slug: str, document: dict[str, Any], entry: dict[str, Any], scrubber: Scrubber
) -> None:
    from exaone_nb.workbook.report import look, page

    html = page.chapter(document, scrubber.document(entry))
    write_text(page_path(run, slug), html)
    entry["look"] = look.fingerprint()


def finish(
    run: Path, record: dict[str, Any], scrubber: Scrubber, *, single: bool, pdf: bool
) -> tuple[Path, ...]:
    """Write index.html and, if asked, report.html (everything in one file) and report.pdf. Returns their paths.

    What an earlier call made of these is made again, so that no old page stands beside a new index; the PDF only where
    a browser is installed, and only when report.html became another.
    """
    from exaone_nb.workbook.report import page
    from exaone_nb.workbook.report.pdf import find_browser, print_pdf

    shown = scrubber.document(record)
    pages = [write_text(run / "index.html", page.index(shown))]
    whole, printed = run / "report.html", run / "report.pdf"
    if single or pdf or whole.is_file():
        documents = {
            entry["slug"]: json.loads(notebook_path(run, entry["slug"]).read_text(encoding="utf-8"))
            for entry in record["chapters"].values()
            if notebook_path(run, entry["slug"]).is_file()
        }
        before = whole.read_text(encoding="utf-8") if whole.is_file() else ""
        text = page.single(shown, documents)
        pages.append(write_text(whole, text))
        if pdf or (printed.is_file() and text != before and find_browser()):
            pages.append(print_pdf(whole, printed))
    return tuple(pages)
