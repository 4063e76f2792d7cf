"""Cells of an executed notebook as HTML: code folded, text as text, the best picture of each output."""

import base64
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from exaone_nb.workbook.chapters import has_tag, source_of
from exaone_nb.workbook.explain import ANSI
from exaone_nb.workbook.report import look
from exaone_nb.workbook.report.markdown import Prose, mathml, sanitize

SLOW_SECONDS = 1.0
SLOW_SHARE = 0.1
LONGEST_TEXT = 20_000
MOST_LINES = 200
LARGEST_PICTURE_BYTES = 1_500_000
WIDEST_PICTURE_PIXELS = 1600
_PROGRESS = re.compile(r"\d+%\|.*\|\s*\d+/\d+")  # tqdm's bar as text


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
            shown.append({"outputs": [("prose", Markup(prose.render(source, link)), "")]})
        elif cell["cell_type"] == "code" and source.strip():
            outputs = [_shown(output) for output in cell.get("outputs", [])]
            about = {"title": title_of(cell), "seconds": seconds_of(cell), "outputs": outputs}
            code = {"source": source, "highlighted": highlighted(source.rstrip())}
            shown.append({**about, **code, "anchor": anchor, "slow": anchor in slow})
    return look.fill("cells.html", cells=shown).strip()


def title_of(cell: dict[str, Any]) -> str:
    """What a folded code cell is called: what its tag says, else its first line."""
    if has_tag(cell, "parameters"):
        return "Parameters and their defaults"
    if has_tag(cell, "injected-parameters"):
        return "Values of this run"
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
        form = "messages" if output.get("name") == "stderr" else "output"
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
    text = _without_middle(text.split("\n"), MOST_LINES, "\n", "lines")
    return _without_middle(text, LONGEST_TEXT, "", "characters").rstrip("\n")


def _without_middle(items: Sequence[str], most: int, glue: str, unit: str) -> str:
    """The items joined; of more than `most` only the first and the last ones."""
    if len(items) <= most:
        return glue.join(items)
    gap = f"\n… {len(items) - most:,} {unit} are in the executed notebook …\n"
    return glue.join(items[: most // 2]) + gap + glue.join(items[-most // 2 :])


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) else text
