"""HTML that came out of a notebook, reduced to what cannot act: no scripts, styles, frames, forms or addresses to load.

A model's answer may be part of it. This is the second of three fences: `show_table` and `note` escape text, this
removes markup that acts, and the page's policy forbids the browser to run or fetch what might still slip through.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

TAGS = frozenset(
    [
        "a",
        "abbr",
        "aside",
        "b",
        "blockquote",
        "br",
        "caption",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "details",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "section",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
        "var",
        "wbr",
    ]
)
_ATTRIBUTES = {
    "*": ["class", "title", "lang", "dir", "role", "style", "aria-label", "aria-hidden"],
    "a": ["href"],
    "img": ["alt", "src", "width", "height"],
    "td": ["colspan", "rowspan", "headers", "data-sort"],
    "th": ["colspan", "rowspan", "scope", "data-sort"],
    "details": ["open"],
    "ol": ["start"],
    "col": ["span"],
}
_CSS = [
    "background-color",
    "border",
    "border-bottom",
    "border-left",
    "border-radius",
    "border-right",
    "border-top",
    "color",
    "display",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "height",
    "line-height",
    "margin",
    "margin-left",
    "margin-top",
    "max-width",
    "min-width",
    "opacity",
    "overflow-wrap",
    "padding",
    "text-align",
    "text-decoration",
    "vertical-align",
    "white-space",
    "width",
]
_DROPPED_WHOLE = re.compile(r"<(script|style|template|noscript)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")
_NO_SOURCE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")
_STAND_IN = re.compile(r"embedded-picture-(\d+)")


@cache
def _cleaner() -> Any:
    from bleach.css_sanitizer import CSSSanitizer
    from bleach.sanitizer import Cleaner

    def allowed(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return bool(_STAND_IN.fullmatch(value))
        return name in _ATTRIBUTES["*"] or name in _ATTRIBUTES.get(tag, ())

    return Cleaner(
        tags=TAGS,
        attributes=allowed,
        protocols={"http", "https", "mailto"},
        strip=True,
        strip_comments=True,
        css_sanitizer=CSSSanitizer(allowed_css_properties=_CSS),
    )


def sanitize(html: str) -> str:
    """Markup with allowed elements only; pictures stay when they are embedded, and lose their source when they are not."""
    pictures: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        # Parsing megabytes of base64 as HTML takes seconds; its alphabet holds nothing that could act.
        pictures.append(re.sub(r"\s", "", match[0]))
        return f"embedded-picture-{len(pictures) - 1}"

    html = _STAND_IN.sub("", html)
    html = _PICTURE.sub(stand_in, _DROPPED_WHOLE.sub("", html))
    clean = _NO_SOURCE.sub("", _cleaner().clean(html))
    return _STAND_IN.sub(lambda m: pictures[int(m[1])] if int(m[1]) < len(pictures) else "", clean)
