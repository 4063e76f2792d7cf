"""Capacity of a checkpoint behind a server: ours, started for it, or one that runs already. The load is raised until it is
too much: 1, 2, 4 … users who ask at once, or requests per second.

    found = capacity_of("nano", LoadOptions(first_token_s=0.5, per_token_s=0.05))

In bursts all users ask at the same moment and the next burst comes when every answer is there: the worst a server
sees. At a rate they come one by one, at random moments, whatever the server has finished.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer, Message, Sampling
from exaone_nb.engines.choice import choose_engine
from exaone_nb.engines.dialects import ServerLoad
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.environment import has_gpu
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
from exaone_nb.engines.options import threads_for
from exaone_nb.engines.server import Server
from exaone_nb.engines.vllm_adapter import UNKNOWN
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.quantization.config import preset_name, read_quantization
from exaone_nb.results import RunFolder
from exaone_nb.serve.bandwidth import measure_roof, roof_of
from exaone_nb.serve.bench import questions
from exaone_nb.serve.capacity import Capacity, Level, LoadOptions, reason, saturated

QUESTIONS = 600  # all there are: no two requests of a sweep ask the same, as long as they last
INTERVAL_KIND = "95 % percentile interval over bursts (at a rate: over answers)"
LOOK_SECONDS = 0.2  # between two looks at what the server says of itself


def capacity_of(
    model: str,
    options: LoadOptions | None = None,
    *,
    address: str = "",
    key: str = "",
    name: str = "",
    report: Callable[[Level], None] = lambda level: None,
    first: Callable[[EndpointEngine], None] = lambda engine: None,
    **server: Any,
) -> Capacity:
    """Sweep over the server at `address`, or over a server that is started here for `model` and ended afterwards.

    That is vLLM's, or llama.cpp's for what vLLM does not run here. `server` are options of either, `name` is what the
    checkpoint is called; `first` gets the client before anything is measured. Raises WorkbookError when the server cannot
    start or fails.
    """
    asked, ways, options = questions(QUESTIONS), {"report": report}, options or LoadOptions()
    if address:
        with EndpointEngine(address, key) as engine:
            first(engine)
            served = engine.model  # llama.cpp's is the path of its file
            label = Path(served).name if served.startswith("/") else served
            return sweep(engine, asked, options, model=name or label, **ways)
    folder = catalog.weights_folder(model)
    config = catalog.read_config(folder / "config.json")
    roof = measure_roof()
    scheme = preset_name(read_quantization(config)) or UNKNOWN

    def at_best(batch: int, context: int) -> Pass | None:
        return roof_of(config, scheme, roof, batch=batch, context=context)

    with _started(folder, config, options.most, server) as engine:
        first(engine)
        return sweep(engine, asked, options, model=name or model, roof=at_best, **ways)


@contextmanager
def _started(
    folder: Path, config: dict[str, Any], most: int, options: dict[str, Any]
) -> Iterator[EndpointEngine]:
    """A client of a server with the model in `folder`, which ends with the block; `most` answers at once are to fit."""
    if choose_engine(folder=folder).name == "llama.cpp":
        with (
            LlamacppEngine(folder, max_num_seqs=most, **options) as own,
            EndpointEngine(f"{own.server.address}/v1", own.server.key) as engine,
        ):
            yield engine
        return
    defaults = {"threads": threads_for(config), "eager": not has_gpu()}
    with Server(folder, **defaults | options) as server, server.wait(600).engine() as engine:
        yield engine


def sweep(
    engine: EndpointEngine,
    conversations: Sequence[Sequence[Message]],
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
    if not conversations:
        raise UsageError("There are no questions.", expected="at least one conversation.")
    engine.timed(conversations[0], options.mode, Sampling(max_tokens=options.output_tokens))  # warms up
    levels: list[Level] = []
    load = 1
    while load <= options.most:
        asked = sum(len(level.answers) for level in levels)
        level = measure_level(engine, conversations, load, options, skip=asked)
        # By chance? A moment in which something else ran is not what the server holds.
        if level.broken(options):
            more = measure_level(engine, conversations, load, options, skip=asked + len(level.answers))
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
    conversations: Sequence[Sequence[Message]],
    load: int,
    options: LoadOptions,
    skip: int = 0,
) -> Level:
    """One level: bursts of `load` users, or `load` requests per second.

    It begins with conversation number `skip`: a server that keeps prompts need not read one again that it knows.
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
        return engine.timed(conversations[(skip + number) % len(conversations)], options.mode, asked)

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


def runaway(
    engine: EndpointEngine, conversations: Sequence[Sequence[Message]], tokens: int, most: int = 256
) -> tuple[list[Answer], list[Answer]]:
    """Every conversation at once, answers ending by themselves or after `most` tokens: (as they are, with a runaway).

    The second time the first conversation ignores its end and goes on for `tokens` tokens.
    """
    usual = Sampling(max_tokens=most)
    engine.timed(conversations[0], sampling=usual)  # warms up
    runs = []
    for longest in (usual, replace(usual, max_tokens=tokens, ignore_eos=True)):
        tasks = [(words, longest if number == 0 else usual) for number, words in enumerate(conversations)]
        with ThreadPool(len(tasks)) as pool:
            work = partial(_answer, engine)
            runs.append(pool.map(work, tasks, chunksize=1))
    return runs[0], runs[1]


def _answer(engine: EndpointEngine, task: tuple[Sequence[Message], Sampling]) -> Answer:
    return engine.timed(task[0], sampling=task[1])


def record(run: RunFolder, found: Capacity, recipe: str) -> None:
    """Write "capacity" of one checkpoint into the run: the users within the limits, and every level."""
    run.write_result(
        "capacity",
        recipe=recipe,
        value=found.within.load if found.within else 0,
        unit="requests/s" if found.options.arrival == "rate" else "users",
        n=sum(len(level.answers) for level in found.levels),
        interval_kind=INTERVAL_KIND,
        parameters=found.document()["options"],
        details=found.document(),
        model=found.model,
    )
