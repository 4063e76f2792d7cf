"""Measuring speed: prefill and decode apart, warmed up, repeated, with an interval.

Two questions, two measurements. `measure_decode`: how fast does this shape run, with fixed lengths, at each batch
size? `measure_per_token`: what would the hackathon's clock say, inference seconds over generated tokens on real
questions, where answers end when the model ends them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from exaone_nb.conversation.answers import Answer, Message, Mode, Sampling
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.serve.lengths import Lengths, lengths

INTERVAL_KIND = (
    "95 % t interval of the mean over repeats (over rounds, where there were several), on a log scale"
)


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` repeats of a positive quantity with a 95 % interval (None for a single repeat), and their values."""

    mean: float
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the mean's logarithm, whose standard error is that of the mean over the mean (delta method).

        A time is above zero, and so is this interval, however few the repeats.
        """
        if self.n < 2:
            return None
        from scipy.stats import t

        error = statistics.stdev(self.values) / math.sqrt(self.n)
        factor = math.exp(float(t.ppf(0.975, self.n - 1)) * error / self.mean)
        return self.mean / factor, self.mean * factor

    def overlaps(self, other: Estimate) -> bool:
        """True when the two intervals share a value: the repeats do not tell them apart."""
        mine, theirs = self.interval or (self.mean,) * 2, other.interval or (other.mean,) * 2
        return mine[0] <= theirs[1] and theirs[0] <= mine[1]


def estimate(values: Sequence[float]) -> Estimate:
    """An Estimate of at least one value."""
    if not values:
        raise UsageError("There is nothing to average.", expected="at least one repeat.")
    return Estimate(statistics.fmean(values), tuple(values))


def over_rounds(rounds: Sequence[Estimate]) -> Estimate:
    """Rounds as one Estimate with a value per round: repeats of one round share the machine's mood of that minute."""
    return rounds[0] if len(rounds) == 1 else estimate([found.mean for found in rounds])


@dataclass(frozen=True)
class Decode:
    """One batch size. `first_token` is seconds until every request has its first token, `per_token` for each one after.

    `tokens_per_second` counts generated tokens of all requests while nothing is read any more; `throughput` over the
    whole run, reading the prompts included.
    """

    batch: int
    prompt_tokens: int
    output_tokens: int
    first_token: Estimate
    per_token: Estimate
    tokens_per_second: Estimate
    throughput: Estimate

    @property
    def context(self) -> int:
        """Mean tokens in the cache while decoding."""
        return self.prompt_tokens + self.output_tokens // 2


def measure_decode(
    engine: VllmEngine,
    *,
    batch: int = 1,
    prompt_tokens: int = 128,
    output_tokens: int = 64,
    repeats: int = 5,
    warm_up: int = 1,
    vocabulary: int = 0,
    seed: int = 0,
) -> Decode:
    """Fixed-length generation of `batch` random prompts. Raises UsageError for lengths the engine cannot hold."""
    for name, value in {"batch": batch, "prompt_tokens": prompt_tokens, "repeats": repeats}.items():
        if value < 1:
            raise UsageError(f"{name} is {value}.", expected="a whole number of at least 1.")
    if output_tokens < 2:
        raise UsageError(
            f"output_tokens is {output_tokens}.", expected="at least 2: the first is the prefill's."
        )
    limit = engine.arguments["max_model_len"]
    if prompt_tokens + output_tokens > limit:
        raise UsageError(
            f"{prompt_tokens} prompt and {output_tokens} output tokens exceed max_model_len {limit}.",
            remedy="Shorten them, or open the engine with a larger max_model_len.",
        )
    import numpy as np

    draw = np.random.default_rng(seed)
    sampling = Sampling(max_tokens=output_tokens, ignore_eos=True)
    first, each, rate, overall = [], [], [], []
    for turn in range(warm_up + repeats):
        # Ids from 10 on: the first ones are special tokens in every tokenizer of the catalog.
        prompts = draw.integers(10, max(vocabulary or 1000, 11), size=(batch, prompt_tokens)).tolist()
        started = time.perf_counter()
        answers = engine.generate(prompts, sampling)
        seconds = time.perf_counter() - started
        if turn < warm_up:
            continue
        short = [a.output_tokens for a in answers if a.output_tokens != output_tokens]
        if short:
            raise WorkbookError(
                f"An answer has {short[0]} tokens.", expected=f"{output_tokens}, ends ignored."
            )
        all_read, step = _decode_step(answers)
        first.append(all_read)
        each.append(step)
        rate.append(batch / step)
        overall.append(batch * output_tokens / seconds)
    return Decode(
        batch,
        prompt_tokens,
        output_tokens,
        estimate(first),
        estimate(each),
        estimate(rate),
        estimate(overall),
    )


def _decode_step(answers: Sequence[Answer]) -> tuple[float, float]:
    """(seconds until every request has its first token, seconds per decode step from then on).

    Until the last prompt is read, the steps of those that write already contain the reading of others. So the step is
    taken from the requests whose prompts were read last: nothing was read any more while they wrote. Raises
    WorkbookError when the first answer was complete before the last prompt was read: then they never wrote together.
    """
    firsts = [(a.queued_seconds or 0.0) + a.first_token_seconds for a in answers]
    ends = [(a.queued_seconds or 0.0) + a.seconds for a in answers]
    all_read = max(firsts)
    if min(ends) <= all_read:
        raise WorkbookError(
            f"Some of the {len(answers)} answers were complete before the last prompt was read: they never ran together.",
            expected="room for all at once.",
            remedy="Measure a smaller batch or longer answers, or give the engine a larger KV cache, max_num_seqs (at least "
            "the batch) and max_num_batched_tokens (at least batch times prompt tokens).",
        )
    late = [
        (end - first) / (answer.output_tokens - 1)
        for answer, first, end in zip(answers, firsts, ends, strict=True)
        if first >= all_read - 1e-6
    ]
    return all_read, statistics.fmean(late)


@dataclass(frozen=True)
class PerToken:
    """The hackathon's figure: inference seconds over generated tokens, on `questions` questions, all at once.

    `longest_allowed` is where an answer was cut off: max_gen_toks, or less where max_model_len left less.
    """

    seconds_per_token: Estimate
    lengths: Lengths
    questions: int
    output_tokens: int
    longest_allowed: int = 0
    answers: tuple[Answer, ...] = field(default=(), repr=False)

    def details(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "output_tokens": self.output_tokens,
            "longest_allowed": self.longest_allowed,
            "lengths": asdict(self.lengths),
        }


def measure_per_token(
    engine: VllmEngine,
    conversations: Sequence[Sequence[Message]],
    *,
    mode: Mode = "non-reasoning",
    max_gen_toks: int = 16384,
    repeats: int = 3,
    warm_up: int = 1,
) -> PerToken:
    """Answer all conversations as one batch, greedily, through the chat template, and divide.

    `max_gen_toks` is cut to what max_model_len leaves, as lm-eval does. The lengths are those of the last repeat.
    """
    prompts = [engine.prompt_tokens(messages, mode) for messages in conversations]
    if not prompts:
        raise UsageError("There are no questions.", expected="at least one conversation.")
    if max_gen_toks < 1:
        raise UsageError(f"max_gen_toks is {max_gen_toks}.", expected="a whole number of at least 1.")
    room = engine.arguments["max_model_len"] - max(map(len, prompts))
    sampling = Sampling(max_tokens=max(min(max_gen_toks, room), 1))
    ratios: list[float] = []
    answers: list[Answer] = []
    for turn in range(warm_up + repeats):
        batch = prompts if turn >= warm_up else prompts[: max(len(prompts) // 8, 1)]
        started = time.perf_counter()
        answers = engine.generate(batch, sampling)
        seconds = time.perf_counter() - started
        if turn >= warm_up:
            ratios.append(seconds / sum(a.output_tokens for a in answers))
    total = sum(answer.output_tokens for answer in answers)
    return PerToken(
        estimate(ratios), lengths(answers), len(prompts), total, sampling.max_tokens, tuple(answers)
    )


def speed_norm(candidate: float, base: float) -> float:
    """The hackathon's SpeedNorm of two seconds-per-token figures: 1 - candidate / base. Slower is negative."""
    if not base > 0 or not candidate > 0:
        raise UsageError("Seconds per token must be above 0.", expected=f"got {candidate} and {base}.")
    return 1 - candidate / base
