"""Judging what a learner wrote: right, not yet, or wrong and in which way."""

import dis
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from exaone_nb.errors import UsageError
from exaone_nb.exercises import attention, formats, memory, norms, recipes, scores, serving, tensors, words
from exaone_nb.exercises.exercise import Exercise, same
from exaone_nb.messages import say

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for subject in (tensors, memory, words, norms, attention, formats, recipes, serving, scores)
    for exercise in subject.EXERCISES
}

# What Python 3.11 to 3.13 make of a body that does nothing.
STUB = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


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
    found: list[Any] = []
    try:
        found.extend(exercise.each_answer(function))
    except Exception as error:  # whatever a learner's line does wrong
        text = say(
            "{name}: with {given} your line raises {kind}: {error}",
            name=name,
            given=_given(exercise, len(found)),
            kind=type(error).__name__,
            error=str(error),
        )
        return Judgement("wrong", text)
    if all(answer is None for answer in found):
        if _is_stub(function):
            return Judgement(
                "not yet", say("{name}: not yet. Write the line, and run the cell again.", name=name)
            )
        return Judgement(
            "wrong", say("{name}: your line gives nothing back. Begin it with `return`.", name=name)
        )
    expected = exercise.answers(exercise.right)
    if all(map(same, found, expected)):
        return Judgement("right", say("{name}: right. Inputs tried: {n}.", name=name, n=len(expected)))
    for wrong, hint in exercise.mistakes:
        if all(map(same, found, exercise.answers(wrong))):
            return Judgement("wrong", say("{name}: {hint}", name=name, hint=hint))
    first = next(n for n, pair in enumerate(zip(found, expected, strict=True)) if not same(*pair))
    right = expected[first]
    asked = {
        "name": name,
        "given": _given(exercise, first),
        "found": _written(found[first]),
        "expected": _written(right),
    }
    if isinstance(right, tuple) and np.ndim(found[first]) == 0:
        text = say(
            "{name}({given}) gives {found}, not {expected}: these are {n} values, with a comma between them.",
            n=len(right),
            **asked,
        )
    else:
        text = say("{name}({given}) gives {found}, not {expected}.", **asked)
    return Judgement("wrong", text)


def _given(exercise: Exercise, number: int) -> str:
    return ", ".join(map(str, exercise.inputs[number]))


def _written(answer: Any) -> str:
    """As Python writes it, but numbers of numpy as plain ones, also within a tuple or a list."""
    if isinstance(answer, np.generic):
        return str(answer.item())
    if type(answer) in (tuple, list):
        return str(type(answer)(one.item() if isinstance(one, np.generic) else one for one in answer))
    return str(answer)


def _is_stub(function: Callable[..., Any]) -> bool:
    """Whether nothing was written yet: the body has at most a docstring and `...`, both of which do nothing."""
    code = getattr(function, "__code__", None)
    return code is None or {step.opname for step in dis.get_instructions(code)} <= STUB
