"""Is the difference between two models real? Paired, item by item, with the answer in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.score.samples import ItemScores, perplexity_of, read_samples
from exaone_nb.statistics import paired as statistics
from exaone_nb.statistics import planning as planner

# A drop that a reader would care about; the verdict says how many items it would take to see it.
NOTABLE_DROP = 0.02
# What must be equal for two results to answer the same question.
SETTINGS = {
    "version": "task versions",
    "num_fewshot": "numbers of few-shot examples",
    "generation_kwargs": "generation settings",
}


@dataclass(frozen=True)
class Comparison:
    """One candidate against the base on one task. Differences are candidate minus base, in the score's unit.

    `p_value` belongs to `test`; `p_holm` is corrected for all comparisons made together and decides `verdict`
    (identical, better, worse, within noise). `recovery` is the share of the base's score that is kept, with its
    interval; None when the base scores 0. `discordant` is set for right-or-wrong items only.
    """

    task: str
    metric: str
    base: str
    candidate: str
    n: int
    unmatched_base: int
    unmatched_candidate: int
    base_score: float
    candidate_score: float
    difference: float
    interval: tuple[float, float]
    test: str
    p_value: float
    p_holm: float
    unpaired_z: float
    unpaired_p: float
    recovery: float | None
    recovery_interval: tuple[float, float] | None
    discordant: statistics.Discordant | None
    lower_is_better: bool
    verdict: str
    words: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite z (identical answers within each model) becomes null."""
        document = asdict(self)
        if not math.isfinite(self.unpaired_z):
            document["unpaired_z"] = None
        return document


def compare(
    base: ItemScores,
    candidate: ItemScores,
    *,
    names: tuple[str, str] = ("base", "candidate"),
    alpha: float = planner.ALPHA,
    seed: int = 0,
    different_prompts: bool = False,
) -> Comparison:
    """Compare two results on the items both have; unmatched items are left out and counted.

    Raises WorkbookError when the two do not answer the same question: another task, metric, version, number of
    examples or generation setting, no item in common, or other prompts (allowed by `different_prompts`, which two
    model families with their own templates need).
    """
    rows_base, rows_candidate = _aligned(base, candidate, names, different_prompts)
    x, y = base.values[rows_base], candidate.values[rows_candidate]
    common = {
        "task": base.task,
        "metric": str(base.name),
        "base": names[0],
        "candidate": names[1],
        "n": len(x),
        "unmatched_base": base.n - len(x),
        "unmatched_candidate": candidate.n - len(x),
        "verdict": "",
        "words": "",
    }
    if base.is_perplexity:
        found = _perplexities(base, x, y, base.weights[rows_base], seed)
    elif base.is_binary and candidate.is_binary:
        found = _right_or_wrong(x, y, seed)
    else:
        found = _numbers(x, y, seed)
    return _judged(Comparison(**common, **found, p_holm=found["p_value"]), alpha)


def compare_all(
    base: Mapping[str, ItemScores],
    candidates: Mapping[str, Mapping[str, ItemScores]],
    *,
    base_name: str = "base",
    alpha: float = planner.ALPHA,
    seed: int = 0,
    different_prompts: bool = False,
) -> list[Comparison]:
    """Every candidate against the base on every task both have; p-values corrected together by Holm's method."""
    found = [
        compare(
            base[task],
            items,
            names=(base_name, name),
            alpha=alpha,
            seed=seed,
            different_prompts=different_prompts,
        )
        for name, by_task in candidates.items()
        for task, items in by_task.items()
        if task in base
    ]
    if not found:
        raise WorkbookError(
            f"{base_name} and {', '.join(candidates) or 'no candidate'} have no task in common.",
            remedy="Score both on the same tasks: exaone-nb score MODEL --tasks ...",
        )
    corrected = statistics.holm([c.p_value for c in found], alpha)
    return [_judged(replace(c, p_holm=p), alpha) for c, p in zip(found, corrected, strict=True)]


def scored_items(run: RunFolder, recipe: str) -> dict[str, ItemScores]:
    """Task -> item scores of one recipe of a run folder, by the metric its result names."""
    found = {}
    for result in run.read_results("accuracy"):
        if result["recipe"] == recipe:
            metric, _, filter_name = result["details"]["metric"].partition(",")
            found[result["label"]] = read_samples(
                run.path / result["details"]["samples_file"], metric, filter_name
            )
    if not found:
        raise WorkbookError(
            f"There is no accuracy of {recipe!r} in this run.",
            remedy=f"Run: exaone-nb run 07 --out {run.path.name}",
        )
    return found


def averaged(runs: Sequence[ItemScores]) -> ItemScores:
    """One ItemScores from several seeds of the same model and task: each item's mean over the seeds."""
    first = runs[0]
    for other in runs[1:]:
        if (other.task, other.name) != (first.task, first.name) or set(other.keys) != set(first.keys):
            raise WorkbookError(
                f"{other.source or 'A seed'} has other items than {first.source or 'the first'}.",
                expected="the same task, metric and items for every seed.",
            )
        for key, what in SETTINGS.items():
            a, b = first.settings.get(key), other.settings.get(key)
            if None not in (a, b) and a != b:
                raise WorkbookError(
                    f"The seeds of {first.task} have different {what} ({a} and {b}).",
                    expected="nothing but the seed to differ.",
                )
    values = []
    for run in runs:
        place = {key: row for row, key in enumerate(run.keys)}
        values.append(run.values[[place[key] for key in first.keys]])
    return replace(first, values=np.mean(values, axis=0), source=" + ".join(run.source for run in runs))


def _aligned(
    base: ItemScores, candidate: ItemScores, names: tuple[str, str], different_prompts: bool
) -> tuple[list[int], list[int]]:
    """Row numbers of the common items, in the base's order. Raises when the results cannot be compared."""

    def refuse(what: str, remedy: str) -> WorkbookError:
        return WorkbookError(f"{names[0]} and {names[1]} cannot be compared: {what}", remedy=remedy)

    if base.task != candidate.task:
        raise refuse(
            f"{base.task!r} and {candidate.task!r} are different tasks.", "Name results of one task."
        )
    if base.name != candidate.name:
        raise refuse(f"the metrics are {base.name} and {candidate.name}.", "Name one --metric and --filter.")
    for key, what in SETTINGS.items():
        a, b = base.settings.get(key), candidate.settings.get(key)
        if None not in (a, b) and a != b:
            raise refuse(f"their {what} differ on {base.task} ({a} and {b}).", "Score both the same way.")
    place = {key: row for row, key in enumerate(candidate.keys)}
    pairs = [(row, place[key]) for row, key in enumerate(base.keys) if key in place]
    if not pairs:
        raise refuse(
            "they have no item in common.", "Score both on the same items (same task data and limit)."
        )
    if len(pairs) < 2:
        raise refuse("they have one item in common.", "Score both on more of the same items.")
    changed = sum(
        base.prompts[i] != candidate.prompts[j] for i, j in pairs if base.prompts[i] and candidate.prompts[j]
    )
    if changed and not different_prompts:
        raise refuse(
            f"{changed} of {len(pairs)} items were asked with another prompt "
            "(chat template, thinking mode, system prompt or few-shot examples).",
            "Score both the same way; for two model families with their own templates, allow different prompts.",
        )
    return [i for i, _ in pairs], [j for _, j in pairs]


def _right_or_wrong(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    table = statistics.discordant(x, y)
    n = len(x)
    z, unpaired_p = statistics.unpaired_z(int(y.sum()), n, int(x.sum()), n)
    interval = statistics.bootstrap_weighted_mean(y - x, seed=seed)
    if table.share == 0:
        # No resample of "never differed" differs; what can be excluded comes from the exact binomial.
        bound = statistics.most_that_could_differ(n)
        interval = (-bound, bound)
    return {
        "base_score": float(x.mean()),
        "candidate_score": float(y.mean()),
        "difference": float((y - x).mean()),
        "interval": interval,
        "test": "exact McNemar",
        "p_value": statistics.mcnemar_exact(table.only_base, table.only_candidate),
        "unpaired_z": z,
        "unpaired_p": unpaired_p,
        **_recovery(x, y, seed),
        "discordant": table,
        "lower_is_better": False,
    }


def _numbers(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    z, unpaired_p = statistics.unpaired_z_of_values(y, x)
    return {
        "base_score": float(x.mean()),
        "candidate_score": float(y.mean()),
        "difference": float((y - x).mean()),
        "interval": statistics.bootstrap_weighted_mean(y - x, seed=seed),
        "test": "paired permutation",
        "p_value": statistics.sign_flip_test(y - x, seed),
        "unpaired_z": z,
        "unpaired_p": unpaired_p,
        **_recovery(x, y, seed),
        "discordant": None,
        "lower_is_better": False,
    }


def _perplexities(
    base: ItemScores, x: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int
) -> dict[str, Any]:
    """Documents are resampled with their words; the interval is of the change with the base's value held fixed."""
    metric, total = base.name.metric, float(weights.sum())
    mean_x, mean_y = float(x.sum()) / total, float(y.sum()) / total
    value = perplexity_of(metric, mean_x)
    ends = statistics.bootstrap_weighted_mean(y - x, weights, seed=seed)
    low, high = sorted(perplexity_of(metric, mean_x + end) - value for end in ends)
    z, unpaired_p = statistics.unpaired_z_of_values(x / weights, y / weights)
    kept = [value / (value + change) for change in (high, low)]
    return {
        "base_score": value,
        "candidate_score": perplexity_of(metric, mean_y),
        "difference": perplexity_of(metric, mean_y) - value,
        "interval": (low, high),
        "test": "paired permutation",
        "p_value": statistics.sign_flip_test(y - x, seed),
        "unpaired_z": z,
        "unpaired_p": unpaired_p,
        "recovery": value / perplexity_of(metric, mean_y),
        "recovery_interval": (kept[0], kept[1]),
        "discordant": None,
        "lower_is_better": True,
    }


def _recovery(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    # With a handful of right answers some resamples hold none, and the ratio has no meaning.
    if x.sum() < 10:
        return {"recovery": float(y.mean() / x.mean()) if x.any() else None, "recovery_interval": None}
    return {
        "recovery": float(y.mean() / x.mean()),
        "recovery_interval": statistics.bootstrap_ratio(y, x, seed=seed),
    }


def _judged(c: Comparison, alpha: float) -> Comparison:
    """Fill in verdict and words from the corrected p-value."""
    gained = (c.difference < 0) == c.lower_is_better
    if c.difference == 0 and (c.discordant is None or c.discordant.share == 0) and c.p_value == 1:
        verdict = "identical"
    elif c.p_holm <= alpha:
        verdict = "better" if gained else "worse"
    else:
        verdict = "within noise"
    return replace(c, verdict=verdict, words=_words(replace(c, verdict=verdict)))


def _words(c: Comparison) -> str:
    if c.lower_is_better:
        change = (
            f"{c.base_score:.4g} to {c.candidate_score:.4g} "
            f"(change {c.difference:+.3g}, 95 % {c.interval[0]:+.3g} to {c.interval[1]:+.3g})"
        )
    else:
        low, high = (100 * end for end in c.interval)
        change = (
            f"{c.base_score:.4f} to {c.candidate_score:.4f}, {100 * c.difference:+.1f} points "
            f"(95 % {low:+.1f} to {high:+.1f})"
        )
    corrected = f", {c.p_holm:.3g} after Holm" if c.p_holm != c.p_value else ""
    evidence = f"{c.test} p = {c.p_value:.3g}{corrected}"
    if c.discordant is not None:
        t = c.discordant
        evidence += (
            f"; only the base is right on {t.only_base} items, only the candidate on {t.only_candidate}"
        )
    text = f"{c.task}: {c.base} to {c.candidate}, {change}. "
    if c.verdict == "identical":
        return (
            text
            + f"The same outcome on all {c.n} items: a difference above {100 * c.interval[1]:.1f} points is excluded."
            if c.discordant is not None
            else text + f"The same value on all {c.n} items."
        )
    if c.verdict in ("better", "worse"):
        return text + f"{c.verdict.capitalize()}, and not by chance at n = {c.n} ({evidence})."
    text += f"Within noise at n = {c.n} ({evidence})."
    return f"{text} {sensitivity(c)}" if c.discordant is not None else text


def sensitivity(c: Comparison, drop: float = NOTABLE_DROP) -> str:
    """What n could and could not have shown, given how often these two models differ."""
    if c.discordant is None:
        raise UsageError("Only right-or-wrong items have a planner.")
    # The differing share was itself measured; half an item keeps the plan finite when none differed.
    share = max(c.discordant.share, 0.5 / c.n)
    needed = planner.items_needed(drop, max(share, drop))
    smallest = planner.smallest_drop(c.n, share)
    seen = (
        f"these {c.n} items show drops of {100 * smallest:.1f} points and more"
        if smallest is not None
        else f"these {c.n} items are too few to show any drop between models that differ this rarely"
    )
    return f"To see a drop of {100 * drop:.0f} points you need about {needed:,} items; {seen}."
