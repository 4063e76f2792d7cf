"""What quantizing cost, token by token, in the terms of llama.cpp's `perplexity --kl-divergence`.

Two models read the same texts. For each judged token: how unlikely it was to either (perplexity), how far apart their
distributions are (KL), how much the probability of the token itself changed, and whether both find the same next token
most likely. Means hide the few tokens that break an answer, so the tail of the KL stands beside its mean.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from exaone_nb.compress.damage import Document, paired_difference, per_token, perplexity
from exaone_nb.statistics.bootstrap import clustered_quantile
from exaone_nb.statistics.estimate import Estimate

TAIL = 0.99


def compared(exact: Iterable[Any], other: Iterable[Any], texts: Sequence[Document]) -> dict[str, np.ndarray]:
    """Log-probabilities [tokens, vocabulary] of each text under two models, as sums per text and their number.

    [texts, 2] each: `baseline` and `candidate` (negative log-likelihood in nats), `kl` (D(baseline || candidate), nats),
    `same_top` (tokens for which both find the same one most likely), `change` and `change_squared` (of the token's
    probability, candidate minus baseline). `token_kl` [tokens, 2] is each token's KL and the number of its text.
    """
    rows: dict[str, list[tuple[float, int]]] = {}
    tails = []
    for number, (first, second, text) in enumerate(zip(exact, other, texts, strict=True)):
        second = second.to(first.device)
        targets = first.new_tensor(text.ids[text.start :]).long().unsqueeze(1)
        before, after = first.gather(1, targets), second.gather(1, targets)
        change = (after.exp() - before.exp()).double()
        kl = (first.exp() * (first - second)).sum(-1)
        sums = {
            "baseline": -before.sum(),
            "candidate": -after.sum(),
            "kl": kl.sum(),
            "same_top": (first.argmax(-1) == second.argmax(-1)).sum(),
            "change": change.sum(),
            "change_squared": change.square().sum(),
        }
        for name, value in sums.items():
            rows.setdefault(name, []).append((float(value), len(targets)))
        tails += [(value, number) for value in kl.tolist()]
    return {name: np.array(pairs) for name, pairs in (rows | {"token_kl": tails}).items()}


def summary(found: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """What `compared` found as estimates with 95 % intervals over texts.

    `perplexity`; `ratio`, the change of perplexity as a share (+0.02 is 2 % more); `loss` in nats per token, candidate
    minus baseline; `kl` and its 99th percentile `kl_tail`; `change` and `rms_change` of the token's probability (0 to 1);
    `same_top`, a share.
    """
    loss, squares = (
        paired_difference(found["baseline"], found["candidate"]),
        per_token(found["change_squared"]),
    )
    return {
        "perplexity": perplexity(found["candidate"]),
        "ratio": loss.map(math.expm1),
        "loss": loss,
        "kl": per_token(found["kl"]),
        "kl_tail": clustered_quantile(*found["token_kl"].T, TAIL),
        "change": per_token(found["change"]),
        "rms_change": squares.map(math.sqrt),
        "same_top": per_token(found["same_top"]),
    }
