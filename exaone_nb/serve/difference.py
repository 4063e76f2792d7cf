"""Where two greedy answers part: the first differing token, and how close the decision was there.

Quantization nudges every logit a little; the text changes only where the two best tokens were almost equal. After
that token the two answers are about different things, and comparing further tokens means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.serve.answers import Answer


@dataclass(frozen=True)
class Difference:
    """`position` counts output tokens from 0. Gaps are how much more likely (in nats) each model found its own token.

    A gap is None where the other's token was not among the recorded alternatives: it was further away than those.
    """

    position: int
    common: str
    base_token: str
    other_token: str
    base_gap: float | None
    other_gap: float | None


def first_difference(base: Answer, other: Answer, tokenizer: Any) -> Difference | None:
    """Compare token by token; None when the answers are the same. The end of a turn is a token too.

    Raises UsageError when an answer was made without logprobs.
    """
    if not base.top_logprobs or not other.top_logprobs:
        raise UsageError("These answers hold no log-probabilities.", remedy="Use Sampling(logprobs=5).")
    for position in range(max(len(base.token_ids), len(other.token_ids))):
        mine = base.token_ids[position] if position < len(base.token_ids) else None
        theirs = other.token_ids[position] if position < len(other.token_ids) else None
        if mine == theirs:
            continue
        names = [tokenizer.decode([token]) if token is not None else "(end)" for token in (mine, theirs)]
        return Difference(
            position,
            tokenizer.decode(list(base.token_ids[:position])),
            names[0],
            names[1],
            _gap(base, position, names[1]),
            _gap(other, position, names[0]),
        )
    return None


def _gap(answer: Answer, position: int, rival: str) -> float | None:
    if position >= len(answer.top_logprobs):
        return None
    step = answer.top_logprobs[position]
    chosen = next(iter(step.values()))
    return chosen - step[rival] if rival in step else None
