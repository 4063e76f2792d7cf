"""Keeping a person's secrets and whereabouts out of what gets shared: reports, executed notebooks, run.json.

Removed: values of environment variables whose names say that they are secret, saved hub tokens, anything shaped
like a well-known token, the paths of the home and workbook folders, and the user's and machine's names. Pictures drawn
as SVG carry their labels as text, so they are searched too.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from exaone_nb.paths import ROOT

REMOVED = "[removed]"
# TOKENIZER is a model's name, PWD and OLDPWD are places, BYPASS and COMPASS end in PASS by accident, and a desktop's
# session is its kind.
_SECRET_NAME = re.compile(
    r"TOKEN(?!I[ZS])|SECRET|PASSW|PASSPHRASE|PASSCODE|(?<!BY)(?<!COM)PASS(?:$|_)|^(?!OLDPWD$).+PWD(?:$|_)"
    r"|API_?KEY|ACCESS_?KEY|PRIVATE|CREDENTIAL|_KEY$|_PAT$|AUTH|COOKIE|WEBHOOK"
    r"|^(?!DESKTOP_|XDG_|GNOME_|KDE_|DBUS_|JPY_)(?:.*_)?SESSION(?:_ID|_KEY)?$",
    re.IGNORECASE,
)
_TOKEN_SHAPES = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bglpat-[\w-]{20,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{12,}=*|(?<=://)[^\s/:@\"'<>]+:[^\s/@\"'<>]+(?=@)"
)
_SVG = re.compile(r"(data:image/svg\+xml;base64,)([A-Za-z0-9+/=]+)")
# Account and machine names that are ordinary words: removing them would only damage the text.
_EVERYDAY = {
    "root",
    "user",
    "users",
    "admin",
    "ubuntu",
    "debian",
    "runner",
    "jovyan",
    "colab",
    "home",
    "test",
    "guest",
    "localhost",
    "main",
    "model",
    "python",
    "docker",
    "vscode",
    "node",
}
_SHORTEST_SECRET = 6
# What settings with such names say (REGISTRY_AUTH=enabled): removing it would only damage the text.
_ORDINARY = {
    "true",
    "false",
    "none",
    "null",
    "enabled",
    "disabled",
    "required",
    "optional",
    "default",
    "always",
    "unlimited",
}


class Scrubber:
    """Replaces secrets in text, and in every string of a JSON-like document."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        home: str | Path | None = None,
        root: str | Path = ROOT,
    ) -> None:
        environment = os.environ if environment is None else environment
        home = str(home or Path.home())
        secrets = {
            value.strip()
            for name, value in environment.items()
            if _SECRET_NAME.search(name) and len(value.strip()) >= _SHORTEST_SECRET and not _harmless(value)
        }
        secrets |= _saved_tokens(environment, Path(home))
        spelled = {form for secret in secrets for form in _spellings(secret)}
        self._secrets = sorted(spelled, key=len, reverse=True)
        places = {
            str(root): "<workbook>",
            os.path.realpath(root): "<workbook>",
            home: "~",
            os.path.realpath(home): "~",
            tempfile.gettempdir(): "<temp>",
        }
        self._places = sorted(
            ((p, name) for p, name in places.items() if len(p) > 1), key=lambda x: -len(x[0])
        )
        names = {Path(home).name, environment.get("USER", ""), environment.get("LOGNAME", ""), _own_name()}
        hosts = {socket.gethostname(), socket.gethostname().split(".")[0], environment.get("HOSTNAME", "")}
        words = {w for w in names | hosts if len(w) >= 4 and w.lower() not in _EVERYDAY}
        self._names = (
            re.compile(
                r"(?<![\w-])(?:"
                + "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
                + r")(?![\w-])"
            )
            if words
            else None
        )

    def text(self, text: str) -> str:
        """The text without what must not be shared."""
        text = _SVG.sub(self._svg, text) if "data:image/svg+xml;base64," in text else text
        return self._plain(text)

    def _plain(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REMOVED)
        text = _TOKEN_SHAPES.sub(REMOVED, text)
        for place, name in self._places:
            if place in text:
                text = re.sub(re.escape(place) + r"(?![\w.-])", lambda _, name=name: name, text)
        text = re.sub(r"(?<![\w.])(/home|/Users)/[^/\s\"'<>:]+", "~", text)
        return self._names.sub("<name>", text) if self._names else text

    def _svg(self, match: re.Match[str]) -> str:
        try:
            drawing = base64.b64decode(match[2], validate=True).decode("utf-8")
        except ValueError:
            return match[0]
        clean = self._plain(drawing)
        return match[0] if clean == drawing else match[1] + base64.b64encode(clean.encode()).decode("ascii")

    def document(self, value: Any) -> Any:
        """A copy of a JSON-like document with every string scrubbed, keys included."""
        return _walk(value, self.text)


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            change(key) if isinstance(key, str) else key: _walk(item, change) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walk(item, change) for item in value]
    return value


def _harmless(value: str) -> bool:
    """Paths to credential files, numbers and everyday words are not secrets themselves."""
    word = value.strip().lower()
    return word.isdigit() or word in _ORDINARY | _EVERYDAY or os.path.exists(value)


def _spellings(secret: str) -> set[str]:
    """The secret as it is, and as addresses, Python and JSON write it, each also inside HTML."""
    plain = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    in_html = {escape(text, quote=quotes) for text in plain for quotes in (True, False)}
    by_number = {text.replace("&quot;", "&#34;").replace("&#x27;", "&#39;") for text in in_html}
    return plain | in_html | by_number


def _saved_tokens(environment: Mapping[str, str], home: Path) -> set[str]:
    """Tokens that the hub's client keeps on this disk."""
    hub = Path(environment.get("HF_HOME", home / ".cache" / "huggingface"))
    found = set()
    for path in (Path(environment.get("HF_TOKEN_PATH", hub / "token")), home / ".huggingface" / "token"):
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if len(token) >= _SHORTEST_SECRET:
            found.add(token)
    return found


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
