"""The pages of a report: one per chapter, the index, and all of it in one file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from exaone_nb.workbook.explain import Failure
from exaone_nb.workbook.record import ChapterRecord, RunRecord
from exaone_nb.workbook.report import look, origin
from exaone_nb.workbook.report.cells import cells_to_html, slow_cells
from exaone_nb.workbook.report.markdown import Prose

LONGEST_LINE = 300
_NOTEBOOK_LINK = re.compile(r"^(?:\./)?([\w.-]+)\.ipynb(#.*)?$")


def chapter(document: Mapping[str, Any], made: ChapterRecord) -> str:
    """The page of one executed chapter."""
    section = _section(document, made, link=lambda address: _NOTEBOOK_LINK.sub(r"\1.html\2", address))
    return look.fill("chapter.html", **section, home="../index.html")


def index(run: RunRecord) -> str:
    """The first page of a run: how it went, what failed and why, with what it was run."""
    return look.fill("index.html", **_summary(run, "html/{slug}.html"), sections=[])


def single(run: RunRecord, documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole report in one file: the index, then every chapter that has an executed notebook (slug -> document)."""
    sections = [
        _section(
            documents[made.slug],
            made,
            link=lambda address: _NOTEBOOK_LINK.sub(r"#\1", address),
            prefix=f"{made.slug}-",
            deeper=1,
        )
        for made in run.ordered()
        if made.slug in documents
    ]
    return look.fill("index.html", **_summary(run, "#{slug}"), sections=sections)


def _section(
    document: Mapping[str, Any],
    made: ChapterRecord,
    link: Callable[[str], str],
    prefix: str = "",
    deeper: int = 0,
) -> dict[str, Any]:
    """What the templates need of a chapter: its record, its cells as HTML, its headings, its slow cells."""
    prose = Prose(prefix=prefix, deeper=deeper)
    html = cells_to_html(document["cells"], prose, link, prefix)
    top = 1 + deeper
    if not any(heading.level == top for heading in prose.headings):
        html = f"<h{top}>{Markup.escape(made.title)}</h{top}>\n{html}"
    slow = slow_cells(document["cells"], prefix)
    return {"entry": _row(made), "body": Markup(html), "headings": prose.headings, "slow": slow}


def _row(made: ChapterRecord) -> dict[str, Any]:
    """The record of a chapter with when, where and with what it was executed, and its error in one line."""
    line = _first_line(made.failure) if made.failure else ""
    settings = [(setting, [made.number]) for setting in made.parameters]
    return {**vars(made), "parameters": settings, "origin": origin.of_chapter(made), "failure_line": line}


def _first_line(failure: Failure) -> str:
    """What the error says, unless the explanation beside it says the same."""
    line = (failure.error.strip() or failure.kind).splitlines()[0]
    said = line.partition(": ")[2] or line
    return "" if said in failure.why else line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"


def _summary(run: RunRecord, address: str) -> dict[str, Any]:
    """What the index's template needs, worked out once."""
    chapters = [
        {
            **_row(made),
            "href": address.format(slug=made.slug) if made.was_executed else "",
            "kept": origin.is_kept(made, run),
        }
        for made in run.ordered()
    ]
    settings: dict[tuple[str, str], tuple[Any, list[str]]] = {}
    for made in run.ordered():
        for setting in made.parameters:
            settings.setdefault((setting.name, repr(setting.value)), (setting, []))[1].append(made.number)
    done = [made for made in run.ordered() if made.status == "ok"]
    states = [made.status for made in run.ordered()]
    return {
        "record": run,
        "origin": origin.of_run(run),
        "chapters": chapters,
        "problems": [row for row in chapters if row["status"] in ("failed", "skipped", "interrupted")],
        "parameters": sorted(settings.values(), key=lambda row: (not row[0].changed, row[1], row[0].name)),
        "seconds": sum(made.seconds for made in done),
        "status": "failed" if "failed" in states else run.status,
        "peak_bytes": max((made.peak_bytes for made in done), default=0),
    }
