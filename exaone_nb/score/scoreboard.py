"""The scoreboard: accuracy, bytes and speed of every candidate, each with its interval, and what follows from them.

One joint set of draws stands behind every interval (see `uncertainty`), so a difference between two candidates uses
that both answered the same items. "Within noise of the best" means: the interval of the difference of scores
contains zero, at 95 % for all candidates together (Bonferroni).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.judging import Weights, perf_norm, score, size_norm, speed_norm
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.candidates import Candidate, Candidates, read_candidates
from exaone_nb.score.pareto import dominated_by, share_on_front
from exaone_nb.statistics.draws import DRAWS, drawn_from_interval, interval_of, resampled_means, share_best

# accuracy up, bytes down, seconds per token down
LARGER_IS_BETTER = (True, False, False)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One candidate. Norms and score are relative to the base; `behind` is the best score minus this one.

    `memory` says what fits on the chosen GPU, `dominated_by` who is better on every axis.
    """

    recipe: str
    scheme: str
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
    memory: str


@dataclass(frozen=True)
class Scoreboard:
    """Rows by score, best first. `paired` says that items were aligned; `items` is how many stand behind an accuracy."""

    rows: tuple[Row, ...]
    baseline: str
    tasks: tuple[str, ...]
    items: int
    paired: bool
    weights: Weights
    gpu: str
    remarks: tuple[str, ...]

    @property
    def best(self) -> Row:
        return self.rows[0]

    @property
    def front(self) -> tuple[Row, ...]:
        """The Pareto front, smallest file first."""
        return tuple(
            sorted((row for row in self.rows if not row.dominated_by), key=lambda row: row.file_bytes)
        )

    def row(self, recipe: str) -> Row:
        """The row of a recipe. Raises UsageError for a name that is not on the board."""
        for row in self.rows:
            if row.recipe == recipe:
                return row
        raise UsageError(f"{recipe!r} is not on the board.", expected=", ".join(r.recipe for r in self.rows))

    def document(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return asdict(self)


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
    rng = np.random.default_rng(seed)
    accuracy, paired, items = _accuracy_draws(candidates, draws, rng)
    seconds = {
        name: drawn_from_interval(c.speed["value"], c.speed["interval"], draws, rng, positive=True)
        for name, c in candidates.found.items()
    }
    values = {name: _mean_accuracy(c) for name, c in candidates.found.items()}
    if min(values[baseline], accuracy[baseline].min()) <= 0:
        raise WorkbookError(
            f"The base solves almost nothing of {', '.join(candidates.tasks)} ({values[baseline]:.3f}).",
            expected="a base that is well above zero: PerfNorm is a ratio to it.",
            remedy="Check the chat template and the token limit in chapter 07, or choose easier tasks.",
        )
    parts = {
        name: _norms(values[name], candidate.speed["value"], candidate, candidates, values, weights)
        for name, candidate in candidates.found.items()
    }
    scores = {
        name: score(
            performance=accuracy[name],
            performance_base=accuracy[baseline],
            seconds=seconds[name],
            seconds_base=seconds[baseline],
            size=candidate.file_bytes,
            size_base=candidates.found[baseline].file_bytes,
            weights=weights,
        )
        for name, candidate in candidates.found.items()
    }
    points = {name: (values[name], c.file_bytes, c.speed["value"]) for name, c in candidates.found.items()}
    losers = dominated_by(points, LARGER_IS_BETTER)
    fronts = share_on_front(
        {name: (accuracy[name], c.file_bytes, seconds[name]) for name, c in candidates.found.items()},
        LARGER_IS_BETTER,
    )
    winners = share_best(scores)
    order = sorted(parts, key=lambda name: -parts[name]["score"])
    best = order[0]
    together = 1 - 0.05 / max(1, len(order) - 1)
    remarks = list(candidates.remarks)
    if not paired:
        remarks.append(
            "Accuracies were compared unpaired: the results do not hold the same items for everyone."
        )
    for name, candidate in candidates.found.items():
        if candidate.speed["interval"] is None:
            remarks.append(f"The speed of {name} has no interval; it is taken as exact.")
    rows = []
    for name in order:
        candidate, part = candidates.found[name], parts[name]
        behind = interval_of(scores[best] - scores[name], together) if name != best else (0.0, 0.0)
        rows.append(
            Row(
                recipe=name,
                scheme=candidate.scheme,
                file_bytes=candidate.file_bytes,
                predicted_bytes=candidate.size["details"].get("predicted_bytes"),
                accuracy=Estimate(values[name], *interval_of(accuracy[name])),
                seconds_per_token=Estimate(candidate.speed["value"], *interval_of(seconds[name])),
                roofline_fraction=candidate.speed["details"].get("decode_roofline_fraction"),
                perf_norm=Estimate(part["perf"], *interval_of(perf_norm(accuracy[name], accuracy[baseline]))),
                speed_norm=Estimate(
                    part["speed"], *interval_of(speed_norm(seconds[name], seconds[baseline]))
                ),
                size_norm=part["size"],
                score=Estimate(part["score"], *interval_of(scores[name])),
                behind=Estimate(parts[best]["score"] - part["score"], *behind),
                within_noise=behind[0] <= 0 <= behind[1],
                share_best=winners[name],
                share_front=fronts[name],
                dominated_by=losers[name],
                unusable_answers=candidate.unusable_answers,
                memory=_memory(run, candidate, gpu),
            )
        )
    return Scoreboard(
        rows=tuple(rows),
        baseline=baseline,
        tasks=candidates.tasks,
        items=items,
        paired=paired,
        weights=weights,
        gpu=gpu,
        remarks=tuple(remarks),
    )


def _mean_accuracy(candidate: Candidate) -> float:
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
            total += [drawn_from_interval(r["value"], r["interval"], draws, rng) for r in results]
            items += min(int(r["n"] or 0) for r in results)
    return dict(zip(names, total / len(candidates.tasks), strict=True)), all_paired, items


def _norms(
    accuracy: float,
    seconds: float,
    candidate: Candidate,
    candidates: Candidates,
    accuracies: dict[str, float],
    weights: Weights,
) -> dict[str, float]:
    base = candidates.found[candidates.baseline]
    return {
        "perf": float(perf_norm(accuracy, accuracies[base.recipe])),
        "speed": float(speed_norm(seconds, base.speed["value"])),
        "size": float(size_norm(candidate.file_bytes, base.file_bytes)),
        "score": float(
            score(
                performance=accuracy,
                performance_base=accuracies[base.recipe],
                seconds=seconds,
                seconds_base=base.speed["value"],
                size=candidate.file_bytes,
                size_base=base.file_bytes,
                weights=weights,
            )
        ),
    }


def _memory(run: RunFolder, candidate: Candidate, gpu: str) -> str:
    """How many requests of the full context fit on the GPU beside the weights, or why that is not known."""
    from exaone_nb.anatomy.memory import plan_memory
    from exaone_nb.catalog import read_config
    from exaone_nb.quantization.schemes import SCHEMES

    scheme = candidate.scheme.split(",")[0].strip().upper()
    if scheme not in SCHEMES:
        scheme = "BF16"
    try:
        config = read_config(run.checkpoint(candidate.recipe) / "config.json")
        plan = plan_memory(config, scheme, gpu)
    except WorkbookError as error:
        return f"not known: {error.got}"
    if not plan.support.runs:
        return f"no kernel on {plan.gpu.name}: {plan.support.reason}"
    return f"{plan.largest_concurrency:,} x {plan.context:,} tokens"
