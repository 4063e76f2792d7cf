"""What became of each item: right, wrong, or no usable answer, and of which kind.

A wrong answer says something about the model. A cut, an empty or an unreadable one may only say something about
the settings: too few tokens, a missing template, a parser that swallowed the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

UNUSABLE = ("unparsable", "truncated", "empty")
OUTCOMES = ("correct", "wrong", *UNUSABLE)
# What lm-eval's regex filters return when nothing matched.
UNPARSABLE = "[invalid]"


class EndedText(str):
    """A model's answer with the reason it ended: "stop", "length" (cut), or "" when the backend does not say."""

    finish_reason: str = ""

    @classmethod
    def of(cls, text: str, finish_reason: str | None) -> EndedText:
        answer = cls(text)
        answer.finish_reason = finish_reason or ""
        return answer


@dataclass(frozen=True)
class MetricName:
    """A metric of one filter, as lm-eval writes them: `exact_match,flexible-extract`."""

    metric: str
    filter: str = "none"

    def __str__(self) -> str:
        return f"{self.metric},{self.filter}"


# The lecture's headline 0.6484 is flexible-extract; strict-match also tests the format.
PREFERRED_FILTERS = ("flexible-extract", "none", "strict-match")


def main_metric(metrics: Sequence[str], filters: Iterable[str]) -> MetricName:
    """The metric a score is quoted by: the task's first metric, under the most forgiving filter."""
    names = list(filters)
    preferred = [name for name in PREFERRED_FILTERS if name in names]
    return MetricName(metrics[0], (preferred or names)[0])


def outcome_of(sample: dict[str, Any], value: float) -> str:
    """One of OUTCOMES for one logged sample. A cut answer that is right all the same counts as correct."""
    if value > 0:
        return "correct"
    response = first_response(sample.get("resps"))
    if not isinstance(response, str):  # log-likelihoods are never cut or empty
        return "wrong"
    if not response.strip():
        return "empty"
    if was_cut(response):
        return "truncated"
    return "unparsable" if first_response(sample.get("filtered_resps")) == UNPARSABLE else "wrong"


def was_cut(response: Any) -> bool:
    """True for an answer that ended at its limit, or whose prompt was cut to fit the context."""
    return isinstance(response, EndedText) and response.finish_reason in ("length", "prompt")


def count_outcomes(samples: Sequence[dict[str, Any]], values: Sequence[float]) -> dict[str, int]:
    """How many items met each outcome; the counts add up to the number of items."""
    counts = Counter(outcome_of(sample, value) for sample, value in zip(samples, values, strict=True))
    return {name: counts.get(name, 0) for name in OUTCOMES}


def first_response(value: Any) -> Any:
    """The first answer in lm-eval's nested lists; log-likelihoods stay pairs."""
    while isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        value = value[0]
    return value
