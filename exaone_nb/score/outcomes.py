"""What became of each item: right, wrong, or no usable answer, and of which kind.

A wrong answer says something about the model. A cut, an empty or an unreadable one may only say something about
the settings: too few tokens, a missing template, a parser that swallowed the text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from exaone_nb.messages import say

# Kinds of answers that could not be used. Several may hold together: an empty answer may have been cut as well.
UNUSABLE = ("unparsable", "truncated", "prompt_cut", "empty")
OUTCOMES = ("correct", "wrong", *UNUSABLE)
# What lm-eval's regex filters return when nothing matched.
UNPARSABLE = "[invalid]"


class EndedText(str):
    """A model's answer with the reason it ended: "stop", "length" (cut), "prompt" (its prompt was cut to fit the context),
    or "" when the backend does not say. `thought` says that the server put text beside the answer and none in it."""

    finish_reason: str = ""
    thought: bool = False

    @classmethod
    def of(cls, text: str, finish_reason: str | None, thought: bool = False) -> Self:
        answer = cls(text)
        answer.finish_reason, answer.thought = finish_reason or "", thought
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


def is_right(value: Any) -> bool:
    """Whether an item's value counts as right; of several instructions, whether all were followed."""
    return all(value) if isinstance(value, list | tuple) else value > 0


def flags_of(sample: dict[str, Any]) -> tuple[str, ...]:
    """What keeps the answer of one logged sample from being used: those of UNUSABLE that hold; empty for log-likelihoods."""
    response = first_response(sample.get("resps"))
    if not isinstance(response, str):
        return ()
    ended = finish_reason_of(sample)
    holds = {
        "unparsable": response.strip() and first_response(sample.get("filtered_resps")) == UNPARSABLE,
        "truncated": ended == "length",
        "prompt_cut": ended == "prompt",
        "empty": not response.strip(),
    }
    return tuple(name for name in UNUSABLE if holds[name])


def finish_reason_of(sample: dict[str, Any]) -> str:
    """Why the answer of a logged sample ended: as the engine says, or as our samples files note it; "" if nobody does."""
    response = first_response(sample.get("resps"))
    return getattr(response, "finish_reason", "") or sample.get("finish_reason", "")


def count_outcomes(flags: Iterable[tuple[str, ...]], values: Iterable[Any]) -> dict[str, int]:
    """How many items met each outcome, and how many answers were `unusable` for any reason.

    `flags` are those of `flags_of` for each item. An answer that is right all the same, though cut, counts as correct
    alone. correct + wrong + unusable is the number of items; the kinds of unusable answers may add up to more.
    """
    counts: Counter[str] = Counter()
    for found, value in zip(flags, values, strict=True):
        if is_right(value):
            counts["correct"] += 1
        elif found:
            counts.update((*found, "unusable"))
        else:
            counts["wrong"] += 1
    return {name: counts[name] for name in (*OUTCOMES, "unusable")}


def mostly_unusable(outcomes: Mapping[str, int], n: int, cut: int = 0) -> str:
    """The kind of answer (of UNUSABLE) that keeps most of `n` items from telling anything; empty when most can be used.

    `cut` counts every answer that was cut, the right ones among them: a number found in a torso is luck.
    """
    if 2 * cut > n:
        return "truncated"
    if 2 * outcomes.get("unusable", 0) <= n:
        return ""
    return max(UNUSABLE, key=lambda kind: outcomes.get(kind, 0))


def unusable_words(kind: str, source: str) -> str:
    """That most answers of `source` are of this kind, and what to change, in words."""
    words = {
        "truncated": say(
            "Most answers of {source} were cut. Give them room: PRESET=lecture-gsm8k (2,048 tokens an answer) or "
            "--max-gen-toks, and MAX_MODEL_LEN for prompt and answer together. A task that names its own limit keeps it: "
            "take another.",
            source=source,
        ),
        "unparsable": say(
            "In most answers of {source} no result was found. Read some (exaone-nb compare … --flips PAGE.html): the prompt "
            "does not ask for the format that the task reads, or the task does not suit the model.",
            source=source,
        ),
        "prompt_cut": say("Most prompts of {source} were cut. Raise MAX_MODEL_LEN.", source=source),
        "empty": say(
            "Most answers of {source} are empty. Look at the chat template, at THINKING, and on a server at its reasoning "
            "parser.",
            source=source,
        ),
    }
    return words[kind]


def warning_of(outcomes: dict[str, int], source: str) -> str:
    """A warning when no answer at all could be used: that is a setting, not a score. Empty when there is nothing to say."""
    n = outcomes.get("unusable", 0)
    if not n or outcomes["correct"] or outcomes["wrong"]:
        return ""
    fields = {"n": n, "source": source}
    if outcomes["empty"] == n:
        return say(
            "All {n} answers of {source} are empty. Look at the chat template, and on a server at its reasoning parser: it "
            "may have taken the answers for thoughts.",
            **fields,
        )
    if outcomes["unparsable"] == n:
        return say(
            "In all {n} answers of {source} no result was found ([invalid]). Read some: `--flips`.", **fields
        )
    return say(
        "None of the {n} answers of {source} can be used: they are cut, empty or unreadable.", **fields
    )


def first_response(value: Any) -> Any:
    """The first answer in lm-eval's nested lists; log-likelihoods stay pairs."""
    while isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        value = value[0]
    return value
