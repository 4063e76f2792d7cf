"""Capacity of a checkpoint behind a server: ours, started for it, or one that runs already. And the runaway."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer, Message, Sampling
from exaone_nb.engines.choice import choose_engine
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.environment import has_gpu
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
from exaone_nb.engines.options import threads_for
from exaone_nb.engines.server import Server
from exaone_nb.engines.vllm_adapter import UNKNOWN
from exaone_nb.quantization.config import preset_name, read_quantization
from exaone_nb.results import RunFolder
from exaone_nb.serve.bandwidth import measure_roof, roof_of
from exaone_nb.serve.bench import questions
from exaone_nb.serve.capacity import Capacity, Level, LoadOptions
from exaone_nb.serve.sweep import sweep

QUESTIONS = 600  # all there are: no two requests of a sweep ask the same, as long as they last
INTERVAL_KIND = "95 % percentile interval over bursts (at a rate: over answers)"


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
