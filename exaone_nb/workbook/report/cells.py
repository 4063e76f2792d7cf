"""Cells of an executed notebook as HTML: code folded, text as text, the best picture of each output."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from exaone_nb.workbook.chapters import has_tag, source_of
from exaone_nb.workbook.report.look import duration
from exaone_nb.workbook.report.markdown import Prose, mathml
from exaone_nb.workbook.report.sanitize import sanitize

SLOW_SECONDS = 1.0
SLOW_SHARE = 0.1
LONGEST_TEXT = 20_000
MOST_LINES = 200
LARGEST_PICTURE_BYTES = 1_500_000
WIDEST_PICTURE_PIXELS = 1600
_PROGRESS = re.compile(r"\d+%\|.*\|\s*\d+/\d+")  # tqdm's bar as text
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


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
    """How long papermill saw a cell run; 0 when it did not."""
    return cell.get("metadata", {}).get("papermill", {}).get("duration") or 0.0


def cells_to_html(
    cells: list[dict[str, Any]], prose: Prose, link: Callable[[str], str], prefix: str = ""
) -> str:
    """All cells of one notebook. Cells tagged `remove-cell` are left out."""
    parts = []
    slow = {anchor for anchor, _, _ in slow_cells(cells, prefix)}
    for number, cell in enumerate(cells):
        if has_tag(cell, "remove-cell"):
            continue
        if cell["cell_type"] == "markdown":
            parts.append(f'<div class="prose">{prose.render(source_of(cell), link)}</div>')
        elif cell["cell_type"] == "code" and source_of(cell).strip():
            anchor = f"{prefix}cell-{number}"
            outputs = "".join(output_to_html(o, prose) for o in cell.get("outputs", []))
            parts.append(_code(cell, anchor if anchor in slow else "") + outputs)
    return "\n".join(parts)


def _code(cell: dict[str, Any], slow: str = "") -> str:
    """Folded code; `slow` is the anchor of a slow cell, which also says how long it took."""
    source = source_of(cell).rstrip()
    lines = source.count("\n") + 1
    unit = "line" if lines == 1 else "lines"
    took = f", {duration(seconds_of(cell))}" if slow else ""
    anchor = f' id="{escape(slow, quote=True)}"' if slow else ""
    return (
        f'<details class="code"{anchor}><summary>'
        f'<code>{escape(title_of(cell))}</code> <span class="count">{lines} {unit}{took}</span></summary>'
        f"{highlighted(source)}</details>"
    )


def title_of(cell: dict[str, Any]) -> str:
    """What a folded code cell is called: what its tag says, else its first line."""
    if has_tag(cell, "parameters"):
        return "Parameters and their defaults"
    if has_tag(cell, "injected-parameters"):
        return "Values of this run"
    first = next((line.strip() for line in source_of(cell).splitlines() if line.strip()), "")
    return first.lstrip("# ") if len(first) <= 90 else first[:89].lstrip("# ") + "…"


def highlighted(source: str) -> str:
    """Python source with classes for its tokens."""
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    return highlight(source, PythonLexer(), HtmlFormatter(cssclass="source", wrapcode=True))


def output_to_html(output: dict[str, Any], prose: Prose) -> str:
    """One output. Text is always escaped; HTML is sanitized; pictures are embedded and bounded."""
    kind = output.get("output_type")
    if kind == "stream":
        text = _bounded(_ANSI.sub("", _joined(output.get("text", ""))))
        if not text.strip():
            return ""
        if output.get("name") == "stderr":
            lines = text.strip().count("\n") + 1
            unit = "line" if lines == 1 else "lines"
            return (
                f'<details class="messages"><summary>Messages of the libraries <span class="count">{lines} {unit}</span>'
                f"</summary><pre>{escape(text)}</pre></details>"
            )
        return f'<pre class="output" tabindex="0">{escape(text)}</pre>'
    if kind == "error":
        text = (
            _ANSI.sub("", "\n".join(output.get("traceback", [])))
            or f"{output.get('ename')}: {output.get('evalue')}"
        )
        return f'<pre class="output error" tabindex="0">{escape(_bounded(text))}</pre>'
    if kind in ("display_data", "execute_result"):
        return _display(output.get("data", {}), output.get("metadata", {}), prose)
    return ""


def _display(data: dict[str, Any], metadata: dict[str, Any], prose: Prose) -> str:
    """The richest form that can be shown safely."""
    if "application/vnd.jupyter.widget-view+json" in data:
        if _PROGRESS.search(_joined(data.get("text/plain", ""))):
            return ""  # a library's progress bar: over when the report is read
        return '<p class="aside">An interactive control stands here in JupyterLab.</p>'
    if "text/html" in data:
        html = sanitize(_joined(data["text/html"]))
        return f'<div class="output rich">{_bounded_pictures(html)}</div>'
    for media in ("image/svg+xml", "image/png", "image/jpeg"):
        if media in data:
            return _picture(media, _joined(data[media]), metadata.get(media, {}).get("alt", ""))
    if "text/latex" in data:
        return f'<p class="output">{mathml(_joined(data["text/latex"]).strip().strip("$"), block=True)}</p>'
    if "text/markdown" in data:
        return f'<div class="output prose">{Prose(deeper=2).render(_joined(data["text/markdown"]))}</div>'
    if "text/plain" in data:
        return f'<pre class="output" tabindex="0">{escape(_bounded(_joined(data["text/plain"])))}</pre>'
    return ""


def _picture(media: str, content: str, alt: str) -> str:
    encoded = (
        base64.b64encode(content.encode()).decode("ascii")
        if media.endswith("xml")
        else re.sub(r"\s", "", content)
    )
    address = _bounded_pictures(f"data:{media};base64,{encoded}")
    return f'<figure class="enb"><img alt="{escape(alt, quote=True)}" src="{address}"></figure>'


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
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        left_out = len(lines) - MOST_LINES
        lines = [
            *lines[: MOST_LINES // 2],
            f"… {left_out:,} lines are in the executed notebook …",
            *lines[-MOST_LINES // 2 :],
        ]
        text = "\n".join(lines)
    if len(text) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - LONGEST_TEXT:,} characters are in the executed notebook …\n{text[-half:]}"
    return text.rstrip("\n")


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(text)
