"""HTML that came out of a notebook, reduced to what cannot act: no scripts, styles, frames, forms or addresses to load.

A model's answer may be part of it. This is the second of three fences: `show_table` and `note` escape text, this
removes markup that acts, and the page's policy forbids the browser to run or fetch what might still slip through.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb.written import read_yaml

_DROPPED_WHOLE = re.compile(r"<(script|style|template|noscript)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")
_NO_SOURCE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")
_STAND_IN = re.compile(r"embedded-picture-(\d+)")


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
            return bool(_STAND_IN.fullmatch(value))
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

    html = _STAND_IN.sub("", html)
    html = _PICTURE.sub(stand_in, _DROPPED_WHOLE.sub("", html))
    clean = _NO_SOURCE.sub("", _cleaner().clean(html))
    return _STAND_IN.sub(lambda m: pictures[int(m[1])] if int(m[1]) < len(pictures) else "", clean)
