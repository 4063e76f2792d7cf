"""The scoreboard: accuracy, bytes and speed of every candidate, each with its interval, and what follows from them.

One joint set of draws stands behind every interval (see `statistics.draws`), so a difference between two candidates uses
that both answered the same items. "Within noise of the best" means: the interval of the difference of scores
contains zero, at 95 % for all candidates together (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.judging import Weights, perf_norm, score, size_norm, speed_norm
from exaone_nb.messages import say
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.candidates import BoardCandidate, Candidates, measured, read_candidates
from exaone_nb.score.pareto import dominated_by, share_on_front
from exaone_nb.statistics.draws import DRAWS, drawn, estimate_of, resampled_means, share_best
from exaone_nb.statistics.estimate import Estimate

# accuracy up, bytes down, seconds per token down
LARGER_IS_BETTER = (True, False, False)


@dataclass(frozen=True)
class BoardRow:
    """One candidate. Norms and score are relative to the base; `behind` is the best score minus this one.

    `concurrency` requests of `context` tokens fit on the chosen card; where that is not known it is None, and
    `memory_remark` says why. `dominated_by` names who is better on every axis, `runs_as` the scheme
    that the engine made of this one, where it is another.
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
    concurrency: int | None = None
    context: int | None = None
    memory_remark: str = ""


@dataclass(frozen=True)
class Scoreboard:
    """Rows by score, best first. `paired` says that items were aligned; `items` is how many stand behind an accuracy."""

    rows: tuple[BoardRow, ...]
    baseline: str
    tasks: tuple[str, ...]
    items: int
    paired: bool
    weights: Weights
    gpu: str
    remarks: tuple[str, ...]

    @property
    def best(self) -> BoardRow:
        return self.rows[0]

    def row(self, recipe: str) -> BoardRow:
        """The row of a recipe. Raises UsageError for a name that is not on the board."""
        for row in self.rows:
            if row.recipe == recipe:
                return row
        raise UsageError(f"{recipe!r} is not on the board.", expected=", ".join(r.recipe for r in self.rows))


def make_scoreboard(
    run: RunFolder,
    *,
    baseline: str = BASELINE,
    tasks: tuple[str, ...] = (),
    weights: Weights | None = None,
    gpu: str = "L4",
    draws: int = DRAWS,
    seed: int = 0,
) -> Scoreboard:
    """Join the results of a run. Raises WorkbookError naming the chapter that writes what is missing."""
    if draws < 1000:
        raise UsageError(f"{draws} draws are too few for a 95 % interval.", expected="at least 1,000.")
    weights = weights or Weights()
    candidates = read_candidates(run, baseline=baseline, tasks=tasks)
    found = candidates.found
    rng = np.random.default_rng(seed)
    accuracy, paired, items = _accuracy_draws(candidates, draws, rng)
    seconds = {name: drawn(c.seconds_per_token, draws, rng, positive=True) for name, c in found.items()}
    values = {name: _mean_accuracy(c) for name, c in found.items()}
    if min(values[baseline], accuracy[baseline].min()) <= 0:
        raise WorkbookError(
            say("The base solves almost nothing of {tasks}.", tasks=", ".join(candidates.tasks)),
            expected=say("a base that is well above zero: PerfNorm is a ratio to it."),
            remedy=say("Check the chat template and the token limit in the chapter on scoring, or choose easier tasks."),
        )
    times = {name: c.seconds_per_token.value for name, c in found.items()}
    sizes = {name: c.file_bytes for name, c in found.items()}

    def scored(accuracies: Mapping[str, Any], speeds: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: score(
                performance=accuracies[name],
                performance_base=accuracies[baseline],
                seconds=speeds[name],
                seconds_base=speeds[baseline],
                size=sizes[name],
                size_base=sizes[baseline],
                weights=weights,
            )
            for name in found
        }

    points, scores = scored(values, times), scored(accuracy, seconds)
    losers = dominated_by({n: (values[n], sizes[n], times[n]) for n in found}, LARGER_IS_BETTER)
    fronts = share_on_front({n: (accuracy[n], sizes[n], seconds[n]) for n in found}, LARGER_IS_BETTER)
    winners = share_best(scores)
    order = sorted(found, key=lambda name: -points[name])
    best = order[0]
    together = 1 - 0.05 / max(1, len(order) - 1)

    def row(name: str) -> BoardRow:
        behind = estimate_of(points[best] - points[name], scores[best] - scores[name], together)
        return BoardRow(
            recipe=name,
            scheme=found[name].scheme,
            runs_as=found[name].runs_as,
            file_bytes=sizes[name],
            predicted_bytes=found[name].size["details"].get("predicted_bytes"),
            accuracy=estimate_of(values[name], accuracy[name]),
            seconds_per_token=estimate_of(times[name], seconds[name]),
            roofline_fraction=found[name].speed["details"].get("decode_roofline_fraction"),
            perf_norm=estimate_of(*(perf_norm(a[name], a[baseline]) for a in (values, accuracy))),
            speed_norm=estimate_of(*(speed_norm(t[name], t[baseline]) for t in (times, seconds))),
            size_norm=float(size_norm(sizes[name], sizes[baseline])),
            score=estimate_of(points[name], scores[name]),
            behind=behind,
            within_noise=behind.low <= 0 <= behind.high,
            share_best=winners[name],
            share_front=fronts[name],
            dominated_by=losers[name],
            unusable_answers=found[name].unusable_answers,
            **_on_card(run, name, gpu),
        )

    return Scoreboard(
        rows=tuple(row(name) for name in order),
        baseline=baseline,
        tasks=candidates.tasks,
        items=items,
        paired=paired,
        weights=weights,
        gpu=gpu,
        remarks=(*candidates.remarks, *_remarks(candidates, paired)),
    )


def _remarks(candidates: Candidates, paired: bool) -> list[str]:
    remarks = []
    if not paired:
        remarks.append(say("Accuracies were compared unpaired: not everyone's results hold the same items."))
    for name, candidate in candidates.found.items():
        if candidate.seconds_per_token.low is None:
            remarks.append(say("The speed of {name} has no interval; it is taken as exact.", name=name))
    return remarks


def _mean_accuracy(candidate: BoardCandidate) -> float:
    """Plain mean over tasks, every task counting the same."""
    return float(np.mean([result["value"] for result in candidate.tasks.values()]))


def _accuracy_draws(
    candidates: Candidates, draws: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], bool, int]:
    """Draws of the mean over tasks for every candidate, whether they are paired, and the number of items."""
    names = list(candidates.found)
    total = np.zeros((len(names), draws))
    all_paired, items = True, 0
    for task in candidates.tasks:
        values, paired = candidates.correctness(task)
        all_paired &= paired
        if paired:
            total += resampled_means(values, draws, rng)
            items += values.shape[1]
        else:
            results = [candidate.tasks[task] for candidate in candidates.found.values()]
            total += [drawn(measured(r), draws, rng) for r in results]
            items += min(int(r["n"] or 0) for r in results)
    return dict(zip(names, total / len(candidates.tasks), strict=True)), all_paired, items


def _on_card(run: RunFolder, recipe: str, gpu: str) -> dict[str, Any]:
    """How many requests of the full context fit on the card beside the checkpoint, or why that is not known."""
    from exaone_nb.anatomy.logical import predict_as_stored
    from exaone_nb.anatomy.memory import plan_memory
    from exaone_nb.catalog import read_config

    try:
        config = read_config(run.checkpoint(recipe) / "config.json")
        scheme, prediction = predict_as_stored(config, loaded=True)
        plan = plan_memory(config, scheme, gpu, prediction=prediction)
    except WorkbookError as error:
        return {"memory_remark": say("not known: {reason}", reason=error.got)}
    if not plan.support.runs:
        return {"memory_remark": say("no kernel: {reason}", reason=plan.support.reason)}
    return {"concurrency": plan.largest_concurrency, "context": plan.context}
