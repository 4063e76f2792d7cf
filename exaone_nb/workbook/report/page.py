"""The pages of a report: one per chapter, the index, and all of it in one file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from exaone_nb.workbook.report import look, origin
from exaone_nb.workbook.report.cells import cells_to_html
from exaone_nb.workbook.report.markdown import Prose

LONGEST_LINE = 300
_NOTEBOOK_LINK = re.compile(r"^(?:\./)?([\w.-]+)\.ipynb(#.*)?$")


def chapter(document: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """The page of one executed chapter. `entry` is its record in run.json."""
    body, prose = _body(document, entry, link=lambda address: _NOTEBOOK_LINK.sub(r"\1.html\2", address))
    return look.fill(
        "chapter.html", entry=_told(entry), body=body, headings=prose.headings, home="../index.html"
    )


def index(record: Mapping[str, Any]) -> str:
    """The first page of a run: how it went, what failed and why, with what it was run."""
    address = "html/{slug}.html"
    return look.fill(
        "index.html", **_shown(record, address), chapters=_chapters(record, address), sections=[]
    )


def single(record: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole report in one file: the index, then every chapter that has an executed notebook (slug -> document)."""
    sections = []
    for entry in sorted(record["chapters"].values(), key=lambda e: e["slug"]):
        if entry["slug"] in documents:
            body, prose = _body(
                documents[entry["slug"]],
                entry,
                prefix=f"{entry['slug']}-",
                deeper=1,
                link=lambda address: _NOTEBOOK_LINK.sub(r"#\1", address),
            )
            sections.append({"entry": _told(entry), "body": body, "headings": prose.headings})
    return look.fill(
        "index.html", **_shown(record, "#{slug}"), chapters=_chapters(record, "#{slug}"), sections=sections
    )


def _body(
    document: Mapping[str, Any], entry: Mapping[str, Any], link: Any, prefix: str = "", deeper: int = 0
) -> Any:
    prose = Prose(prefix=prefix, deeper=deeper)
    html = cells_to_html(document["cells"], prose, link)
    top = 1 + deeper
    if not any(heading.level == top for heading in prose.headings):
        html = f"<h{top}>{Markup.escape(entry['title'])}</h{top}>\n{html}"
    return Markup(html), prose


def _chapters(record: Mapping[str, Any], address: str) -> list[dict[str, Any]]:
    rows = []
    for number, entry in sorted(record["chapters"].items(), key=lambda item: item[1]["slug"]):
        href = address.format(slug=entry["slug"]) if origin.was_executed(entry) else ""
        kept = origin.is_kept(entry, record)
        rows.append({**_told(entry), "number": number, "href": href, "kept": kept})
    return rows


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a chapter with when, where and with what it was executed, and its error in one line."""
    failure = entry.get("failure")
    if failure:
        failure = {**failure, "line": _first_line(failure)}
    return {**entry, "origin": origin.of_chapter(entry), "failure": failure}


def _first_line(failure: Mapping[str, Any]) -> str:
    """What the error says, unless the explanation beside it says the same."""
    line = (failure["error"].strip() or failure["kind"]).splitlines()[0]
    said = line.partition(": ")[2] or line
    return "" if said in failure["why"] else line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"


def _shown(record: Mapping[str, Any], address: str) -> dict[str, Any]:
    """What the index's template needs, worked out once."""
    entries = sorted(record["chapters"].items(), key=lambda item: item[1]["slug"])
    parameters: dict[tuple[str, str], dict[str, Any]] = {}
    for number, entry in entries:
        for parameter in entry.get("parameters", []):
            row = parameters.setdefault(
                (parameter["name"], repr(parameter["value"])), {**parameter, "in": []}
            )
            row["in"].append(number)
    rows = sorted(parameters.values(), key=lambda row: (not row["changed"], row["in"], row["name"]))
    done = [entry for _, entry in entries if entry["status"] == "ok"]
    return {
        "record": record,
        "origin": origin.of_run(record),
        "problems": [
            row for row in _chapters(record, address) if row["status"] in ("failed", "skipped", "interrupted")
        ],
        "parameters": rows,
        "seconds": sum(entry.get("seconds") or 0 for entry in done),
        "status": "failed" if any(e["status"] == "failed" for _, e in entries) else record["status"],
        "peak_bytes": max((entry.get("peak_bytes") or 0 for entry in done), default=0),
    }
