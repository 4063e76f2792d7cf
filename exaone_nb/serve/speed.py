"""Measuring speed: prefill and decode apart, warmed up, repeated, with an interval.

Two questions, two measurements. `measure_decode`: how fast does this shape run, with fixed lengths, at each batch
size? `measure_per_token`: what would the hackathon's clock say, inference seconds over generated tokens on real
questions, where answers end when the model ends them. A batch is done when its longest answer is: one that runs to the
limit of 16,384 tokens keeps a GPU busy for minutes at the speed of a single request, and the time per token of the
whole run with it. So the lengths are kept too.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from exaone_nb import judging
from exaone_nb.conversation.answers import Answer, Message, Mode, Sampling
from exaone_nb.engines.token_engine import TokenEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say
from exaone_nb.statistics.estimate import INTERVAL_KIND, Estimate, over_repeats

# Tokens after which it is asked, under a time budget, whether the answers end by themselves: few at first, because a large
# model on a CPU takes minutes for the second number.
LOOKS = (32, 256)


@dataclass(frozen=True)
class Decode:
    """One batch size, by the values of each repeat; `pooled` makes one value of a round.

    `first_tokens` are seconds until every request has its first token, `steps` seconds per token for each one after,
    `wholes` seconds of the whole run, the reading of the prompts included.
    """

    batch: int
    prompt_tokens: int
    output_tokens: int
    first_tokens: tuple[float, ...]
    steps: tuple[float, ...]
    wholes: tuple[float, ...]

    @property
    def context(self) -> int:
        """Mean tokens in the cache while decoding."""
        return self.prompt_tokens + self.output_tokens // 2

    @property
    def first_token(self) -> Estimate:
        return over_repeats(self.first_tokens)

    @property
    def per_token(self) -> Estimate:
        """Seconds per decode step, which writes one token of each request."""
        return over_repeats(self.steps)

    @property
    def tokens_per_second(self) -> Estimate:
        """Generated tokens of all requests per second while nothing is read any more."""
        return over_repeats([self.batch / step for step in self.steps])

    @property
    def throughput(self) -> Estimate:
        """Generated tokens per second over the whole run."""
        return over_repeats([self.batch * self.output_tokens / whole for whole in self.wholes])

    @classmethod
    def pooled(cls, rounds: Sequence[Self]) -> Self:
        """Several rounds as one, a value per round: repeats a few seconds apart agree better than rounds do."""
        values = {
            name: tuple(statistics.fmean(getattr(found, name)) for found in rounds)
            for name in ("first_tokens", "steps", "wholes")
        }
        return replace(rounds[-1], **values)


def measure_decode(
    engine: TokenEngine,
    *,
    batch: int = 1,
    prompt_tokens: int = 128,
    output_tokens: int = 64,
    repeats: int = 5,
    vocabulary: int = 1000,
) -> Decode:
    """Fixed-length generation of `batch` random prompts. Raises UsageError for lengths the engine cannot hold."""
    for name, value in {"batch": batch, "prompt_tokens": prompt_tokens, "repeats": repeats}.items():
        whole(name, value)
    whole("output_tokens", output_tokens, least=2)  # the first is the prefill's
    limit = engine.arguments["max_model_len"]
    if prompt_tokens + output_tokens > limit:
        got = say(
            "{prompt} prompt and {output} output tokens exceed max_model_len {limit}.",
            prompt=prompt_tokens, output=output_tokens, limit=limit,
        )  # fmt: skip
        raise UsageError(got, remedy="Shorten them, or open the engine with a larger max_model_len.")
    import numpy as np

    draw = np.random.default_rng(0)
    sampling = Sampling(max_tokens=output_tokens, ignore_eos=True)
    runs = []
    for turn in range(1 + repeats):  # the first warms up
        # Ids from 10 on: the first ones are special tokens in every tokenizer of the catalog.
        prompts = draw.integers(10, max(vocabulary, 11), size=(batch, prompt_tokens)).tolist()
        answers, seconds = _timed(engine, prompts, sampling)
        for made in {answer.output_tokens for answer in answers} - {output_tokens}:
            asked = say("{n}, ends ignored.", n=output_tokens)
            raise WorkbookError(say("An answer has {n} tokens.", n=made), expected=asked)
        if turn:
            runs.append((*_decode_step(answers), seconds))
    return Decode(batch, prompt_tokens, output_tokens, *zip(*runs, strict=True))


def _timed(engine: TokenEngine, prompts: Any, sampling: Sampling) -> tuple[list[Answer], float]:
    started = time.perf_counter()
    answers = engine.generate(prompts, sampling)
    return answers, time.perf_counter() - started


def _decode_step(answers: Sequence[Answer]) -> tuple[float, float]:
    """(seconds until every request has its first token, seconds per decode step from then on).

    Until the last prompt is read, the steps of those that write already contain the reading of others. So the step is
    taken from the requests whose prompts were read last: nothing was read any more while they wrote. Raises
    WorkbookError when the first answer was complete before the last prompt was read: then they never wrote together.
    """
    times = [  # of each answer: its first token and its last, on the clock of the batch
        ((a.queued_seconds or 0.0) + a.first_token_seconds, (a.queued_seconds or 0.0) + a.seconds, a)
        for a in answers
    ]
    all_read = max(first for first, _, _ in times)
    if min(end for _, end, _ in times) <= all_read:
        got = say(
            "Some of the {count} answers were complete before the last prompt was read: they never ran together.",
            count=len(answers),
        )
        raise WorkbookError(
            got,
            expected="room for all at once.",
            remedy="Measure a smaller batch or longer answers, or give the engine a larger KV cache, max_num_seqs (at least "
            "the batch) and max_num_batched_tokens (at least batch times prompt tokens).",
        )
    late = [(end - first) / (a.output_tokens - 1) for first, end, a in times if first >= all_read - 1e-6]
    return all_read, statistics.fmean(late)


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
        raise UsageError(
            "Some answers have no time.",
            remedy="Measure with vLLM or llama.cpp here, not through an endpoint.",
        )
    tokens = sorted(answer.output_tokens for answer in answers)
    most = ends[max(math.ceil(0.95 * len(ends)) - 1, 0)]
    return Lengths(
        n=len(answers),
        mean=statistics.fmean(tokens),
        median=statistics.median(tokens),
        longest=tokens[-1],
        cut_off=sum(map(_is_cut, answers)),
        empty=sum(not answer.text for answer in answers),
        seconds=ends[-1],
        tail_seconds=ends[-1] - most,
    )


@dataclass(frozen=True)
class PerToken:
    """The hackathon's figure: inference seconds over generated tokens, on `questions` questions, all at once.

    `values` are seconds per token, one per repeat or round. `longest_allowed` is where an answer was cut off: max_gen_toks,
    or less where max_model_len left less, or where `budget_s`, seconds for all repeats, would not have held more (0: it did).
    """

    values: tuple[float, ...]
    lengths: Lengths
    questions: int
    output_tokens: int
    longest_allowed: int = 0
    budget_s: float = 0.0
    answers: tuple[Answer, ...] = field(default=(), repr=False)

    @property
    def seconds_per_token(self) -> Estimate:
        return over_repeats(self.values)

    @classmethod
    def pooled(cls, rounds: Sequence[Self]) -> Self:
        """Several rounds as one, a value per round."""
        values = tuple(found.seconds_per_token.value for found in rounds)
        return replace(rounds[-1], values=values, budget_s=max(found.budget_s for found in rounds))

    def speed_norm(self, base: Self) -> Estimate:
        """SpeedNorm against `base`, each round's figure against the same round's, since slow rounds slow both.

        Without an interval where the two were not measured in the same rounds.
        """
        norm = float(judging.speed_norm(self.seconds_per_token.value, base.seconds_per_token.value))
        if self is base or len(self.values) != len(base.values):
            return Estimate(norm, n=len(self.values))
        ratio = over_repeats([mine / other for mine, other in zip(self.values, base.values, strict=True)])
        low, high = (1 - bound for bound in reversed(ratio.interval)) if ratio.interval else (None, None)
        return Estimate(norm, low, high, len(self.values))

    def document(self) -> dict[str, Any]:
        """The figure and its details as JSON."""
        seconds = self.seconds_per_token
        figure = {"seconds": seconds.value, "interval": seconds.interval, "interval_kind": INTERVAL_KIND}
        return figure | {"repeats": len(self.values)} | self.details()

    def details(self) -> dict[str, Any]:
        """What a record keeps beside the figure; `values` lets two checkpoints be compared round by round."""
        same = ("questions", "output_tokens", "longest_allowed", "budget_s")
        found = {name: getattr(self, name) for name in same}
        return found | {"lengths": asdict(self.lengths), "values": list(self.values)}


def measure_per_token(
    engine: TokenEngine,
    conversations: Sequence[Sequence[Message]],
    *,
    mode: Mode = "non-reasoning",
    max_gen_toks: int = 16384,
    repeats: int = 3,
    budget_s: float = 0.0,
) -> PerToken:
    """Answer all conversations as one batch, greedily, through the chat template, and divide.

    `max_gen_toks` is cut to what max_model_len leaves, as lm-eval does, and, for a model that does not end its answers, to
    what `budget_s` seconds hold (0: no matter how long). The lengths are those of the last repeat.
    """
    prompts = [engine.prompt_tokens(messages, mode) for messages in conversations]
    if not prompts:
        raise UsageError("There are no questions.", expected="at least one conversation.")
    whole("max_gen_toks", max_gen_toks)
    whole("repeats", repeats)
    room = engine.arguments["max_model_len"] - max(map(len, prompts))
    wanted = allowed = max(min(max_gen_toks, room), 1)
    first = min(LOOKS[0], wanted) if budget_s else wanted
    _timed(engine, prompts[: max(len(prompts) // 8, 1)], Sampling(max_tokens=first))  # warms up
    runs: list[tuple[list[Answer], float]] = []
    for look in LOOKS if budget_s else ():
        length = min(look, allowed)
        looked = _timed(engine, prompts, Sampling(max_tokens=length))
        allowed = _affordable(*looked, length, wanted, budget_s / repeats)
        if length == allowed or not any(_is_cut(answer) for answer in looked[0]):
            runs.append(looked)  # nothing would have been longer
            break
    while len(runs) < repeats:
        runs.append(_timed(engine, prompts, Sampling(max_tokens=allowed)))
    ratios = [seconds / sum(answer.output_tokens for answer in answers) for answers, seconds in runs]
    answers, _ = runs[-1]
    total = sum(answer.output_tokens for answer in answers)
    spent = budget_s if allowed < wanted else 0.0
    return PerToken(tuple(ratios), lengths(answers), len(prompts), total, allowed, spent, tuple(answers))


def _is_cut(answer: Answer) -> bool:
    return answer.finish_reason == "length"


def _affordable(answers: Sequence[Answer], seconds: float, looked: int, wanted: int, budget_s: float) -> int:
    """How many tokens an answer may have when one run may take `budget_s`, after `looked` tokens took `seconds`.

    `wanted` when every answer ended by itself; never less than `looked`.
    """
    if not any(map(_is_cut, answers)):
        return wanted
    return min(wanted, max(looked, int(looked * budget_s / seconds)))
