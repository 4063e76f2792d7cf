"""What a run leaves on disk: the executed notebooks, whether they still hold, and the lock that keeps two runs apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_text
from exaone_nb.messages import say
from exaone_nb.workbook import cache, pages
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.record import ChapterRecord
from exaone_nb.workbook.scrub import Scrubber

LOCK = ".lock"


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


def why_stale(run: Path, chapter: Chapter, before: ChapterRecord | None, parts: Mapping[str, Any]) -> str:
    """Why a chapter must run again, in words; empty when its stored result still holds."""
    if before is None:
        return say("not run yet")
    if before.status != "ok":
        return say("was {status}", status=before.status)
    if before.key != cache.digest(parts):
        return cache.why_stale(before.key_parts, parts)
    if (
        not pages.notebook_path(run, chapter.slug).is_file()
        or not pages.page_path(run, chapter.slug).is_file()
    ):
        return say("its page is missing")
    if before.stored != cache.fingerprint_path(pages.notebook_path(run, chapter.slug)):
        return say("its executed copy was changed")
    if before.wrote != cache.fingerprint_globs(run, chapter.writes):
        return say("what it wrote was changed or deleted")
    return ""


def keep(run: Path, document: dict[str, Any], chapter: ChapterRecord, scrubber: Scrubber) -> None:
    """Store the executed notebook and its page, both without secrets."""
    document = scrubber.document(document)
    _store_notebook(run, document, chapter)
    pages.write_chapter(run, document, chapter, scrubber)


def refresh_prose(run: Path, chapter: Chapter, kept: ChapterRecord, scrubber: Scrubber) -> None:
    """When only the prose changed, put it around the stored outputs; nothing is executed."""
    from exaone_nb.workbook.report import look

    stored = json.loads(pages.notebook_path(run, chapter.slug).read_text(encoding="utf-8"))
    done = [c for c in stored["cells"] if c["cell_type"] == "code"]
    injected = [c for c in done if has_tag(c, "injected-parameters")]
    outputs = iter([c for c in done if not has_tag(c, "injected-parameters")])
    marked = {c.get("id"): c["metadata"] for c in stored["cells"]}  # papermill marks text, too
    cells = []
    for cell in scrubber.document(chapter.document["cells"]):
        metadata = {**marked.get(cell.get("id"), {}), **cell["metadata"]}
        cells.append(next(outputs) if cell["cell_type"] == "code" else {**cell, "metadata": metadata})
        if has_tag(cell, "parameters"):
            cells += injected
    fresh = {**stored, "cells": cells}
    if fresh == stored and kept.look == look.fingerprint():
        return
    if fresh != stored:
        _store_notebook(run, fresh, kept)
    pages.write_chapter(run, fresh, kept, scrubber)


def _store_notebook(run: Path, document: dict[str, Any], chapter: ChapterRecord) -> None:
    """Write the executed copy; its fingerprint in the record tells later whether somebody changed it."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    chapter.stored = cache.fingerprint_path(write_text(pages.notebook_path(run, chapter.slug), text))
