"""The pages of a report: one per chapter, the index, and all of it in one file."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from exaone_nb.messages import say
from exaone_nb.workbook.explain import Failure
from exaone_nb.workbook.record import MODES, ChapterRecord, Origin, RunRecord
from exaone_nb.workbook.report import look
from exaone_nb.workbook.report.cells import cells_to_html, slow_cells
from exaone_nb.workbook.report.look import clock, moment, span
from exaone_nb.workbook.report.markdown import Prose

LONGEST_LINE = 300
_NOTEBOOK_LINK = re.compile(r"^(?:\./)?([\w.-]+)\.ipynb(#.*)?$")


def chapter(document: Mapping[str, Any], made: ChapterRecord) -> str:
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
    """The record of a chapter, with its error in one line."""
    line = _first_line(made.failure) if made.failure else ""
    settings = [(setting, [made.number]) for setting in made.parameters]
    return {**vars(made), "parameters": settings, "failure_line": line}


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
            "kept": _is_kept(made, run),
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
        "origin": _origins(run),
        "chapters": chapters,
        "problems": [row for row in chapters if row["status"] in ("failed", "skipped", "interrupted")],
        "parameters": sorted(settings.values(), key=lambda row: (not row[0].changed, row[1], row[0].name)),
        "seconds": sum(made.seconds for made in done),
        "status": "failed" if "failed" in states else run.status,
        "peak_bytes": max((made.peak_bytes for made in done), default=0),
    }


def _is_kept(chapter: ChapterRecord, run: RunRecord) -> bool:
    """Whether the chapter was executed before the last call began."""
    return chapter.was_executed and (chapter.kept or moment(chapter.ended) < moment(run.began))


def _origins(run: RunRecord) -> dict[str, Any]:
    """When, where and with what the chapters were executed, together; what differs is a list of (text, chapters).

    All of it is read from run.json: a chapter that was kept from an earlier call has the time, the commit and the
    machine of that call, and a page drawn today must not look like a measurement of today.
    """
    chapters = [chapter for chapter in run.ordered() if chapter.was_executed]
    origins = [(chapter.number, chapter.origin) for chapter in chapters if chapter.origin]

    def each(text: Callable[[Origin], str]) -> list[tuple[str, list[str]]]:
        return _grouped([(text(origin), number) for number, origin in origins])

    libraries: dict[str, dict[str, None]] = {}
    for origin in [origin for _, origin in origins] or [run.origin]:
        for name, version in origin.libraries.items():
            libraries.setdefault(name, {})[version] = None
    begins, ends = ([getattr(c, name) for c in chapters] for name in ("began", "ended"))
    return {
        "when": span(min(begins, key=moment), max(ends, key=moment)) if chapters else "",
        "last_call": clock(run.began),
        "kept": [c.number for c in chapters if _is_kept(c, run)],
        "executed": [c.number for c in chapters],
        "models": _grouped([(c.model, c.number) for c in chapters]) or [(run.model or say("none"), [])],
        "modes": _grouped([(c.mode, c.number) for c in chapters]) or [(run.mode, [])],
        "mode_meanings": MODES,
        "machines": each(lambda origin: str(origin.machine)),
        "machine_of_last_call": str(run.origin.machine),
        "made_with": each(Origin.versions),
        "commits": each(lambda origin: origin.commit),
        "libraries": libraries,
    }


def _grouped(pairs: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for text, number in pairs:
        if text:
            groups.setdefault(text, []).append(number)
    return list(groups.items())
