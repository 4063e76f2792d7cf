"""Where two greedy answers part: the first differing token, and how close the decision was there.

Quantization nudges every logit a little; the text changes only where the two best tokens were almost equal. After
that token the two answers are about different things, and comparing further tokens means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone_nb.conversation.answers import Answer
from exaone_nb.errors import UsageError


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
        names = [_name(tokenizer, token) for token in (mine, theirs)]
        return Difference(
            position,
            tokenizer.decode(list(base.token_ids[:position])),
            names[0],
            names[1],
            _gap(base, position, theirs),
            _gap(other, position, mine),
        )
    return None


def _name(tokenizer: Any, token: int | None) -> str:
    """A token as a reader sees it; a part of a letter has no text of its own, and two of them would look the same."""
    if token is None:
        return "(end)"
    text = tokenizer.decode([token])
    return text if text and "\ufffd" not in text else f"(part of a letter, token {token})"


def _gap(answer: Answer, position: int, rival: int | None) -> float | None:
    if rival is None or position >= len(answer.top_logprobs):
        return None
    step = answer.top_logprobs[position]
    return step[answer.token_ids[position]] - step[rival] if rival in step else None
