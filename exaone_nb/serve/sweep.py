"""Raising the load on a server: 1, 2, 4 … users who ask at once, or requests per second, until a limit is broken.

    with Server(folder).wait() as server:
        found = sweep(server.engine(), questions(600), LoadOptions(first_token_s=0.5, per_token_s=0.05))

In bursts all users ask at the same moment and the next burst comes when every answer is there: the worst a server
sees. At a rate they come one by one, at random moments, whatever the server has finished.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import numpy as np

from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer, Message, Sampling
from exaone_nb.engines.dialects import ServerLoad
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.serve.capacity import Capacity, Level, LoadOptions, reason, saturated

LOOK_SECONDS = 0.2  # between two looks at what the server says of itself


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
        if levels[-1].broken(options) and saturated(levels):
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
                if (found := engine.load()) is None:
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
