"""The keys of a GGUF header and their values."""

import struct
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.gguf.cursor import KEPT, Cursor, broken
from exaone_nb.anatomy.gguf.types import ALIGNMENT, ARRAY, STRING, VALUE_TYPES
from exaone_nb.messages import say

LONGEST_KEY = 65_535
MOST_STRINGS = 4_000_000  # ten times the longest list of merges


@dataclass(frozen=True, slots=True)
class GgufList:
    """An array of the header: what it holds, how many, its bytes, and the first few items."""

    type: str
    count: int
    bytes: int
    first: tuple[Any, ...]


def read_values(cursor: Cursor, count: int) -> dict[str, Any]:
    """The next `count` keys with their values; arrays are counted, not kept."""
    values: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.text(say("a key"))
        if not key or len(key.encode()) > LONGEST_KEY:
            raise broken(
                say(
                    "The header of {name} has a key of {count:,} bytes.",
                    name=cursor.name,
                    count=len(key.encode()),
                )
            )
        if key in values:
            raise broken(say("The header of {name} has the key {key!r} twice.", name=cursor.name, key=key))
        values[key] = _value(cursor, key, cursor.number("I", key), inside=False)
    return values


def _value(cursor: Cursor, key: str, number: int, *, inside: bool) -> Any:
    """The value of a key; `inside` an array the whole array."""
    kind, letter = VALUE_TYPES.get(number, ("", ""))
    if not kind or (inside and kind == ARRAY):
        what = (
            say("an array of arrays") if kind else say("a value of the unknown type {number}", number=number)
        )
        raise broken(say("The header of {name} gives {key!r} {what}.", name=cursor.name, key=key, what=what))
    if kind == ARRAY:
        return _value(cursor, key, cursor.number("I", key), inside=True)
    if inside:
        return _list(cursor, key, kind, letter)
    if kind == STRING:
        return cursor.text(key)
    value = cursor.number(letter, key)
    if kind == "bool" and value > 1:
        raise broken(
            say(
                "The header of {name} gives {key!r} the truth value {value}.",
                name=cursor.name,
                key=key,
                value=value,
            )
        )
    return bool(value) if kind == "bool" else value


def _list(cursor: Cursor, key: str, kind: str, letter: str) -> GgufList:
    count = cursor.number("Q", key)
    begin = cursor.position
    least = count * (8 if kind == STRING else struct.calcsize(f"<{letter}"))
    if kind == STRING and count > MOST_STRINGS:
        raise broken(
            say(
                "The header of {name} gives {key!r} {count:,} strings.",
                name=cursor.name,
                key=key,
                count=count,
            )
        )
    cursor.need(least, key)
    if kind == STRING:
        first = cursor.strings(count, key)
        return GgufList(kind, count, cursor.position - begin, first)
    cursor.position += least
    shown = min(count, KEPT)
    return GgufList(kind, count, least, struct.unpack_from(f"<{shown}{letter}", cursor.content, begin))


def alignment_of(values: dict[str, Any], name: str) -> int:
    """What the tensors are aligned to."""
    alignment = values.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise broken(
            say(
                "The header of {name} gives general.alignment {alignment!r}, which is no power of two.",
                name=name,
                alignment=alignment,
            )
        )
    return alignment
