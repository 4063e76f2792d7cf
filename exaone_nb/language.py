"""Which language is spoken, and its sentences: locale/LANGUAGE/workbook.po, where the English text is the key.

EXAONE_NB_LANG says it (`exaone-nb --lang ko` sets it, also for the kernels); without it the terminal's locale does,
where that is clearly Korean. What a catalog lacks, or marks as fuzzy, is said in English.
"""

import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path

from exaone_nb.paths import LOCALE, NOTEBOOKS

VARIABLE = "EXAONE_NB_LANG"
ENGLISH = "en"
HANGUL = re.compile("[가-힣]")
# An entry of a po file as Babel writes it: comments and flags, the key, its translation.
_ENTRY = re.compile(r'((?:^#.*\n)*)^msgid ((?:".*"\n)+)^msgstr ((?:".*"(?:\n|\Z))+)', re.MULTILINE)


@cache
def languages() -> tuple[str, ...]:
    """English, and every language that has a catalog."""
    return ENGLISH, *sorted(path.parent.name for path in LOCALE.glob("*/workbook.po"))


def language() -> str:
    """The language that is spoken now, by its code (`en`, `ko`)."""
    named = os.environ.get(VARIABLE)
    if not named:
        terminal = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
        named = "ko" if terminal.startswith("ko_KR") else ENGLISH
    return named if named in languages() else ENGLISH


def translation(text: str) -> str:
    """`text` in the language that is spoken; itself in English, and where the catalog has nothing for it."""
    spoken = language()
    return text if spoken == ENGLISH else catalog(spoken).get(text, text)


@cache
def catalog(spoken: str) -> dict[str, str]:
    """English -> the language."""
    content = (LOCALE / spoken / "workbook.po").read_text(encoding="utf-8")
    entries = ((_text(m[2]), _text(m[3])) for m in _ENTRY.finditer(content) if ", fuzzy" not in m[1])
    return {english: translated for english, translated in entries if english and translated}


def chapters_folder() -> Path:
    """Where the chapters are in the language that is spoken; the English ones where they were not made in it."""
    own = NOTEBOOKS / language()
    return own if own.is_dir() else NOTEBOOKS


def fingerprint() -> str:
    """Changes when another language is spoken or its sentences change; empty in English."""
    spoken = language()
    return "" if spoken == ENGLISH else hashlib.sha256(repr(catalog(spoken)).encode()).hexdigest()[:16]


def _text(quoted: str) -> str:
    """The text of a po file's string, which may go over several lines; it is written as in JSON."""
    return str(json.loads(quoted.strip().replace('"\n"', "")))
