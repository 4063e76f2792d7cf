"""The style sheet, the one script, the page template, and the policy that lets a browser run nothing else."""

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from exaone_nb import language
from exaone_nb.messages import say, translated, visible
from exaone_nb.show import notebook, widgets

_HERE = Path(__file__).parent


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def fingerprint() -> str:
    """Changes when code, style, templates or language of the report change: then stored pages are drawn again."""
    files = sorted(p for p in _HERE.iterdir() if p.suffix in (".py", ".css", ".js", ".html", ".yaml"))
    drawn = (script(), style(), language.fingerprint())
    parts = [*(p.read_bytes() for p in files), *(part.encode() for part in drawn)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@cache
def script() -> str:
    """The one script of a page, its widgets' part included."""
    return _read("report.js") + widgets.asset("js")


@cache
def style() -> str:
    return _read("report.css") + widgets.asset("css")


@cache
def policy() -> str:
    """Content security policy: no request to anywhere, pictures only from the page itself, our script only (by hash)."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(_HERE), **options)
    # `value` is a parameter's value as it is written in a cell.
    own = {one.__name__: one for one in (duration, gigabytes, commands, clock, span)}
    environment.filters.update(own, value=repr, breakable=lambda name: Markup(notebook.breakable(name)))
    environment.globals["say"] = say_in_html
    return environment


def fill(template: str, **values: Any) -> str:
    """Render one of the templates beside this file; every value is escaped unless it is already Markup."""
    page = {
        "lang": language.language(),
        "style": Markup(style()),
        "script": Markup(script()),
        "policy": policy(),
    }
    return _environment().get_template(template).render(**values, **page)


def say_in_html(template: str, /, **fields: Any) -> Markup:
    """`say` for the templates: what is filled in is escaped unless it is Markup."""
    return Markup(translated(template)).format(**{name: visible(value) for name, value in fields.items()})


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return ""
    if seconds < 60:
        return say("{seconds:.1f} s", seconds=seconds)
    minutes, rest = divmod(round(seconds), 60)
    return say("{minutes} min {rest:02d} s", minutes=minutes, rest=rest)


def gigabytes(count: float | None) -> str:
    return f"{count / 1e9:.2f} GB" if count else ""


def commands(text: str) -> Any:
    """A sentence in which `this` is code."""
    return Markup(notebook.with_code(str(escape(text))))


def span(began: str, ended: str) -> str:
    """From when to when, in UTC, to the minute."""
    if clock(began) == clock(ended):
        return clock(began)
    first, last = moment(began), moment(ended)
    if first.date() == last.date():
        return say("{first:%Y-%m-%d %H:%M} to {last:%H:%M} UTC", first=first, last=last)
    return say("{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC", first=first, last=last)


def clock(time: str) -> str:
    return say("{time:%Y-%m-%d %H:%M} UTC", time=moment(time))


def moment(text: str) -> datetime:
    """The time that run.json says, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
