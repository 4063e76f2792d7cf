"""What a notebook says, as HTML: prose cells, and the HTML of outputs reduced to what cannot act.

Markdown's `$…$` and `$$…$$` become MathML, which browsers draw without any script. No scripts, styles, frames, forms or
addresses to load stay: a model's answer may be part of it. This is the second of three fences: `show_table` and `note`
escape text, `sanitize` removes markup that acts, and the page's policy forbids what might still slip through.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from exaone_nb.show.notebook import hyphens_stay, names_stay
from exaone_nb.written import read_yaml

# pandoc's rule: no space inside the dollars, no digit after the closing one, so that "$5 and $6" is money.
_INLINE = r"\$(?![\s$])(?P<inline_tex>(?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)"
_BLOCK = r"^ {0,3}\$\$(?P<block_tex>[\s\S]+?)\$\$[ \t]*(?:\n+|$)"
_FORMULA_HERE = re.compile("\ue000(\\d+)\ue001")
# No address, a notebook that is no page of the report, or a repository whose owner is not filled in yet.
_NOWHERE = re.compile(r'<a href="(?:|[^":]*\.ipynb(?:#[^"]*)?|[^"]*/OWNER/[^"]*)">(.*?)</a>')
_CODE = re.compile(r"(?<!<pre>)<code>[^<]*</code>")
# A Korean particle belongs to what it follows, and browsers would end a line before it: "63%에서", "83 KB입니다".
_PARTICLE = re.compile(r"<[^>]*>|(\d (?:[kKMGT]i?B|ms|%)[가-힣]|[%)”’][가-힣])")
_ANCHOR = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
_DROPPED_WHOLE = re.compile(r"<(script|style|template|noscript)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")
_NO_SOURCE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")
_PICTURE_HERE = re.compile(r"embedded-picture-(\d+)")


@dataclass
class Prose:
    """Renders the Markdown of one page and collects its headings. `prefix` keeps anchors apart in a joined page."""

    prefix: str = ""
    deeper: int = 0
    headings: list[dict[str, Any]] = field(default_factory=list)

    def render(self, text: str, link: Callable[[str], str] = lambda address: address) -> str:
        """HTML of one cell: sanitized, math as MathML, headings with anchors; `link` rewrites addresses."""
        formulas: list[str] = []

        def keep(html: str) -> str:
            formulas.append(html)
            return f"\ue000{len(formulas) - 1}\ue001"

        html = sanitize(_parser(keep)(text.replace("\ue000", "").replace("\ue001", "")))
        html = re.sub(r'href="([^"]*)"', lambda m: f'href="{escape(link(m[1]), quote=True)}"', html)
        html = _NOWHERE.sub(r"\1", html)
        html = _CODE.sub(lambda m: hyphens_stay(m[0]), html)
        html = _PARTICLE.sub(lambda m: f'<span class="word">{m[1]}</span>' if m[1] else m[0], html)
        html = names_stay(html)
        html = _ANCHOR.sub(lambda m: self._heading(int(m[1]), m[2], formulas), html)
        html = html.replace("<table>", '<div class="scroll"><table class="enb">').replace(
            "</table>", "</table></div>"
        )
        return _FORMULA_HERE.sub(lambda m: formulas[int(m[1])], html)

    def _heading(self, level: int, html: str, formulas: list[str]) -> str:
        plain = re.sub(r"<[^>]+>", "", _FORMULA_HERE.sub("", html)).strip()
        base = self.prefix + (
            re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFKC", plain).lower()).strip("-") or "part"
        )
        taken = {heading["anchor"] for heading in self.headings}
        anchor, count = base, 2
        while anchor in taken:
            anchor, count = f"{base}-{count}", count + 1
        level = min(level + self.deeper, 6)
        self.headings.append({"level": level, "anchor": anchor, "text": plain})
        return f'<h{level} id="{escape(anchor, quote=True)}">{html}</h{level}>'


def mathml(tex: str, block: bool = False) -> str:
    """A formula as MathML. TeX that cannot be converted is shown as it was written, marked as code."""
    from latex2mathml.converter import convert

    try:
        return convert(tex.strip(), display="block" if block else "inline")
    except (
        Exception
    ):  # the converter raises many kinds for malformed TeX; the reader still gets the formula's text
        return f'<code class="tex">{escape(tex)}</code>'


def _parser(keep: Callable[[str], str]) -> Any:
    import mistune

    markdown = mistune.create_markdown(
        escape=False, renderer="html", plugins=["strikethrough", "footnotes", "table", "task_lists", "url"]
    )

    def inline(parser: Any, match: re.Match[str], state: Any) -> int:
        state.append_token({"type": "formula", "raw": keep(mathml(match["inline_tex"]))})
        return match.end()

    def block(parser: Any, match: re.Match[str], state: Any) -> int:
        state.append_token({"type": "formula_block", "raw": keep(mathml(match["block_tex"], block=True))})
        return match.end()

    markdown.inline.register("formula", _INLINE, inline, before="link")
    markdown.block.register("formula_block", _BLOCK, block, before="list")
    markdown.renderer.register("formula", lambda renderer, text: text)
    markdown.renderer.register("formula_block", lambda renderer, text: f"<p>{text}</p>\n")
    return markdown


@cache
def allowed() -> dict[str, Any]:
    """What may stay, as allowed.yaml beside this file lists it: tags, attributes by tag, CSS properties, protocols."""
    return read_yaml(Path(__file__).with_name("allowed.yaml"))


@cache
def _cleaner() -> Any:
    from bleach.css_sanitizer import CSSSanitizer
    from bleach.sanitizer import Cleaner

    known = allowed()
    css = CSSSanitizer(allowed_css_properties=known["css"])

    def attribute(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return bool(_PICTURE_HERE.fullmatch(value))
        return name in known["attributes"]["*"] or name in known["attributes"].get(tag, ())

    fixed = {"strip": True, "strip_comments": True, "css_sanitizer": css}
    return Cleaner(tags=known["tags"], attributes=attribute, protocols=known["protocols"], **fixed)


def sanitize(html: str) -> str:
    """Markup with allowed elements only; pictures stay when they are embedded, and lose their source when they are not."""
    pictures: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        # Parsing megabytes of base64 as HTML takes seconds; its alphabet holds nothing that could act.
        pictures.append(re.sub(r"\s", "", match[0]))
        return f"embedded-picture-{len(pictures) - 1}"

    html = _PICTURE_HERE.sub("", html)
    html = _PICTURE.sub(stand_in, _DROPPED_WHOLE.sub("", html))
    clean = _NO_SOURCE.sub("", _cleaner().clean(html))
    return _PICTURE_HERE.sub(lambda m: pictures[int(m[1])] if int(m[1]) < len(pictures) else "", clean)
