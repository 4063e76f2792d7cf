"""A short training race of the four arrangements on nano's data: same tokens, same start, same steps.

AdamW with a linear warm-up. The optimizer, the sizes and the number of steps are small enough for a laptop, so the
race shows how these runs behave and nothing about large models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from exaone_nb.anatomy.arrangements import Arrangement
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.probes import next_token_loss
from exaone_nb.architecture.shape import Shape, require_some, whole
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.paths import NANO
from exaone_nb.threads import set_torch_threads

LENGTH = 64  # tokens per row


@dataclass(frozen=True)
class Run:
    """One trained model. `losses` per step in nats per token; `largest_gradient` before clipping, of all steps."""

    arrangement: str
    learning_rate: float
    seed: int
    losses: tuple[float, ...]
    validation: float
    largest_gradient: float
    seconds: float


def nano_rows(rows: int, seed: int, split: str = "train", folder: str | Path = NANO) -> Tensor:
    """`rows` x LENGTH token ids of nano's conversations, back to back, by the tokenizer in `folder`. Seeded."""
    from transformers import AutoTokenizer

    from exaone_nb.nano.conversations import conversations
    from exaone_nb.nano.train import encode

    tokenizer = AutoTokenizer.from_pretrained(folder)
    stream: list[int] = []
    items = conversations(split, seed)
    while len(stream) < rows * LENGTH:
        stream += encode(tokenizer, next(items))[0]
    return torch.tensor(stream[: rows * LENGTH]).view(rows, LENGTH)


def fit(
    model: Decoder, data: Tensor, *, learning_rate: float, steps: int, seed: int, batch: int = 8
) -> tuple[list[float], float]:
    """Train a model in place: its loss per step, and the largest gradient norm before clipping, of all steps.

    `seed` decides the order of the rows of `data`. Raises UsageError for impossible settings.
    """
    whole(say("The number of steps"), steps)
    whole(say("The batch"), batch)
    if not 0 < learning_rate < 1:
        got = say("The learning rate is {learning_rate!r}.", learning_rate=learning_rate)
        raise UsageError(got, expected="between 0 and 1.")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    warmup = max(1, steps // 10)
    losses, largest = [], 0.0
    order = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / warmup)
        loss = next_token_loss(model, data[torch.randint(len(data), (batch,), generator=order)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        largest = max(largest, torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, largest


def train(
    arrangement: Arrangement,
    shape: Shape,
    data: Tensor,
    held_out: Tensor,
    *,
    learning_rate: float,
    steps: int,
    seed: int,
    batch: int = 8,
) -> Run:
    """Train one model from `seed` and measure its loss on `held_out`. Raises UsageError for impossible settings."""
    started = time.perf_counter()
    model = Decoder(shape, arrangement, seed=seed)
    losses, largest = fit(model, data, learning_rate=learning_rate, steps=steps, seed=seed, batch=batch)
    with torch.no_grad():
        validation = next_token_loss(model, held_out).item()
    seconds = time.perf_counter() - started
    return Run(arrangement.name, learning_rate, seed, tuple(losses), validation, largest, seconds)


def race(
    arrangements: Sequence[Arrangement],
    shape: Shape,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    *,
    steps: int,
) -> list[Run]:
    """Every combination. A seed fixes the start and the order of the data, so runs of one seed are paired."""
    require_some("Learning rates", learning_rates)
    require_some("Seeds", seeds)
    data, held_out = nano_rows(1024, seed=0), nano_rows(32, seed=1, split="validation")
    threads = set_torch_threads(
        1
    )  # matrices this small gain nothing from more, and lose much on a busy machine
    try:
        return [
            train(arrangement, shape, data, held_out, learning_rate=rate, steps=steps, seed=seed)
            for seed, rate, arrangement in product(seeds, learning_rates, arrangements)
        ]
    finally:
        set_torch_threads(threads)


@dataclass(frozen=True)
class Standing:
    """One arrangement at one learning rate: the validation losses of its seeds in nats per token, and the largest gradient."""

    arrangement: str
    learning_rate: float
    losses: tuple[float, ...]
    largest_gradient: float

    @property
    def mean(self) -> float:
        return fmean(self.losses)

    def apart_from(self, other: Standing) -> bool:
        """Whether every seed of one ended below every seed of the other."""
        return max(self.losses) < min(other.losses) or max(other.losses) < min(self.losses)


def standings(runs: Sequence[Run]) -> list[Standing]:
    """Every arrangement at every learning rate, smallest rate and lowest mean loss first."""
    found: dict[tuple[float, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.learning_rate, run.arrangement), []).append(run)
    made = [
        Standing(name, rate, tuple(r.validation for r in some), max(r.largest_gradient for r in some))
        for (rate, name), some in found.items()
    ]
    return sorted(made, key=lambda one: (one.learning_rate, one.mean))


def rises(runs: Sequence[Run]) -> list[tuple[str, float, float]]:
    """(arrangement, mean loss at the smallest learning rate, at the largest), the least harmed first."""
    table = standings(runs)
    low, high = table[0].learning_rate, table[-1].learning_rate
    ends = {one.arrangement: one.mean for one in table if one.learning_rate == high}
    starts = {one.arrangement: one.mean for one in table if one.learning_rate == low}
    return sorted(((name, starts[name], ends[name]) for name in starts), key=lambda r: (r[2] - r[1], r[0]))


def conclusions(runs: Sequence[Run]) -> list[str]:
    """What these runs say, in sentences: who is lowest at each learning rate, and whom the largest one harms least."""
    table = standings(runs)
    sentences = []
    for rate in dict.fromkeys(one.learning_rate for one in table):
        best, *others = (one for one in table if one.learning_rate == rate)
        tied = ", ".join(other.arrangement for other in others if not best.apart_from(other))
        if tied:
            words = say(
                "At learning rate {b.learning_rate:g} {b.arrangement} ends lowest, {b.mean:.2f} nats per token, but these "
                "seeds do not tell it apart from {tied}.",
                b=best,
                tied=tied,
            )
        else:
            words = say(
                "At learning rate {b.learning_rate:g} {b.arrangement} ends lowest, {b.mean:.2f} nats per token, with every "
                "seed below every other's.",
                b=best,
            )
        sentences.append(words)
    low, high = table[0].learning_rate, table[-1].learning_rate
    if low < high:
        moves = "; ".join(
            say("{name} {start:.2f} to {end:.2f}", name=name, start=start, end=end)
            for name, start, end in rises(runs)
        )
        sentences.append(
            say(
                "From learning rate {low:g} to {high:g}, the least harmed first: {moves}.",
                low=low,
                high=high,
                moves=moves,
            )
        )
    return sentences
