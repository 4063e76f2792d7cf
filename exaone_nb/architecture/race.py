"""A short training race of the four arrangements on nano's data: same tokens, same start, same steps.

AdamW with a linear warm-up. The optimizer, the sizes and the number of steps are small enough for a laptop, so the
race shows how these runs behave and nothing about large models.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from exaone_nb.anatomy.arrangements import Arrangement
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.probes import next_token_loss
from exaone_nb.architecture.shape import Shape, require_some, whole
from exaone_nb.errors import UsageError
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
    whole("The number of steps", steps)
    whole("The batch", batch)
    if not 0 < learning_rate < 1:
        raise UsageError(f"The learning rate is {learning_rate!r}.", expected="between 0 and 1.")
    started = time.perf_counter()
    model = Decoder(shape, arrangement, seed=seed)
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
