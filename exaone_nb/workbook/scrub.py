"""Keeping a person's secrets and whereabouts out of what gets shared: reports, executed notebooks, run.json.

Removed from texts: values of environment variables whose names say that they are secret, saved hub tokens, anything
shaped like a well-known token, and the paths of the home, workbook and temporary folders. Pictures drawn as SVG carry
their labels as text, so they are searched too.

Never touched: keys of documents, and words that the workbook itself uses, whoever else uses them: a user called
`status`, a machine called `nano`, BUILD_KEY=quantize.
"""

import base64
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from exaone_nb.credentials import IN_PLACE, SHAPES
from exaone_nb.paths import DATA, NOTEBOOKS, ROOT

REMOVED = "[removed]"
# TOKENIZER is a model's name, PWD and OLDPWD are places, BYPASS and COMPASS end in PASS by accident, and a desktop's
# session is its kind.
_SECRET_NAME = re.compile(
    r"TOKEN(?!I[ZS])|SECRET|PASSW|PASSPHRASE|PASSCODE|(?<!BY)(?<!COM)PASS(?:$|_)|^(?!OLDPWD$).+PWD(?:$|_)"
    r"|API_?KEY|ACCESS_?KEY|PRIVATE|CREDENTIAL|_KEY$|_PAT$|AUTH|COOKIE|WEBHOOK"
    r"|^(?!DESKTOP_|XDG_|GNOME_|KDE_|DBUS_|JPY_)(?:.*_)?SESSION(?:_ID|_KEY)?$",
    re.IGNORECASE,
)
# "/tmp/<wbr>run/<wbr>x" in a table's cell: one word, with places where a line may end. Possessive, so that a picture's
# megabyte without a break is read once.
_BROKEN = re.compile(
    r"""(?<![^\s<>"'])[^\s<>"']++(?:(?:</span>)?<wbr>(?:<span[^<>]*>)?[^\s<>"']++)+(?:</span>)?"""
)
_TOKENS = re.compile("|".join(shape.pattern for shape in (*SHAPES.values(), IN_PLACE)))
_SVG = re.compile(r"(data:image/svg\+xml;base64,)([A-Za-z0-9+/=]+)")
_SHORTEST_SECRET = 6
# What settings say (REGISTRY_AUTH=enabled, CACHE_KEY=vllm-cpu, RUN_SESSION=2026-11-25) and what texts are made of: one or
# two words of letters in one case; numbers, versions, dates.
_PLAIN = re.compile(r"[A-Z]?[a-z]+([-_.][a-z]+)?|[A-Z]+([-_.][A-Z]+)?|[가-힣]+|[\d.,:/+-]+")


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
        # Whole in HTML, in attributes and in SVG as well: "<temp>" would be a tag there, and end a picture.
        named = {str(root): "[workbook]", home: "~"}
        places = named | {os.path.realpath(place): name for place, name in named.items()}
        places |= {tempfile.gettempdir(): "[temp]"}
        longest_first = sorted((place for place in places if len(place) > 1), key=len, reverse=True)
        self._places = [(place, _place_pattern(place), places[place]) for place in longest_first]

    def text(self, text: str) -> str:
        text = _SVG.sub(self._svg, text) if "data:image/svg+xml;base64," in text else text
        return self._plain(text)

    def _plain(self, text: str) -> str:
        text = _BROKEN.sub(self._joined, text) if "<wbr>" in text else text
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REMOVED)
        text = _TOKENS.sub(REMOVED, text)
        for place, pattern, name in self._places:
            if place in text:
                text = pattern.sub(name, text)
        return re.sub(r"(?<![\w.])(/home|/Users)/[^/\s\"'<>:]+", "~", text)

    def _joined(self, match: re.Match[str]) -> str:
        """A word of a table that may be broken, without its breaks where there is something to replace in it."""
        word = re.sub("<[^<>]*>", "", match[0])
        clean = self._plain(word)
        return match[0] if clean == word else clean

    def _svg(self, match: re.Match[str]) -> str:
        try:
            drawing = base64.b64decode(match[2], validate=True).decode("utf-8")
        except ValueError:
            return match[0]
        clean = self._plain(drawing)
        return match[0] if clean == drawing else match[1] + base64.b64encode(clean.encode()).decode("ascii")

    def document(self, value: Any) -> Any:
        """A copy of a JSON-like document with every string value scrubbed; keys stay as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.document(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return value


def _place_pattern(place: str) -> re.Pattern[str]:
    """Finds a folder's path, but not /data in exaone_nb/data, where the home of a container is /data."""
    short = place.count(os.sep) == 1
    return re.compile((r"(?<![\w.~-])" if short else "") + re.escape(place) + r"(?![\w.-])")


def _harmless(value: str) -> bool:
    """Plain words and numbers, paths to credential files and the workbook's own names are not secrets themselves."""
    word = value.strip()
    own = any(word in name for name in _own_names())
    return own or bool(_PLAIN.fullmatch(word)) or os.path.exists(word)


@cache
def _own_names() -> frozenset[str]:
    """Names of models, recipes, tasks, cards, schemes and chapters, which stand in every report."""
    from exaone_nb.gpus import GPUS
    from exaone_nb.quantization.schemes import SCHEMES

    files = {path.stem.replace("__", "/") for folder in (DATA, NOTEBOOKS) for path in folder.rglob("*")}
    return frozenset({*files, *GPUS, *SCHEMES})


def _spellings(secret: str) -> set[str]:
    """The secret as it is, and as addresses, Python and JSON write it, each also inside HTML."""
    quoted = (repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    plain = {secret, quote(secret, safe=""), quote_plus(secret), *(text[1:-1] for text in quoted)}
    in_html = {escape(text, quote=quotes) for text in plain for quotes in (True, False)}
    by_number = {text.replace("&quot;", "&#34;").replace("&#x27;", "&#39;") for text in in_html}
    return plain | in_html | by_number


def _saved_tokens(environment: Mapping[str, str], home: Path) -> set[str]:
    """Tokens that the hub's client keeps on this disk."""
    hub = Path(environment.get("HF_HOME", home / ".cache" / "huggingface"))
    found = set()
    for path in (Path(environment.get("HF_TOKEN_PATH", hub / "token")), home / ".huggingface" / "token"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found.add(path.read_text(encoding="utf-8").strip())
    return {token for token in found if len(token) >= _SHORTEST_SECRET}
