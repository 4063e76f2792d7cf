"""The pages of a report: one per chapter, the index, and all of it in one file.

Cells of an executed notebook become HTML: code folded, text as text, the best picture of each output.
"""

import base64
import io
import re
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from exaone_nb.messages import say
from exaone_nb.show import widgets
from exaone_nb.show.notebook import as_html
from exaone_nb.show.table import Table
from exaone_nb.workbook.chapters import has_tag, source_of
from exaone_nb.workbook.explain import ANSI, Failure
from exaone_nb.workbook.guesses import Tally, is_unwritten
from exaone_nb.workbook.record import MODES, ChapterRecord, Origin, RunRecord
from exaone_nb.workbook.report import look
from exaone_nb.workbook.report.look import clock, moment, span
from exaone_nb.workbook.report.markdown import Prose, mathml, sanitize

NO_GUESSES = Tally("", Table([]))
LONGEST_LINE = 300
SLOW_SECONDS = 1.0
SLOW_SHARE = 0.1
LONGEST_TEXT = 20_000
MOST_LINES = 200
LARGEST_PICTURE_BYTES = 1_500_000
WIDEST_PICTURE_PIXELS = 1600
_RULE = re.compile(r"^\|[-:|]{9,}$", re.MULTILINE)  # under the heads of a table drawn in characters
_PROGRESS = re.compile(r"\d+%\|.*\|\s*\d+/\d+")  # tqdm's bar as text
_NOTEBOOK_LINK = re.compile(r"^(?:\./)?([\w.-]+)\.ipynb(#.*)?$")


def chapter(document: Mapping[str, Any], made: ChapterRecord) -> str:
    section = _section(document, made, link=_to_page)
    return look.fill("chapter.html", **section, home="../index.html")


def _in_one_file(address: str, slugs: Container[str]) -> str:
    """A link to a notebook as one to its part of the same file; to none where that chapter is not in it."""
    found = _NOTEBOOK_LINK.match(address)
    return address if not found else f"#{found[1]}" if found[1] in slugs else ""


def _to_page(address: str) -> str:
    """A link to a notebook as one to its page. JupyterLab keeps a heading's capitals in its anchor, our pages do not."""
    found = _NOTEBOOK_LINK.match(address)
    return f"{found[1]}.html{(found[2] or '').lower()}" if found else address


def index(
    run: RunRecord,
    documents: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    guessed: Tally = NO_GUESSES,
) -> str:
    """The first page of a run: its results, how it went, what failed and why, with what it was run, what was guessed.

    The results are the outputs of cells tagged `headline` in the executed notebooks (slug -> document).
    """
    address = "html/{slug}.html"
    headlines = _headlines(run, documents, address)
    return look.fill(
        "index.html", **_summary(run, address), headlines=headlines, guessed=_drawn(guessed), sections=[]
    )


def single(run: RunRecord, documents: Mapping[str, Mapping[str, Any]], guessed: Tally = NO_GUESSES) -> str:
    """The whole report in one file: the index, then every chapter that has an executed notebook (slug -> document)."""
    sections = [
        _section(
            documents[made.slug],
            made,
            link=lambda address: _in_one_file(address, documents),
            prefix=f"{made.slug}-",
            deeper=1,
        )
        for made in run.ordered()
        if made.slug in documents
    ]
    address = "#{slug}"
    return look.fill(
        "index.html",
        **_summary(run, address),
        headlines=_headlines(run, documents, address),
        guessed=_drawn(guessed),
        sections=sections,
    )


def _drawn(guessed: Tally) -> dict[str, Any]:
    table = Markup(as_html(guessed.table, say("Every guess"))) if guessed.table.rows else ""
    return {"words": guessed.words, "table": table}


def _headlines(
    run: RunRecord, documents: Mapping[str, Mapping[str, Any]], address: str
) -> list[dict[str, Any]]:
    """What chapters that went well put in front: the outputs of their cells tagged `headline`."""
    found = []
    for made in run.ordered():
        cells = documents.get(made.slug, {}).get("cells", []) if made.status == "ok" else []
        outputs = [_shown(o) for cell in cells if has_tag(cell, "headline") for o in cell.get("outputs", [])]
        if any(kind for kind, _, _ in outputs):
            body = Markup(look.fill("cells.html", cells=[{"outputs": outputs, "tags": []}]).strip())
            found.append({"title": made.title, "href": address.format(slug=made.slug), "body": body})
    return found


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
    if not any(heading["level"] == top for heading in prose.headings):
        html = f"<h{top}>{Markup.escape(made.title)}</h{top}>\n{html}"
    slow = slow_cells(document["cells"], prefix)
    return {"entry": _row(made), "body": Markup(html), "headings": prose.headings, "slow": slow}


def _row(made: ChapterRecord) -> dict[str, Any]:
    """The record of a chapter, with its error in one line."""
    line = _first_line(made.failure) if made.failure else ""
    settings = [(setting, [made.number]) for setting in made.parameters]
    return {**vars(made), "parameters": settings, "failure_line": line, "notes": made.notes}


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
    settings: dict[tuple[str, str, str], tuple[Any, list[str]]] = {}
    for made in run.ordered():
        for setting in made.parameters:
            if not is_unwritten(setting.name, setting.value):
                key = (setting.name, repr(setting.value), setting.help)
                settings.setdefault(key, (setting, []))[1].append(made.number)
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


def slow_cells(cells: list[dict[str, Any]], prefix: str = "") -> list[tuple[str, str, float]]:
    """Anchor, title and seconds of the code cells that took a second and a tenth of the notebook's time, or more."""
    least = max(SLOW_SECONDS, SLOW_SHARE * sum(map(seconds_of, cells)))
    slow = [
        (f"{prefix}cell-{number}", title_of(cell), seconds_of(cell))
        for number, cell in enumerate(cells)
        if seconds_of(cell) >= least and cell["cell_type"] == "code" and not has_tag(cell, "remove-cell")
    ]
    return sorted(slow, key=lambda found: -found[2])


def seconds_of(cell: dict[str, Any]) -> float:
    return cell.get("metadata", {}).get("papermill", {}).get("duration") or 0.0


def cells_to_html(
    cells: list[dict[str, Any]], prose: Prose, link: Callable[[str], str], prefix: str = ""
) -> str:
    """All cells of one notebook. Cells tagged `remove-cell` are left out."""
    shown: list[dict[str, Any]] = []
    slow = {anchor for anchor, _, _ in slow_cells(cells, prefix)}
    for number, cell in enumerate(cells):
        source, anchor = source_of(cell), f"{prefix}cell-{number}"
        if has_tag(cell, "remove-cell"):
            continue
        if cell["cell_type"] == "markdown":
            prose_of = [("prose", Markup(prose.render(source, link)), "")]
            shown.append({"outputs": prose_of, "tags": []})
        elif cell["cell_type"] == "code" and source.strip():
            outputs = [_shown(output) for output in cell.get("outputs", [])]
            tags = [tag for tag in ("exercise", "lesson", "solution") if has_tag(cell, tag)]
            about = {"title": title_of(cell), "seconds": seconds_of(cell), "outputs": outputs, "tags": tags}
            code = {"source": source, "highlighted": highlighted(source.rstrip())}
            shown.append({**about, **code, "anchor": anchor, "slow": anchor in slow})
    return look.fill("cells.html", cells=shown).strip()


def title_of(cell: dict[str, Any]) -> str:
    """What a folded code cell is called: what its tag says, else its first line."""
    if has_tag(cell, "parameters"):
        return say("Parameters and their defaults")
    if has_tag(cell, "injected-parameters"):
        return say("Values of this run")
    if has_tag(cell, "exercise"):
        return say("Your turn")
    if has_tag(cell, "solution"):
        return say("A solution")
    first = next((line.strip() for line in source_of(cell).splitlines() if line.strip()), "")
    return first.lstrip("# ") if len(first) <= 90 else first[:89].lstrip("# ") + "…"


def highlighted(source: str) -> Markup:
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    return Markup(highlight(source, PythonLexer(), HtmlFormatter(cssclass="source", wrapcode=True)))


def _shown(output: dict[str, Any]) -> tuple[str, str, str]:
    """Which of the template's forms an output takes, its content, and the text that stands for a picture.

    Text is always escaped; HTML is sanitized; pictures are embedded and bounded.
    """
    kind = output.get("output_type")
    if kind == "stream":
        text = _bounded(ANSI.sub("", _joined(output.get("text", ""))))
        form = "output drawn" if _RULE.search(text) else "output"
        form = "messages" if output.get("name") == "stderr" else form
        return (form if text.strip() else "", text, "")
    if kind == "error":
        text = ANSI.sub("", "\n".join(output.get("traceback", [])))
        return "output error", _bounded(text or f"{output.get('ename')}: {output.get('evalue')}"), ""
    if kind in ("display_data", "execute_result"):
        return _richest(
            {media: _joined(content) for media, content in output.get("data", {}).items()}, output
        )
    return "", "", ""


def _richest(data: dict[str, str], output: dict[str, Any]) -> tuple[str, str, str]:
    text = data.get("text/plain", "")
    if isinstance(data.get(widgets.MEDIA), dict):  # data alone, which the page's own script draws
        return "output control", Markup(widgets.place(data[widgets.MEDIA])), ""
    if "application/vnd.jupyter.widget-view+json" in data:
        # A library's progress bar is over when the report is read.
        return ("" if _PROGRESS.search(text) else "widget", "", "")
    if "text/html" in data:
        return "output rich", Markup(_bounded_pictures(sanitize(data["text/html"]))), ""
    for media in ("image/svg+xml", "image/png", "image/jpeg"):
        if media in data:
            drawn, content = media.endswith("xml"), data[media]
            encoded = (
                base64.b64encode(content.encode()).decode("ascii") if drawn else re.sub(r"\s", "", content)
            )
            alt = output.get("metadata", {}).get(media, {}).get("alt", "")
            return "picture", _bounded_pictures(f"data:{media};base64,{encoded}"), alt
    if "text/latex" in data:
        return "formula", Markup(mathml(data["text/latex"].strip().strip("$"), block=True)), ""
    if "text/markdown" in data:
        return "output prose", Markup(Prose(deeper=2).render(data["text/markdown"])), ""
    return ("output" if "text/plain" in data else "", _bounded(text), "")


def _bounded_pictures(html: str) -> str:
    """Raster pictures above the limit are drawn smaller."""

    def smaller(match: re.Match[str]) -> str:
        if len(match[2]) * 3 // 4 <= LARGEST_PICTURE_BYTES:
            return match[0]
        from PIL import Image

        with Image.open(io.BytesIO(base64.b64decode(match[2]))) as picture:
            picture.thumbnail((WIDEST_PICTURE_PIXELS, WIDEST_PICTURE_PIXELS))
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    return re.sub(r"data:image/(png|jpeg|webp);base64,([A-Za-z0-9+/=]+)", smaller, html)


def _bounded(text: str) -> str:
    """Long text without its middle; the executed notebook has all of it."""
    text = _without_middle(text.split("\n"), MOST_LINES, "\n", say("lines"))
    return _without_middle(text, LONGEST_TEXT, "", say("characters")).rstrip("\n")


def _without_middle(items: Sequence[str], most: int, glue: str, unit: str) -> str:
    """The items joined; of more than `most` only the first and the last ones."""
    if len(items) <= most:
        return glue.join(items)
    gap = say("\n… {n:,} {unit} are in the executed notebook …\n", n=len(items) - most, unit=unit)
    return glue.join(items[: most // 2]) + gap + glue.join(items[-most // 2 :])


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) else text
