"""The scoreboard: accuracy, bytes and speed of every candidate, each with its interval, and what follows from them.

One joint set of draws stands behind every interval (see `statistics.draws`), so a difference between two candidates uses
that both answered the same items. "Within noise of the best" means: the interval of the difference of scores
contains zero, at 95 % for all candidates together (Bonferroni).

Candidates that nobody beats on everything at once form the Pareto front: between them, choosing means saying what one
cares about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.judging import Weights, perf_norm, score, size_norm, speed_norm
from exaone_nb.materials import warnings_on
from exaone_nb.messages import say
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.candidates import BoardCandidate, in_same_rounds, read_candidates
from exaone_nb.score.evaluate import measured
from exaone_nb.statistics.draws import DRAWS, drawn, drawn_in_rounds, estimate_of, resampled_means, share_best
from exaone_nb.statistics.estimate import Estimate

# accuracy up, bytes down, seconds per token down
LARGER_IS_BETTER = (True, False, False)


@dataclass(frozen=True)
class BoardRow:
    """One candidate. Norms and score are relative to the base; `behind` is the best score minus this one.

    `concurrency` requests of `context` tokens fit on the chosen card; where that is not known it is None, and
    `memory_remark` says why. `dominated_by` names who beats it on everything, `runs_as` the scheme that the engine made
    of this one (W4A8 on a CPU with AMX), where it is another, `engine` what it was measured in. `unread` has a pair for
    each task on which most of its answers could not be used: the task, and the kind (`outcomes.UNUSABLE`).
    """

    recipe: str
    scheme: str
    runs_as: str
    file_bytes: int
    predicted_bytes: int | None
    accuracy: Estimate
    seconds_per_token: Estimate
    roofline_fraction: float | None
    perf_norm: Estimate
    speed_norm: Estimate
    size_norm: float
    score: Estimate
    behind: Estimate
    within_noise: bool
    share_best: float
    share_front: float
    dominated_by: tuple[str, ...]
    unusable_answers: int
    unread: tuple[tuple[str, str], ...]
    concurrency: int | None = None
    context: int | None = None
    memory_remark: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Scoreboard:
    """Rows by score, best first. `paired` says that items were aligned; `items` is how many stand behind an accuracy.

    `obstacles` say why nothing can be recommended from these tasks, whatever the candidates did on them.
    `passed_over` are candidates that were measured and do not stand on it.
    """

    rows: tuple[BoardRow, ...]
    baseline: str
    tasks: tuple[str, ...]
    items: int
    paired: bool
    weights: Weights
    gpu: str
    remarks: tuple[str, ...]
    obstacles: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def best(self) -> BoardRow:
        return self.rows[0]

    def row(self, recipe: str) -> BoardRow:
        """The row of a recipe. Raises UsageError for a name that is not on the board."""
        by_name = {row.recipe: row for row in self.rows}
        if recipe not in by_name:
            got = say("{recipe!r} is not on the board.", recipe=recipe)
            raise UsageError(got, expected=", ".join(by_name))
        return by_name[recipe]


class BaseSolvesNothing(WorkbookError):
    """The base's accuracy cannot be told from nothing, so nothing can be a share of it: there is no score."""


def make_scoreboard(
    run: RunFolder,
    *,
    baseline: str = BASELINE,
    tasks: tuple[str, ...] = (),
    weights: Weights | None = None,
    gpu: str = "L4",
    draws: int = DRAWS,
    seed: int = 0,
    submittable: bool = False,
) -> Scoreboard:
    """Join the results of a run; `submittable` leaves out GGUF files, which the judging server does not read.

    Draws are made for everybody before anybody is left out, so both boards give a candidate the same score and interval.

    Raises WorkbookError naming the chapter that writes what is missing, and its kind BaseSolvesNothing.
    """
    if draws < 1000:
        got = say("{draws} draws are too few for a 95 % interval.", draws=draws)
        raise UsageError(got, expected="at least 1,000.")
    weights = weights or Weights()
    found, remarks = read_candidates(run, baseline=baseline, tasks=tasks)
    names, candidates = list(found), list(found.values())
    facts, tasks = [candidate.facts for candidate in candidates], tuple(candidates[0].tasks)
    rng = np.random.default_rng(seed)
    # Every table is [candidates, 1 + draws], the base first: what was measured, then equally likely values of it.
    accuracy, paired, items = _accuracies(candidates, draws, rng)
    if accuracy[0].min() <= 0:
        raise BaseSolvesNothing(
            say("The base solves almost nothing of {tasks}.", tasks=", ".join(tasks)),
            expected=say("a base that is well above zero: PerfNorm is a ratio to it."),
            remedy=say(
                "Check the chat template and the token limit (exaone-nb score --preview), or take easier tasks."
            ),
        )
    seconds, alone = _times(candidates, draws, rng)
    passed_over = [name for name, one in found.items() if submittable and one.is_gguf and name != baseline]
    apart = [names[i] for i in alone if names[i] not in passed_over]
    kept = [i for i, name in enumerate(names) if name not in passed_over]
    names, facts = [names[i] for i in kept], [facts[i] for i in kept]
    accuracy, seconds = accuracy[kept], seconds[kept]
    size = np.array([[fact["file_bytes"]] for fact in facts])
    measures = {"performance": accuracy, "seconds": seconds, "size": size}
    bases = {f"{name}_base": values[0] for name, values in measures.items()}
    total = score(**measures, **bases, weights=weights)
    tables = {
        "accuracy": accuracy,
        "seconds_per_token": seconds,
        "perf_norm": perf_norm(accuracy, accuracy[0]),
        "speed_norm": speed_norm(seconds, seconds[0]),
        "score": total,
    }
    axes = np.stack(np.broadcast_arrays(accuracy, size, seconds), axis=1)
    beaten = [dominators(one, axes, LARGER_IS_BETTER) for one in axes]
    winners = share_best(dict(zip(names, total[:, 1:], strict=True)))
    order = sorted(range(len(names)), key=lambda i: -total[i, 0])
    together = 1 - 0.05 / max(1, len(order) - 1)

    def row(i: int) -> BoardRow:
        behind = total[order[0]] - total[i]
        behind = estimate_of(behind[0], behind[1:], together)
        return BoardRow(
            recipe=names[i],
            **facts[i],
            **{name: estimate_of(table[i, 0], table[i, 1:]) for name, table in tables.items()},
            size_norm=float(size_norm(size[i, 0], size[0, 0])),
            behind=behind,
            within_noise=behind.low <= 0 <= behind.high,
            share_best=winners[names[i]],
            share_front=float(1 - beaten[i][:, 1:].any(axis=0).mean()),
            dominated_by=tuple(name for name, beats in zip(names, beaten[i][:, 0], strict=True) if beats),
            **_on_card(run, names[i], gpu),
        )

    remarks += [
        say("The speed of {name} has no interval; it is taken as exact.", name=name)
        for name, candidate in found.items()
        if name in names and measured(candidate.speed).low is None
    ]
    if apart:
        remarks.append(
            say(
                "The speed of {names} was not measured in the same rounds as that of {base}, so slow rounds do not cancel.",
                names=", ".join(apart),
                base=baseline,
            )
        )
    if not paired:
        remarks.append(say("Accuracies were compared unpaired: not everyone's results hold the same items."))
    folder, model = run.checkpoints / baseline, candidates[0].size.get("model") or ""
    obstacles = tuple(warnings_on(folder if folder.is_dir() else model, tasks=tasks))
    rows = tuple(map(row, order))
    more = {"obstacles": obstacles, "passed_over": tuple(passed_over)}
    return Scoreboard(rows, baseline, tasks, items, paired, weights, gpu, tuple(remarks), **more)


def dominators(one: np.ndarray, others: np.ndarray, larger_is_better: Sequence[bool]) -> np.ndarray:
    """Who beats `one` [axes, draws] in which draw: True [others, draws] where nowhere worse and somewhere better.

    `others` is [others, axes, draws], and may hold `one` itself, which does not beat itself.
    """
    gains = (others - one) * np.where(larger_is_better, 1, -1)[:, None]
    return (gains >= 0).all(axis=1) & (gains > 0).any(axis=1)


def _accuracies(
    candidates: Sequence[BoardCandidate], draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool, int]:
    """Mean accuracy over tasks, every task counting the same [candidates, 1 + draws], whether the draws are paired,
    and the number of items."""
    all_paired, items, tables = True, 0, []
    for task in candidates[0].tasks:
        results = [candidate.tasks[task] for candidate in candidates]
        answers = [result["details"].get("items") or {} for result in results]
        shared = sorted(set(answers[0]).intersection(*answers[1:]))
        paired = len(shared) > 1 and all(len(found) == len(shared) for found in answers)
        values = np.array([[float(found[item]) for item in shared] for found in answers])
        all_paired &= paired
        if paired:
            items, table = items + len(shared), resampled_means(values, draws, rng)
        else:
            items += min(int(r["n"] or 0) for r in results)
            table = [drawn(measured(r), draws, rng) for r in results]
        tables.append(np.column_stack([[r["value"] for r in results], table]))
    return np.mean(tables, axis=0), all_paired, items


def _times(
    candidates: Sequence[BoardCandidate], draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """Seconds per token [candidates, 1 + draws], and which candidates were not measured in the base's rounds."""
    speeds = [candidate.speed for candidate in candidates]
    times = [measured(speed) for speed in speeds]
    same = [i for i, speed in enumerate(speeds) if in_same_rounds(speed, speeds[0])]
    table = np.empty((len(times), 1 + draws))
    table[:, 0] = [time.value for time in times]
    if len(same) > 1:
        rounds = np.array([speeds[i]["details"]["values"] for i in same], dtype=float)
        table[same, 1:] = drawn_in_rounds(rounds, draws, rng)
    alone = [i for i in range(len(times)) if i not in same or len(same) < 2]
    for i in alone:
        table[i, 1:] = drawn(times[i], draws, rng, positive=True)
    return table, [i for i in alone if i and times[i].low is not None]


def _on_card(run: RunFolder, recipe: str, gpu: str) -> dict[str, Any]:
    """How many requests of the full context fit on the card beside the checkpoint, or why that is not known."""
    from exaone_nb.anatomy.logical import predict_as_stored
    from exaone_nb.anatomy.memory import plan_memory
    from exaone_nb.catalog import gguf_in, read_config

    try:
        folder = run.checkpoint(recipe)
        if gguf_in(folder):
            return {"memory_remark": say("not known for a GGUF file")}
        config = read_config(folder / "config.json")
        scheme, prediction = predict_as_stored(config, loaded=True)
        plan = plan_memory(config, scheme, gpu, prediction=prediction)
    except WorkbookError as error:
        return {"memory_remark": say("not known: {reason}", reason=error.got)}
    if not plan.support.runs:
        return {"memory_remark": say("no kernel: {reason}", reason=plan.support.reason)}
    return {"concurrency": plan.largest_concurrency, "context": plan.context}
