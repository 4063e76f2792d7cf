"""What an exercise is: the right answer, the inputs it is asked on, and the known ways to go wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Exercise:
    """One function that the learner writes; its name is that of `right`.

    `inputs` are the arguments of each call. `mistakes` are pairs: a wrong answer that learners give, and the words that
    name it. `seen` turns an answer into what is compared, for answers that can be written in several ways, such as a
    pattern, which counts by what it matches.
    """

    right: Callable[..., Any]
    inputs: Sequence[tuple[Any, ...]]
    mistakes: Sequence[tuple[Callable[..., Any], str]]
    seen: Callable[[Any], Any] = field(default=lambda answer: answer)

    @property
    def name(self) -> str:
        return self.right.__name__

    def answers(self, function: Callable[..., Any]) -> list[Any]:
        """What `function` gives for each input; arrays are handed over as copies."""
        return list(self.each_answer(function))

    def each_answer(self, function: Callable[..., Any]) -> Iterator[Any]:
        """The same one by one: who counts knows at which input a function failed."""
        for given in self.inputs:
            answer = function(*map(copied, given))
            yield None if answer is None else self.seen(answer)


def copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def same(found: Any, expected: Any) -> bool:
    """Numbers and arrays up to rounding, anything else exactly; a list is no substitute for a string."""
    if isinstance(expected, (str, bool, type(None))) or isinstance(found, (str, type(None))):
        return type(found) is type(expected) and found == expected
    if isinstance(expected, (dict, set)):
        return bool(found == expected)
    try:
        left, right = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return bool(found == expected)
    return left.shape == right.shape and bool(np.allclose(left, right, rtol=1e-6, atol=1e-9))
