"""Measuring all checkpoints of a run in turns, asking each the same questions, and writing the results down."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Answer, Sampling
from exaone_nb.engines.token_engine import TokenEngine
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.serve.bench import Bench, BenchOptions, bench, in_turns, pooled, questions
from exaone_nb.statistics.estimate import INTERVAL_KIND, Estimate

ANSWER_TOKENS = 64
# What every record of a measurement keeps of `Bench.document`.
COMMON = (
    "engine", "kernel", "scheme", "runs_as", "dtype", "weights", "layers", "versions", "start_seconds",
    "bandwidth_bytes_per_second",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One checkpoint of the run: its measurement and its answers to the compared questions."""

    recipe: str
    found: Bench
    answers: tuple[Answer, ...]


def checkpoints(run: RunFolder, model: str) -> dict[str, Path]:
    """The run's checkpoints, the baseline first; when there are none, the model itself as baseline."""
    found = {name: run.checkpoint(name) for name in run.checkpoint_names()}
    return found if BASELINE in found else {BASELINE: catalog.weights_folder(model), **found}


def measure_checkpoints(
    run: RunFolder,
    model: str,
    options: BenchOptions,
    *,
    rounds: int = 3,
    compare: int = 16,
    report: Callable[[str], None] = lambda words: None,
) -> list[Candidate]:
    """Measure all checkpoints `rounds` times in turns, each time with a freshly started engine, and record them.

    A machine changes its speed within seconds, and one engine may lie better in memory than the next: repeats within
    one engine do not show that, and two checkpoints that run the same kernel seemed to differ by a third. So every
    second round goes backwards, and a round counts once. `compare` questions are answered once, with log-probabilities.
    `options.budget_s` is for all of them together. `report` gets a line for a checkpoint that the engine refuses, which is
    then left out; a baseline that is refused raises WorkbookError.
    """
    whole("rounds", rounds)
    places, started = checkpoints(run, model), datetime.now(UTC).isoformat()
    found: dict[str, list[Bench]] = {recipe: [] for recipe in places}
    kept: dict[str, list[Answer]] = {recipe: [] for recipe in places}
    asked = options.max_gen_toks
    options = replace(options, budget_s=options.budget_s / rounds / len(places))
    sampling = Sampling(max_tokens=ANSWER_TOKENS, logprobs=5)
    for number, recipe in in_turns(found, rounds):

        def answer(engine: TokenEngine, recipe: str = recipe) -> None:
            kept[recipe] = engine.chat_all(questions(compare), sampling=sampling)

        first = answer if compare and not number else None
        try:
            measured = bench(str(places[recipe]), options, first=first)
        except WorkbookError as error:
            if recipe == BASELINE:
                raise
            report(say("{recipe} is left out: {why}", recipe=recipe, why=error.got))
            del found[recipe]
            continue
        found[recipe].append(measured)
        if measured.per_token and measured.per_token.budget_s:  # the same for all that follow
            options = replace(options, max_gen_toks=measured.per_token.longest_allowed)
    candidates = []
    for recipe, benches in found.items():
        whole_bench = pooled(benches)
        # What was asked for, whichever rounds were cut to what the first one could afford.
        asked_for = whole_bench.parameters | {"max_gen_toks": asked}
        every_round = replace(whole_bench, model=recipe, parameters=asked_for)
        record(run, recipe, replace(every_round, model=model), rounds_from=started)
        candidates.append(Candidate(recipe, every_round, tuple(kept[recipe])))
    return candidates


def record(run: RunFolder, recipe: str, found: Bench, *, rounds_from: str = "") -> list[Path]:
    """Write the results of one checkpoint: "per_token" (for the scoreboard) and one per batch size.

    Checkpoints with one `rounds_from` were measured in turns, so that their rounds may be compared one by one.
    """
    document = found.document()
    common = {name: document[name] for name in COMMON}
    common |= {"device": document["machine_in_words"], "rounds_from": rounds_from}

    def write(label: str, seconds: Estimate, details: dict[str, Any]) -> Path:
        return run.write_result(
            "speed",
            recipe=recipe,
            label=label,
            value=seconds.value,
            unit="s/token",
            n=seconds.n,
            interval=seconds.interval,
            interval_kind=INTERVAL_KIND,
            parameters=found.parameters,
            details=common | details,
            model=found.model,
        )

    paths = [
        write(f"decode_b{row['batch']}", d.per_token, row | {"prefill_seconds": row["first_token_seconds"]})
        for row, d in zip(document["decode"], found.decodes, strict=True)
    ]
    if (timed := found.per_token) is not None:
        seconds = timed.seconds_per_token
        details = {
            "batch": timed.questions,
            "tokens_per_second": 1 / seconds.value,
            # Of the first fixed-length row: this measurement mixes reading and writing and has no roof of its own.
            "decode_batch": found.decodes[0].batch,
            "decode_roofline_fraction": found.fraction(0),
            "prefill_seconds": found.decodes[0].first_token.value,
        }
        paths.append(write("per_token", seconds, timed.details() | details))
    return paths
