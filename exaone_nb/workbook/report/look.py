"""The style sheet, the one script, the page template, and the policy that lets a browser run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb.show import notebook

_HERE = Path(__file__).parent


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def fingerprint() -> str:
    """Changes when any code, style or template of the report changes: then stored pages are drawn again."""
    files = sorted(p for p in _HERE.iterdir() if p.suffix in (".py", ".css", ".js", ".html", ".yaml"))
    return hashlib.sha256(b"\0".join(p.read_bytes() for p in files)).hexdigest()[:16]


@cache
def policy() -> str:
    """Content security policy: no request to anywhere, pictures only from the page itself, our script only (by hash)."""
    digest = base64.b64encode(hashlib.sha256(_read("report.js").encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["gigabytes"] = gigabytes
    environment.filters["value"] = value
    environment.filters["measured"] = measured
    environment.filters["breakable"] = breakable
    environment.filters["commands"] = commands
    return environment


def fill(template: str, **values: Any) -> str:
    """Render one of the templates beside this file; every value is escaped unless it is already Markup."""
    from markupsafe import Markup

    return (
        _environment()
        .get_template(template)
        .render(
            **values, style=Markup(_read("report.css")), script=Markup(_read("report.js")), policy=policy()
        )
    )


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def gigabytes(count: float | None) -> str:
    """Bytes as GB (10^9)."""
    return f"{count / 1e9:.2f} GB" if count else ""


def measured(item: Any) -> str:
    """A result as a person reads it: six digits of a fraction, thousands apart in a count, nothing for None."""
    if isinstance(item, bool) or not isinstance(item, int | float):
        return "" if item is None else str(item)
    return f"{item:,}" if isinstance(item, int) else f"{item:.6g}"


def breakable(name: str) -> Any:
    """A name that may go on in the next line after its punctuation."""
    from markupsafe import Markup

    return Markup(notebook.breakable(name))


def commands(text: str) -> Any:
    """A sentence in which `this` is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def value(item: Any) -> str:
    """A parameter's value as it is written in a cell."""
    return repr(item)
