"""Is the difference between two models real? Paired, item by item, with the answer in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.samples import ItemScores, perplexity_of, read_samples
from exaone_nb.statistics import paired, planning
from exaone_nb.statistics.bootstrap import bootstrap, paired_difference, ratio_of_sums
from exaone_nb.statistics.estimate import Estimate

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
    """One candidate against the base on one task.

    `difference` is candidate minus base in the score's unit, with its paired 95 % interval. `p_value` belongs to
    `test`; `p_holm` is corrected for all comparisons made together and decides `verdict` (identical, better, worse,
    within noise). `recovery` is the share of the base's score that is kept; None when the base scores 0.
    `discordant` is set for right-or-wrong items only.
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
    difference: Estimate
    test: str
    p_value: float
    p_holm: float
    unpaired_z: float
    unpaired_p: float
    recovery: Estimate | None
    discordant: paired.Discordant | None
    lower_is_better: bool
    verdict: str = ""

    @property
    def words(self) -> str:
        """The verdict with its evidence, in sentences."""
        c, d, changed = self, self.difference, _change(self)
        if c.verdict == "identical" and c.discordant is not None:
            bound = 100 * (d.high or 0)
            return say(
                "{changed} The same outcome on all {n} items: a difference above {bound:.1f} points is excluded.",
                changed=changed,
                n=c.n,
                bound=bound,
            )
        if c.verdict == "identical":
            return say("{changed} The same value on all {n} items.", changed=changed, n=c.n)
        fields = {"changed": changed, "n": c.n, "evidence": _evidence(c)}
        if c.verdict == "better":
            return say("{changed} Better, and not by chance at n = {n} ({evidence}).", **fields)
        if c.verdict == "worse":
            return say("{changed} Worse, and not by chance at n = {n} ({evidence}).", **fields)
        noise = say("{changed} Within noise at n = {n} ({evidence}).", **fields)
        return f"{noise} {sensitivity(c)}" if c.discordant is not None else noise

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite z (identical answers within each model) becomes null."""
        document = asdict(self)
        for name, interval in (("difference", "interval"), ("recovery", "recovery_interval")):
            estimate = getattr(self, name)
            document[name] = estimate and estimate.value
            document[interval] = (
                [estimate.low, estimate.high] if estimate and estimate.low is not None else None
            )
        if not math.isfinite(self.unpaired_z):
            document["unpaired_z"] = None
        return document | {"words": self.words}


def compare(
    base: ItemScores,
    candidate: ItemScores,
    *,
    names: tuple[str, str] = ("base", "candidate"),
    alpha: float = planning.ALPHA,
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
    if base.is_perplexity:
        found = _perplexities(base, x, y, base.weights[rows_base], seed)
    elif base.is_binary and candidate.is_binary:
        found = _right_or_wrong(x, y, seed)
    else:
        found = _numbers(x, y, seed)
    made = Comparison(
        task=base.task,
        metric=str(base.name),
        base=names[0],
        candidate=names[1],
        n=len(x),
        unmatched_base=base.n - len(x),
        unmatched_candidate=candidate.n - len(x),
        p_holm=found["p_value"],
        lower_is_better=base.is_perplexity,
        **found,
    )
    return _judged(made, alpha)


def compare_all(
    base: Mapping[str, ItemScores],
    candidates: Mapping[str, Mapping[str, ItemScores]],
    *,
    base_name: str = "base",
    alpha: float = planning.ALPHA,
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
    corrected = paired.holm([c.p_value for c in found], alpha)
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
    table = paired.discordant(x, y)
    n = len(x)
    difference = paired_difference(x, y, seed=seed)
    if table.share == 0:
        # No resample of "never differed" differs; what can be excluded comes from the exact binomial.
        bound = paired.most_that_could_differ(n)
        difference = Estimate(0.0, -bound, bound, n)
    return {
        **_means(x, y, seed),
        "difference": difference,
        "test": "exact McNemar",
        "p_value": paired.mcnemar_exact(table.only_base, table.only_candidate),
        **_unpaired(paired.unpaired_z(int(y.sum()), n, int(x.sum()), n)),
        "discordant": table,
    }


def _numbers(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    return {
        **_means(x, y, seed),
        "difference": paired_difference(x, y, seed=seed),
        "test": "paired permutation",
        "p_value": paired.sign_flip_test(y - x, seed),
        **_unpaired(paired.unpaired_z_of_values(y, x)),
        "discordant": None,
    }


def _perplexities(
    base: ItemScores, x: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int
) -> dict[str, Any]:
    """Documents are resampled with their words; the interval is of the change with the base's value held fixed."""
    metric, total = base.name.metric, float(weights.sum())
    mean_x, mean_y = float(x.sum()) / total, float(y.sum()) / total
    before, after = perplexity_of(metric, mean_x), perplexity_of(metric, mean_y)
    change = paired_difference(x, y, weights, seed=seed)
    low, high = sorted(perplexity_of(metric, mean_x + end) - before for end in (change.low, change.high))
    return {
        "base_score": before,
        "candidate_score": after,
        "difference": Estimate(after - before, low, high, len(x)),
        "test": "paired permutation",
        "p_value": paired.sign_flip_test(y - x, seed),
        **_unpaired(paired.unpaired_z_of_values(x / weights, y / weights)),
        "recovery": Estimate(before / after, before / (before + high), before / (before + low), len(x)),
        "discordant": None,
    }


def _means(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """Both scores, and the share of the base's that is kept."""
    recovery = Estimate(float(y.mean() / x.mean()), n=len(x)) if x.any() else None
    # With a handful of right answers some resamples hold none, and the ratio has no interval.
    if x.sum() >= 10:
        recovery = bootstrap((y, x), ratio_of_sums, seed=seed)
    return {"base_score": float(x.mean()), "candidate_score": float(y.mean()), "recovery": recovery}


def _unpaired(z_and_p: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("unpaired_z", "unpaired_p"), z_and_p, strict=True))


def _judged(c: Comparison, alpha: float) -> Comparison:
    """The comparison with its verdict, from the corrected p-value."""
    change = c.difference.value
    if change == 0 and (c.discordant is None or c.discordant.share == 0) and c.p_value == 1:
        return replace(c, verdict="identical")
    if c.p_holm > alpha:
        return replace(c, verdict="within noise")
    return replace(c, verdict="better" if (change < 0) == c.lower_is_better else "worse")


def _change(c: Comparison) -> str:
    fields = {
        "task": c.task,
        "base": c.base,
        "candidate": c.candidate,
        "before": c.base_score,
        "after": c.candidate_score,
    }
    if c.lower_is_better:
        return say(
            "{task}: {base} to {candidate}, {before:.4g} to {after:.4g} (change {change:+.3g}, 95 % {low:+.3g} to {high:+.3g}).",
            **fields,
            **_three(c.difference),
        )
    return say(
        "{task}: {base} to {candidate}, {before:.4f} to {after:.4f}, {change:+.1f} points (95 % {low:+.1f} to {high:+.1f}).",
        **fields,
        **_three(c.difference * 100),
    )


def _three(estimate: Estimate) -> dict[str, float | None]:
    return {"change": estimate.value, "low": estimate.low, "high": estimate.high}


def _evidence(c: Comparison) -> str:
    parts = [say("{test} p = {p:.3g}", test=c.test, p=c.p_value)]
    if c.p_holm != c.p_value:
        parts = [say("{evidence}, {p:.3g} after Holm", evidence=parts[0], p=c.p_holm)]
    if c.discordant is not None:
        parts.append(
            say(
                "only the base is right on {base} items, only the candidate on {candidate}",
                base=c.discordant.only_base,
                candidate=c.discordant.only_candidate,
            )
        )
    return "; ".join(parts)


def sensitivity(c: Comparison, drop: float = NOTABLE_DROP) -> str:
    """What n could and could not have shown, given how often these two models differ.

    Raises UsageError for a comparison that is not of right-or-wrong items.
    """
    if c.discordant is None:
        raise UsageError(say("Only right-or-wrong items have a planner."))
    # The differing share was itself measured; half an item keeps the plan finite when none differed.
    share = max(c.discordant.share, 0.5 / c.n)
    needed = say(
        "To see a drop of {points:.0f} points you need about {items:,} items;",
        points=100 * drop,
        items=planning.items_needed(drop, max(share, drop)),
    )
    smallest = planning.smallest_drop(c.n, share)
    if smallest is None:
        seen = say(
            "these {n} items are too few to show any drop between models that differ this rarely.", n=c.n
        )
    else:
        seen = say(
            "these {n} items show drops of {points:.1f} points and more.", n=c.n, points=100 * smallest
        )
    return f"{needed} {seen}"
