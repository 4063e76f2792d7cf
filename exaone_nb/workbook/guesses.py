"""What a learner guessed before a chapter measured it: answered at once, counted at the end.

    GUESS_MB: float | None = None  # your guess: the file of EXAONE 4.0 1.2B in W4A16, in MB     (parameters cell)
    guess("GUESS_MB", GUESS_MB, 971.3, "MB")                  # Your guess: 800 MB. The answer: 971.3 MB. …

A guess is a parameter, so it can be typed into the notebook or given to a run (`-p GUESS_MB 800`), and the parameter's
help says what was asked. The run folder keeps guesses apart from measurements, in guesses/CHAPTER__NAME.json.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.files import write_json
from exaone_nb.language import HANGUL, language
from exaone_nb.messages import did_you_mean, say, translated
from exaone_nb.results import RunFolder
from exaone_nb.show.notebook import note, show_table
from exaone_nb.show.table import Column, Table
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.parameters import HEADLESS

FOLDER = "guesses"
NEAR, TWICE, FAR = say("within 20 %"), say("within a factor of two"), say("further off")
RIGHT, WRONG = say("right"), say("wrong")
_open: dict[str, Any] = {}  # the chapter whose parameters were checked in this kernel, and its run folder


def expect(chapter: Chapter, run: RunFolder) -> None:
    """Guesses from now on are this chapter's, and are kept in this run. `check_parameters` calls it."""
    _open.update(chapter=chapter, run=run)


def guess(name: str, yours: float | str | None, truth: float | str, unit: str = "") -> None:
    """Say how near a guess is, and keep it for the tally. `name` is the parameter that `yours` was read from.

    `truth` is what the chapter measured or computed: a number in `unit`, or the right choice. `yours` is None where
    nothing was written. Raises UsageError for a name that is no parameter, and for a number against a choice.
    """
    chapter, run = _open.get("chapter"), _open.get("run")
    if chapter is None:
        raise UsageError(
            say("No chapter is open."), remedy=say("Call check_parameters before the first guess.")
        )
    asked = {parameter.name: parameter.help for parameter in chapter.parameters}
    if name not in asked:
        raise UsageError(
            say("Chapter {number} has no parameter {name!r}.", number=chapter.number, name=name),
            remedy=did_you_mean(name, asked, say("Declare it in the parameters cell.")),
        )
    yours, truth = _plain(yours), _plain(truth)
    text = say(
        "Nothing was guessed. Set `{name}` in the parameters cell and run again. The answer: {truth}.",
        name=name,
        truth=_shown(truth, unit),
    )
    if yours is not None:
        said = {"yours": _shown(yours, unit), "truth": _shown(truth, unit), "off": _off(yours, truth, unit)}
        text = say("Your guess: {yours}. The answer: {truth}. {off}", **said)
    kept = {"chapter": chapter.number, "name": name, "asked": asked[name].removeprefix(say("your guess: "))}
    kept |= {"yours": yours, "truth": truth, "unit": unit}
    write_json(run.path / FOLDER / f"{chapter.number}__{name}.json", kept)
    note(text)


def is_unwritten(name: str, value: Any) -> bool:
    """True for a guess's parameter into which nothing was written: the first page counts those in a sentence."""
    return name.startswith("GUESS_") and value is None


def nearness(yours: float | str, truth: float | str) -> str:
    """One of RIGHT and WRONG for a choice; of NEAR, TWICE and FAR for a number. Raises UsageError for one of each."""
    if isinstance(yours, str) and isinstance(truth, str):
        return RIGHT if yours.strip().lower() == truth.strip().lower() else WRONG
    if isinstance(yours, str) or isinstance(truth, str):
        raise UsageError(
            say("The guess {yours!r} cannot be compared with {truth!r}.", yours=yours, truth=truth),
            expected=say("two numbers, or two choices."),
        )
    if abs(yours - truth) <= 0.2 * abs(truth):
        return NEAR
    return TWICE if truth and 0.5 <= yours / truth <= 2 else FAR


@dataclass(frozen=True)
class Tally:
    """How near the guesses of a run were: in words (empty where no chapter asked for one), and a row for each."""

    words: str
    table: Table


def tally(run: RunFolder) -> Tally:
    """Count the guesses that the chapters of this run have kept."""
    kept = []
    for path in sorted((run.path / FOLDER).glob("*.json")):
        with suppress(ValueError, TypeError, KeyError, UsageError):  # damaged: its chapter writes it anew
            one = json.loads(path.read_text(encoding="utf-8"))
            near = "" if one["yours"] is None else nearness(one["yours"], one["truth"])
            kept.append(one | {"near": near})
    rows = [one | {part: _choice(one[part]) for part in ("yours", "truth")} for one in kept if one["near"]]
    columns = [
        Column("chapter", say("chapter")),
        Column("asked", say("what was guessed")),
        Column("yours", say("your guess"), DIGITS),
        Column("truth", say("the answer"), DIGITS),
        Column("unit", say("unit")),
        Column("near", say("how near")),
    ]
    return Tally(_counted(kept, [one["near"] for one in rows]), Table(columns, rows).without_empty())


def show_guesses() -> None:
    """Show the tally in a notebook. A run without a reader counts in its report, where every chapter is done."""
    if HEADLESS in os.environ:
        note(say("The first page of the report counts the guesses of this run."))
        return
    made = tally(_open["run"])
    note(made.words or say("No chapter of this run has asked for a guess yet."))
    if made.table.rows:
        show_table(made.table, say("Your guesses"))


def _counted(kept: list[dict[str, Any]], found: list[str]) -> str:
    if not kept:
        return ""
    if not found:
        where = ", ".join(dict.fromkeys(one["chapter"] for one in kept))
        return say(
            "No guess was written. There are {slots} slots, parameters named GUESS_… of the chapters {where}: set them "
            "there, or with -p.",
            slots=len(kept),
            where=where,
        )
    words = [say("{written} of {slots} guesses were written.", written=len(found), slots=len(kept))]
    if numbers := [near for near in found if near not in (RIGHT, WRONG)]:
        close = numbers.count(NEAR)
        words.append(
            say(
                "Numbers within 20 %: {close} of {all}; within a factor of two: {twice}.",
                all=len(numbers),
                close=close,
                twice=close + numbers.count(TWICE),
            )
        )
    if choices := len(found) - len(numbers):
        words.append(say("Right choices: {right} of {all}.", all=choices, right=found.count(RIGHT)))
    return " ".join(words)


def _plain(value: Any) -> Any:
    """A number as Python's own, of a fraction the four digits that matter; a choice and None as they are."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None if value is None else str(value)
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.4g}")


DIGITS = ",.12g"
ONE_OF_MANY = re.compile("(?!times)[a-z]{3,}s")  # "1 candidate"; but what is not smaller is smaller 1 times


def _shown(value: float | str, unit: str) -> str:
    """A choice, or a number and its unit, between which no line ends; a Korean unit stands at its number."""
    value = _choice(value)
    if value == 1 and ONE_OF_MANY.fullmatch(unit):
        unit = unit[:-1]
    gap = "" if HANGUL.match(unit) or (unit.startswith("%") and language() == "ko") else "\u00a0"
    return value if isinstance(value, str) else f"{value:{DIGITS}}{gap}{unit}".rstrip()


def _choice(value: float | str) -> float | str:
    """A choice in the language that is spoken, with its value behind it, which is what one types. A number as it is."""
    if not isinstance(value, str):
        return value
    said = ", ".join(map(translated, value.split(", ")))
    return value if said == value else f"{said} ({value})"


def _off(yours: float | str, truth: float | str, unit: str) -> str:
    """How far off a guess is, as a sentence: a factor from two on, else a percentage; a difference around zero."""
    near = nearness(yours, truth)
    if near in (RIGHT, WRONG):
        return say("That is right.") if near == RIGHT else say("That is wrong.")
    if yours == truth:
        return say("Exactly.")
    if yours * truth <= 0:
        return say("It is {difference} away.", difference=_shown(_plain(abs(yours - truth)), unit))
    ratio = yours / truth if abs(yours) > abs(truth) else truth / yours
    if near == FAR:
        factor = {"factor": f"{ratio:.1f}"}
        return (
            say("{factor} times too high.", **factor)
            if yours > truth
            else say("{factor} times too low.", **factor)
        )
    percent = {"percent": f"{float(f'{100 * abs(yours / truth - 1):.2g}'):g}"}
    return (
        say("{percent} % too high.", **percent) if yours > truth else say("{percent} % too low.", **percent)
    )
