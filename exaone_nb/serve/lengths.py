"""How long the answers are, how many never ended, and how long everybody waited for the last few.

A batch is done when its longest answer is. One answer that runs to the limit of 16,384 tokens keeps a GPU busy for
minutes at the speed of a single request, and the time per token of the whole run with it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from exaone_nb.conversation.answers import Answer
from exaone_nb.errors import UsageError


@dataclass(frozen=True)
class Lengths:
    """Output tokens of one run over `n` requests. `tail_seconds`: from 95 % of the answers done to all done."""

    n: int
    mean: float
    median: float
    longest: int
    cut_off: int
    empty: int
    seconds: float
    tail_seconds: float

    @property
    def tail_share(self) -> float:
        """Share of the run's time that its last 5 % of answers took alone."""
        return self.tail_seconds / self.seconds if self.seconds else 0.0


def lengths(answers: Sequence[Answer]) -> Lengths:
    """Length statistics of one batch. Raises UsageError for an empty batch or answers without times."""
    if not answers:
        raise UsageError("There are no answers to look at.")
    ends = sorted(answer.seconds for answer in answers if answer.seconds is not None)
    if len(ends) != len(answers):
        raise UsageError("Some answers have no time.", remedy="Measure with the vllm engine in process.")
    tokens = sorted(answer.output_tokens for answer in answers)
    most = ends[max(math.ceil(0.95 * len(ends)) - 1, 0)]
    return Lengths(
        n=len(answers),
        mean=statistics.fmean(tokens),
        median=statistics.median(tokens),
        longest=tokens[-1],
        cut_off=sum(answer.finish_reason == "length" for answer in answers),
        empty=sum(not answer.text for answer in answers),
        seconds=ends[-1],
        tail_seconds=ends[-1] - most,
    )
