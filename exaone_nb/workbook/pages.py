"""Writing the report: a page per chapter, the index, and the whole in one file or on paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exaone_nb.files import write_text
from exaone_nb.workbook import record
from exaone_nb.workbook.record import ChapterRecord, RunRecord
from exaone_nb.workbook.scrub import Scrubber


def notebook_path(run: Path, slug: str) -> Path:
    """Where the executed copy of a chapter is."""
    return run / "notebooks" / f"{slug}.ipynb"


def page_path(run: Path, slug: str) -> Path:
    """Where the page of a chapter is."""
    return run / "html" / f"{slug}.html"


def write_chapter(run: Path, document: dict[str, Any], chapter: ChapterRecord, scrubber: Scrubber) -> None:
    """Write the page of one executed chapter; the look it was drawn with goes into its record."""
    from exaone_nb.workbook.report import look, page

    write_text(page_path(run, chapter.slug), page.chapter(document, record.scrubbed(chapter, scrubber)))
    chapter.look = look.fingerprint()


def write_report(
    run: Path, made: RunRecord, scrubber: Scrubber, *, single: bool, pdf: bool
) -> tuple[Path, ...]:
    """Write index.html and, if asked, report.html (everything in one file) and report.pdf. Returns their paths.

    What an earlier call made of these is made again, so that no old page stands beside a new index; the PDF only where
    a browser is installed, and only when report.html became another.
    """
    from exaone_nb.workbook.report import page
    from exaone_nb.workbook.report.pdf import find_browser, print_pdf

    shown = record.scrubbed(made, scrubber)
    pages = [write_text(run / "index.html", page.index(shown))]
    whole, printed = run / "report.html", run / "report.pdf"
    if single or pdf or whole.is_file():
        copies = {chapter.slug: notebook_path(run, chapter.slug) for chapter in shown.chapters.values()}
        documents = {
            slug: json.loads(p.read_text(encoding="utf-8")) for slug, p in copies.items() if p.is_file()
        }
        before = whole.read_text(encoding="utf-8") if whole.is_file() else ""
        text = page.single(shown, documents)
        pages.append(write_text(whole, text))
        if pdf or (printed.is_file() and text != before and find_browser()):
            pages.append(print_pdf(whole, printed))
    return tuple(pages)
