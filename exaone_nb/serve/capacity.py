"""How many users a server holds: the same questions from 1, 2, 4 … users at once, until somebody waits too long.

A user waits twice: for the first token, and then for each further one. Both grow with the number of users, for
different reasons: prompts wait for each other to be read, which is arithmetic; a step that writes one token of every
answer reads the weights once for all, and takes longer only when arithmetic or the cache's bytes count. Where not all
answers fit into the cache, the rest wait in a queue. So the load is doubled until a limit is broken, and what the
server says of itself meanwhile (its queue, its cache) tells what broke it.

    with Server(folder).wait() as server:
        found = sweep(server.engine(), LoadOptions(first_token_s=0.5, per_token_s=0.05))

In bursts all users ask at the same moment and the next burst comes when every answer is there: the worst a server
sees. At a rate they come one by one, at random moments, whatever the server has finished.
"""

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import Any, Self

import numpy as np

from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer, Message, Mode, Sampling, check_mode
from exaone_nb.engines.dialects import ServerLoad, server_load
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say
from exaone_nb.statistics.bootstrap import clustered_quantile
from exaone_nb.statistics.estimate import Estimate

ARRIVALS = ("bursts", "rate")
LOOK_SECONDS = 0.2  # between two looks at what the server says of itself
GROWTH = 1.1  # a doubled load that gives less than this times the tokens per second saturates
# Below this share of the roof neither arithmetic nor bandwidth is what a step waits for.
LEAST_SHARE = 0.3
FULL_CACHE = 0.9


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What is asked and how long one may wait. Raises UsageError for numbers out of range.

    `most` ends the doubling: users in bursts, requests per second at a rate. Each level sends at least `requests`
    requests, in at least `bursts` bursts; each answer has `output_tokens` tokens, ends ignored. `runaway_tokens` lets
    the first answer of every burst write that many instead. Limits hold for 95 % of the answers: seconds to the first
    token, seconds per token after it, and seconds until an answer is complete (0: no limit).
    """

    arrival: str = "bursts"
    most: int = 64
    requests: int = 16
    bursts: int = 3
    output_tokens: int = 32
    runaway_tokens: int = 0
    mode: Mode = "non-reasoning"
    first_token_s: float = 1.0
    per_token_s: float = 0.1
    answer_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.arrival not in ARRIVALS:
            raise UsageError(
                say("arrival is {arrival!r}.", arrival=self.arrival), expected=" or ".join(ARRIVALS) + "."
            )
        for name, least in {
            "most": 1,
            "requests": 2,
            "bursts": 2,
            "output_tokens": 2,
            "runaway_tokens": 0,
        }.items():
            whole(name, getattr(self, name), least=least)
        for name in ("first_token_s", "per_token_s", "answer_s"):
            value = getattr(self, name)
            if not (0 < value < math.inf or (value == 0 and name == "answer_s")):
                raise UsageError(
                    say("{name} is {value!r}.", name=name, value=value), expected=say("seconds above 0.")
                )


@dataclass(frozen=True)
class Level:
    """One load: its answers in the order asked, and what the server said of itself meanwhile (None: nothing).

    `groups` says per answer which burst it belongs to; at a rate every answer is a group of its own. `seconds` is the
    whole level, from the first question to the last answer.
    """

    load: int
    answers: tuple[Answer, ...]
    groups: tuple[int, ...]
    seconds: float
    seen: ServerLoad | None = None

    def with_more(self, other: Self) -> Self:
        """Both measurements of this load as one."""
        groups = (*self.groups, *(1 + max(self.groups) + group for group in other.groups))
        seen = ServerLoad.worst([one.seen for one in (self, other) if one.seen])
        return replace(
            self,
            answers=self.answers + other.answers,
            groups=groups,
            seconds=self.seconds + other.seconds,
            seen=seen
            and replace(seen, preempted=sum(one.seen.preempted for one in (self, other) if one.seen)),
        )

    def _quantile(self, values: Sequence[float], share: float) -> Estimate:
        return clustered_quantile(np.array(values), np.array(self.groups), share)

    def first_token(self, share: float = 0.5) -> Estimate:
        """Seconds to the first token which `share` of the answers do not exceed, with its interval over the groups."""
        return self._quantile([answer.first_token_seconds for answer in self.answers], share)

    def per_token(self, share: float = 0.5) -> Estimate:
        """Seconds per token after the first."""
        return self._quantile(list(map(per_token_seconds, self.answers)), share)

    def complete(self, share: float = 0.5) -> Estimate:
        """Seconds from the question to the last token."""
        return self._quantile([answer.seconds for answer in self.answers], share)

    @property
    def throughput(self) -> float:
        """Generated tokens per second of all users together."""
        return sum(answer.output_tokens for answer in self.answers) / self.seconds

    def broken(self, options: LoadOptions) -> list[str]:
        """The limits that this level does not keep: "first token", "per token", "answer"."""
        limits = {
            "first token": (self.first_token, options.first_token_s),
            "per token": (self.per_token, options.per_token_s),
            "answer": (self.complete, options.answer_s or math.inf),
        }
        return [name for name, (measured, limit) in limits.items() if measured(0.95).value > limit]


def per_token_seconds(answer: Answer) -> float:
    """Seconds per token after the first one."""
    return (answer.seconds - answer.first_token_seconds) / max(answer.output_tokens - 1, 1)


@dataclass(frozen=True)
class Capacity:
    """A finished sweep. `within` is the last level before the first that broke a limit, None when the first did.

    `over` is that level, None when none broke one; `reason` says what stopped it: "compute", "bandwidth", "cache",
    "seats" (the server's own limit of answers at once), "one long answer", "overhead", or "step" where the machine behind
    the server is not known. `roof` is the best that the
    machine allows for a decode step at that load, where it is known.
    """

    model: str
    options: LoadOptions
    levels: tuple[Level, ...]
    within: Level | None
    over: Level | None
    reason: str = ""
    roof: Pass | None = None

    @property
    def saturated(self) -> bool:
        """Whether the last doubling hardly gave more tokens per second."""
        return _saturated(self.levels)

    @property
    def roof_share(self) -> float | None:
        """How much of the roof the steps of the level over the limits reached; None where it has none."""
        if self.roof is None or self.over is None:
            return None
        return self.roof.seconds / self.over.per_token().value

    def document(self) -> dict[str, Any]:
        """The whole as JSON."""
        return {
            "model": self.model,
            "options": asdict(self.options),
            "within": self.within and self.within.load,
            "over": self.over and self.over.load,
            "broken": self.over.broken(self.options) if self.over else [],
            "reason": self.reason,
            "roof_share": self.roof_share,
            "saturated": self.saturated,
            "levels": [
                {
                    "load": level.load,
                    "answers": len(level.answers),
                    "tokens_per_second": level.throughput,
                    **{
                        f"{name}_{mark}": getattr(level, name)(share).document()
                        for name in ("first_token", "per_token", "complete")
                        for mark, share in (("median", 0.5), ("p95", 0.95))
                    },
                    "server": level.seen and asdict(level.seen),
                }
                for level in self.levels
            ],
        }


def sweep(
    engine: EndpointEngine,
    questions: Sequence[Sequence[Message]],
    options: LoadOptions | None = None,
    *,
    model: str = "",
    roof: Callable[[int, int], Pass | None] = lambda batch, context: None,
    report: Callable[[Level], None] = lambda level: None,
) -> Capacity:
    """Double the load until a limit is broken and more load gives no more tokens, or `options.most` is reached.

    A load that breaks a limit is measured a second time, and both count.
    `roof` gives the best decode step of a batch at a context, in tokens. Raises WorkbookError when the server fails.
    """
    options = options or LoadOptions()
    if not questions:
        raise UsageError("There are no questions.", expected="at least one conversation.")
    engine.timed(questions[0], options.mode, Sampling(max_tokens=options.output_tokens))  # warms up
    levels: list[Level] = []
    load = 1
    while load <= options.most:
        asked = sum(len(level.answers) for level in levels)
        level = measure_level(engine, questions, load, options, skip=asked)
        if level.broken(
            options
        ):  # by chance? a moment in which something else ran is not what the server holds
            more = measure_level(engine, questions, load, options, skip=asked + len(level.answers))
            level = level.with_more(more)
        levels.append(level)
        report(levels[-1])
        if levels[-1].broken(options) and _saturated(levels):
            break
        load *= 2
    over = next((level for level in levels if level.broken(options)), None)
    before = levels[: levels.index(over)] if over else levels
    found = Capacity(model, options, tuple(levels), before[-1] if before else None, over)
    if over is None:
        return found
    first = over.answers[-1]
    context = first.prompt_tokens + first.output_tokens // 2
    found = replace(found, roof=roof(over.load, max(context, 1)) if options.arrival == "bursts" else None)
    return replace(found, reason=reason(found))


def measure_level(
    engine: EndpointEngine,
    questions: Sequence[Sequence[Message]],
    load: int,
    options: LoadOptions,
    skip: int = 0,
) -> Level:
    """One level: bursts of `load` users, or `load` requests per second.

    It begins with question number `skip`: a server that keeps prompts need not read one again that it knows.
    """
    sampling = Sampling(max_tokens=options.output_tokens, ignore_eos=True)
    runaway = replace(sampling, max_tokens=options.runaway_tokens or options.output_tokens)
    bursts = max(options.bursts, math.ceil(options.requests / load)) if options.arrival == "bursts" else 1
    count = load * bursts if options.arrival == "bursts" else options.requests
    gaps = np.random.default_rng(options.seed).exponential(1 / load, size=count)
    moments = np.zeros(count) if options.arrival == "bursts" else np.cumsum(gaps) - gaps[0]

    def ask(task: tuple[int, float]) -> Answer:
        number, moment = task
        time.sleep(max(0.0, began + moment - time.perf_counter()))
        first = number % load == 0 and options.arrival == "bursts"
        asked = runaway if first and load > 1 else sampling
        return engine.timed(questions[(skip + number) % len(questions)], options.mode, asked)

    answers: list[Answer] = []
    at_once = load if options.arrival == "bursts" else count
    # Its threads are daemons: after Ctrl-C no request in flight keeps the program from ending.
    with _watched(engine) as seen, ThreadPool(at_once) as pool:
        began = started = time.perf_counter()
        for burst in range(bursts):
            began = time.perf_counter()
            mine = range(burst * at_once, (burst + 1) * at_once)
            answers += pool.map(ask, [(number, float(moments[number])) for number in mine], chunksize=1)
        seconds = time.perf_counter() - started
    if any(answer.first_token_seconds is None for answer in answers):
        raise WorkbookError("An answer has no token.", remedy="Look at the server's log.")
    groups = [number // load for number in range(count)] if bursts > 1 else range(count)
    return Level(load, tuple(answers), tuple(groups), seconds, ServerLoad.worst(seen))


@contextmanager
def _watched(engine: EndpointEngine) -> Iterator[list[ServerLoad]]:
    """What the server says of itself inside the block, looked up from a thread; empty where it says nothing."""
    seen: list[ServerLoad] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            with suppress(WorkbookError):
                if (found := server_load(engine.address)) is None:
                    return
                seen.append(found)
            stop.wait(LOOK_SECONDS)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(LOOK_SECONDS + 5)


def _saturated(levels: Sequence[Level]) -> bool:
    return len(levels) > 1 and levels[-1].throughput < GROWTH * levels[-2].throughput


def reason(found: Capacity) -> str:
    """What stopped a sweep, by what was measured at the first level over the limits. See `Capacity`.

    The queue comes first: who waits for a seat waits for no arithmetic. Then a few answers that are much longer than
    the others. Then, for the first token, arithmetic: prompts are read. For the tokens after it the side of the roof that
    binds, unless the step is far below the roof; without a roof ("step") the two cannot be told apart.
    """
    over, broken = found.over, found.over.broken(found.options)
    if over.seen and over.seen.waiting and (over.seen.running < over.load or found.options.arrival == "rate"):
        return "cache" if over.seen.cache >= FULL_CACHE or over.seen.preempted else "seats"
    tokens = [answer.output_tokens for answer in over.answers]
    if broken == ["answer"] and max(tokens) > 4 * statistics.median_low(tokens):
        return "one long answer"
    if "per token" not in broken:
        return "compute"
    if found.roof is None:
        return "step"
    return found.roof.bound if found.roof_share >= LEAST_SHARE else "overhead"
