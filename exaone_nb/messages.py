"""What is said to people: whole sentences, written once, with named places for what changes.

    say("{path} holds no weights.", path=folder)
    say("{count:,} of {total:,} modules stay 16-bit.", count=3, total=70)

The first argument is always one literal string, never an f-string and never glued together: its translation is looked up
by it whenever something is said (exaone_nb/language.py). What a program reads stays English: `in_english`. What is filled in comes from files, models and servers too: control characters in it are written out
(`\\x1b`), so that nothing of it steers a terminal.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from string import Formatter
from typing import Any

from exaone_nb.language import ENGLISH, language, translation

# Kept as they are: they lay out text and steer nothing.
LAYOUT = "\n\t"


class Said(str):
    """Text in the language of the reader; `english` is the same in English."""

    english: str


class _Words(Formatter):
    """`str.format` with control characters written out, also those of a path, an exception or `{row.recipe}`."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        return visible(super().format_field(value, format_spec))

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Any) -> None:
        if unused := kwargs.keys() - used_args:
            raise ValueError(f"The template has no place for {', '.join(sorted(unused))}.")


class _EnglishWords(_Words):
    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        value, first = super().get_field(field_name, args, kwargs)
        return getattr(value, "english", value), first


_WORDS, _ENGLISH_WORDS = _Words(), _EnglishWords()


def say(template: str, /, **fields: Any) -> str:
    """`template` with its named fields filled in, by the rules of `str.format`.

    Raises KeyError for a field that is not given, and ValueError for one that the template does not name: both are
    mistakes of the caller, and a translation could hide them.
    """
    text = _WORDS.vformat(translation(template), (), fields)
    return text if language() == ENGLISH else _said(text, _ENGLISH_WORDS.vformat(template, (), fields))


def translated(text: str) -> str:
    """A sentence without fields that stands in a table or a file of this package, as the reader reads it."""
    found = text if isinstance(text, Said) else translation(text)
    return text if found is text else _said(found, text)


def as_written(name: str) -> Said:
    """A name that somebody gave, of a run for instance: the same in every language, whatever the catalog has for it."""
    return _said(name, name)


def joined(parts: Iterable[str], between: str = "; ") -> str:
    """Sentences with a semicolon between them, or what `between` says."""
    parts = list(parts)
    text = between.join(parts)
    return text if language() == ENGLISH else _said(text, between.join(in_english(parts)))


def _said(text: str, english: str) -> Said:
    said = Said(text)
    said.english = english
    return said


def in_english(document: Any) -> Any:
    """A JSON document whose sentences are English: what programs read is the same in every language."""
    if language() == ENGLISH:
        return document
    if isinstance(document, dict):
        return {in_english(key): in_english(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return list(map(in_english, document))
    return getattr(document, "english", document)


def did_you_mean(
    name: Any, known: Iterable[Any], otherwise: str = "", *, most: int = 1, cutoff: float = 0.6
) -> str:
    """The remedy for a name that nobody knows: the known ones most like it, `most` at most, else `otherwise`."""
    near = difflib.get_close_matches(str(name), list(map(str, known)), n=most, cutoff=cutoff)
    return say("Did you mean {names}?", names=", ".join(near)) if near else otherwise


def visible(value: Any) -> Any:
    """Text with its control characters written out; anything that is not text as it is."""
    if not isinstance(value, str) or value.isprintable():
        return value
    # Cc: control characters; Cf: invisible ones, which include those that turn the direction of text around.
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character not in LAYOUT and unicodedata.category(character) in ("Cc", "Cf")
        else character
        for character in value
    )
