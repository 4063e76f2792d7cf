"""What an English text and its translation must have in common, whatever is said between: pure, and tested by broken pairs."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

_FIELD = re.compile(r"(?<!\{)\{(?!\{)[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
# A text in a field is said anew; a key in brackets is code.
_TEXT_IN_FIELD = re.compile(r"""(\[?)(['"])[^'"]*\2(\]?)""")
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FORMULA = re.compile(r"\$\$[\s\S]+?\$\$|\$(?!\s)[^$\n]+(?<!\s)\$(?!\d)")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_MARK = re.compile(r"\s\[[a-z]+(?::[^\]]*)?\]$")
_START = re.compile(r"(?:#+ |[ \t]*(?:[-*+]|\d+\.) |[ \t]*\||> |\s)?")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_ENGLISH_UNITS = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
# 만 after a number may mean "only": a unit is one where something is counted.
_KOREAN = re.compile(r"\d[\d,.]*[조억만천]+(?: ?\d[\d,.]*[조억만천]+)*(?=\s?(?:개|명|번|원|바이트|토큰|$))")
_KOREAN_UNITS = {"조": 10**12, "억": 10**8, "만": 10**4, "천": 10**3}
# English may write these in words where Korean has digits.
_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_IN_WORDS = {word: Decimal(number) for number, word in enumerate(_WORDS)}
# 조사 that leave the choice to the reader: a sentence is built so that it needs none of them.
_EITHER = re.compile(r"[을를이가은는와과](?:\([을를이가은는와과으]\))|\(으\)로|\(이\)")
_HANGUL = re.compile("[가-힣]")


@dataclass(frozen=True)
class Term:
    """How a word is said: `english` is a regular expression, `korean` holds what may stand for it, with | between."""

    english: str
    korean: str
    note: str = ""

    def missing(self, english: str, korean: str) -> bool:
        found = re.search(
            rf"(?<![\w/.-])(?<!exaone-nb )(?:{self.english})(?![\w/]|\.\w)", english, re.IGNORECASE
        )
        return bool(found and not found[0].isupper()) and not any(
            each in korean.lower() for each in self.korean.lower().split("|")
        )


def differences(english: str, korean: str, terms: Iterable[Term] = ()) -> list[str]:
    """What the translation lost, added or changed, each with what was expected; empty when all is well."""
    checks: dict[str, Callable[[str], object]] = {
        "placeholders": _fields,
        "code": lambda text: Counter(_CODE.findall(_FIELD.sub("{}", text))),
        "links": lambda text: Counter(_LINK.findall(text)),
        "formulas": lambda text: Counter(_FORMULA.findall(text)),
        "tags": lambda text: Counter(_TAG.findall(text)),
        "mark at the end": _MARK.findall,
        "Markdown at the start": lambda text: (_START.match(text) or [""])[0],
        "bold": lambda text: text.count("**"),
        "cells of the row": lambda text: text.startswith("|") and text.count("|"),
        "space at the end": lambda text: text[len(text.rstrip()) :],
    }
    found = [
        f"{what}: {seen(english)!r} became {seen(korean)!r}"
        for what, seen in checks.items()
        if seen(english) != seen(korean)
    ]
    lost, added = _numbers(english) - _numbers(korean), _numbers(korean) - _numbers(english)
    in_words = (_IN_WORDS[word] for word in re.findall(r"[a-z]+", english.lower()) if word in _IN_WORDS)
    if lost or added - Counter(in_words):
        found.append(f"numbers: {sorted(map(str, lost))} lost, {sorted(map(str, added))} added")
    if either := _EITHER.search(korean):
        found.append(f"particle: {either[0]} leaves the choice to the reader")
    if _HANGUL.search(korean):
        prose = _CODE.sub("", _FIELD.sub("", english))
        found += [f"term: {term.english} is {term.korean}" for term in terms if term.missing(prose, korean)]
    return found


def _fields(text: str) -> set[str]:
    """The placeholders with their formats. A time may be put together of its parts; texts to choose from may be translated."""
    found = {
        _TEXT_IN_FIELD.sub(lambda m: m[0] if m[1] and m[3] else "'…'", field)
        for field in _FIELD.findall(text)
    }
    times = {
        re.match(r"\{(\w+)", field)[1] for field in found if re.search(r":%|\.(?:year|month|day)\b", field)
    }  # type: ignore[index]
    return {f"time {name}" for name in times} | {
        field for field in found if not any(re.match(rf"\{{{name}\b", field) for name in times)
    }


def _numbers(text: str) -> Counter[Decimal]:
    """The values that are written in digits: 1.28 billion is 12억 8천만."""
    for silent in (_FIELD, _CODE, _LINK, _FORMULA, _TAG, _MARK):
        text = silent.sub(" ", text)
    text = re.sub(
        r"(\d[\d,.]*)[ -](thousand|million|billion)\b",
        lambda m: f"{Decimal(m[1].replace(',', '')) * _ENGLISH_UNITS[m[2]]:f}",
        text,
    )
    text = _KOREAN.sub(lambda m: f"{_korean(m[0]):f}", text)
    return Counter(Decimal(number.replace(",", "")).normalize() for number in _NUMBER.findall(text))


def _korean(text: str) -> Decimal:
    total = Decimal(0)
    for number, units in re.findall(r"(\d[\d,.]*)([조억만천]+)", text):
        value = Decimal(number.replace(",", "").rstrip("."))
        for unit in units:
            value *= _KOREAN_UNITS[unit]
        total += value
    return total
