"""What is said to people: whole sentences, written once, with named places for what changes.

    say("{path} holds no weights.", path=folder)
    say("{count:,} of {total:,} modules stay 16-bit.", count=3, total=70)

The first argument is always one literal string, never an f-string and never glued together, so that a translation can
be found by it. What is filled in comes from files, models and servers too: control characters in it are written out
(`\\x1b`), so that nothing of it steers a terminal.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from string import Formatter
from typing import Any

# Kept as they are: they lay out text and steer nothing.
LAYOUT = "\n\t"


class _Words(Formatter):
    """`str.format` with control characters written out, also in an attribute of what was given (`{row.recipe}`)."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        value, first = super().get_field(field_name, args, kwargs)
        return visible(value), first

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Any) -> None:
        if unused := kwargs.keys() - used_args:
            raise ValueError(f"The template has no place for {', '.join(sorted(unused))}.")


_WORDS = _Words()


def say(template: str, /, **fields: Any) -> str:
    """`template` with its named fields filled in, by the rules of `str.format`.

    Raises KeyError for a field that is not given, and ValueError for one that the template does not name: both are
    mistakes of the caller, and a translation could hide them.
    """
    return _WORDS.vformat(template, (), fields)


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
