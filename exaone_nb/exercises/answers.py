"""Judging what a learner wrote: right, not yet, or wrong and in which way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from exaone_nb.errors import UsageError
from exaone_nb.exercises import attention, formats, memory, norms, recipes, scores, serving, tensors, words
from exaone_nb.exercises.exercise import Exercise, same
from exaone_nb.messages import say

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for subject in (tensors, memory, words, norms, attention, formats, recipes, serving, scores)
    for exercise in subject.EXERCISES
}


@dataclass(frozen=True)
class Judgement:
    """What is said of an answer."""

    state: Literal["right", "not yet", "wrong"]
    text: str


def grade(function: Callable[..., Any]) -> None:
    """Show what `judge` says, in the notebook."""
    from exaone_nb.show.notebook import note

    verdict = judge(function)
    note(verdict.text, "warning" if verdict.state == "wrong" else "note")


def judge(function: Callable[..., Any]) -> Judgement:
    """Compare a learner's function with the exercise of the same name. Raises UsageError where there is none."""
    name = getattr(function, "__name__", "")
    if name not in EXERCISES:
        got = say("There is no exercise {name}.", name=name or repr(function))
        raise UsageError(
            got, expected=say("a function named as one of: {names}.", names=", ".join(EXERCISES))
        )
    exercise = EXERCISES[name]
    try:
        found = exercise.answers(function)
    except Exception as error:  # whatever a learner's line does wrong
        text = say(
            "{name}: your line raises {kind}: {error}", name=name, kind=type(error).__name__, error=str(error)
        )
        return Judgement("wrong", text)
    if all(answer is None for answer in found):
        return Judgement(
            "not yet", say("{name}: not yet. Write the line, and run the cell again.", name=name)
        )
    expected = exercise.answers(exercise.right)
    if all(map(same, found, expected)):
        return Judgement("right", say("{name}: right. Inputs tried: {n}.", name=name, n=len(expected)))
    for wrong, hint in exercise.mistakes:
        if all(map(same, found, exercise.answers(wrong))):
            return Judgement("wrong", say("{name}: {hint}", name=name, hint=hint))
    first = next(n for n, pair in enumerate(zip(found, expected, strict=True)) if not same(*pair))
    given = ", ".join(map(str, exercise.inputs[first]))
    text = say(
        "{name}({given}) gives {found}, not {expected}.",
        name=name,
        given=given,
        found=str(found[first]),
        expected=str(expected[first]),
    )
    return Judgement("wrong", text)
