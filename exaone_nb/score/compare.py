"""Is the difference between two models real? Paired, item by item, with the answer in words."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.samples import ItemScores, perplexity_of
from exaone_nb.statistics import paired, planning
from exaone_nb.statistics.bootstrap import bootstrap, paired_difference, ratio_of_sums
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.paired import score_interval

# A drop that a reader would care about; the verdict says how many items it would take to see it.
NOTABLE_DROP = 0.02


@dataclass(frozen=True, kw_only=True)
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
    test: str = "paired permutation"
    p_value: float
    p_holm: float
    unpaired_z: float
    unpaired_p: float
    recovery: Estimate | None
    discordant: paired.Discordant | None = None
    lower_is_better: bool
    verdict: str = ""

    @property
    def words(self) -> str:
        """The verdict with its evidence, in sentences."""
        change, table = _change(self), self.discordant
        if self.verdict == "identical" and table is None:
            return say("{change} The same value on all {n} items.", change=change, n=self.n)
        if self.verdict == "identical":
            fields = {"change": change, "n": self.n, "bound": 100 * (self.difference.high or 0)}
            return say(
                "{change} The same outcome on all {n} items: a difference above {bound:.1f} points is excluded.",
                **fields,
            )
        verdict = {
            "better": say("Better, and not by chance"),
            "worse": say("Worse, and not by chance"),
            "within noise": say("Within noise"),
        }[self.verdict]
        evidence = say("{c.test} p = {c.p_value:.3g}", c=self)
        if self.p_holm != self.p_value:
            evidence = say("{evidence}, {p:.3g} after Holm", evidence=evidence, p=self.p_holm)
        if table is not None:
            evidence = say(
                "{evidence}; only the base is right on {t.only_base} items, only the candidate on {t.only_candidate}",
                evidence=evidence,
                t=table,
            )
        fields = {"change": change, "verdict": verdict, "n": self.n, "evidence": evidence}
        told = say("{change} {verdict} at n = {n} ({evidence}).", **fields)
        return f"{told} {_sensitivity(self, table)}" if table and self.verdict == "within noise" else told

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite z (identical answers within each model) becomes null."""
        document = asdict(self) | {"words": self.words}
        for name, interval in (("difference", "interval"), ("recovery", "recovery_interval")):
            value, low, high, _ = (document[name] or {"": None, "low": None, "high": None, "n": 0}).values()
            document |= {name: value, interval: None if low is None else [low, high]}
        return document | ({} if math.isfinite(self.unpaired_z) else {"unpaired_z": None})


def compare(
    base: ItemScores,
    candidate: ItemScores,
    *,
    names: tuple[str, str] = ("base", "candidate"),
    alpha: float = planning.ALPHA,
    different_prompts: bool = False,
) -> Comparison:
    """Compare two results on the items both have; unmatched items are left out and counted.

    Raises WorkbookError when the two do not answer the same question: another task, metric, version, number of
    examples or generation setting, no item in common, or other prompts (allowed by `different_prompts`, which two
    model families with their own templates need).
    """
    rows_base, rows_candidate = _aligned(base, candidate, names, different_prompts)
    x, y, weights = base.values[rows_base], candidate.values[rows_candidate], base.weights[rows_base]
    if base.is_perplexity:
        # A log-likelihood rises where a perplexity falls.
        z, p = paired.unpaired_z_of_values(x / weights, y / weights)
        found = _perplexities(base.name.metric, x, y, weights)
    else:
        z, p = paired.unpaired_z_of_values(y, x)
        found = _scores(x, y, base.is_binary and candidate.is_binary)
    made = Comparison(
        task=base.task,
        metric=str(base.name),
        base=names[0],
        candidate=names[1],
        n=len(x),
        unmatched_base=base.n - len(x),
        unmatched_candidate=candidate.n - len(x),
        p_holm=found["p_value"],
        unpaired_z=z,
        unpaired_p=p,
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
    **options: Any,
) -> list[Comparison]:
    """Every candidate against the base on every task both have; p-values corrected together by Holm's method.

    `options` are those of `compare`.
    """
    found = [
        compare(base[task], items, names=(base_name, name), alpha=alpha, **options)
        for name, by_task in candidates.items()
        for task, items in by_task.items()
        if task in base
    ]
    if not found:
        raise WorkbookError(
            say("{base} and {others} have no task in common.", base=base_name, others=", ".join(candidates)),
            remedy=say("Score both on the same tasks: exaone-nb score MODEL --tasks ..."),
        )
    corrected = paired.holm([c.p_value for c in found])
    return [_judged(replace(c, p_holm=p), alpha) for c, p in zip(found, corrected, strict=True)]


def _aligned(
    base: ItemScores, candidate: ItemScores, names: tuple[str, str], different_prompts: bool
) -> tuple[list[int], list[int]]:
    """Row numbers of the common items, in the base's order. Raises when the results cannot be compared."""

    def refuse(what: str, remedy: str) -> WorkbookError:
        got = say("{names[0]} and {names[1]} cannot be compared: {what}", names=names, what=what)
        return WorkbookError(got, remedy=remedy)

    if base.task != candidate.task:
        tasks = say("{b.task!r} and {c.task!r} are different tasks.", b=base, c=candidate)
        raise refuse(tasks, say("Name one task."))
    if base.name != candidate.name:
        metrics = say("the metrics are {b.name} and {c.name}.", b=base, c=candidate)
        raise refuse(metrics, say("Name one --metric and --filter."))
    if differing := base.differing(candidate):
        settings = say("their {what} differ on {task} ({a} and {b}).", task=base.task, **differing)
        raise refuse(settings, say("Score both the same way."))
    place = {key: row for row, key in enumerate(candidate.keys)}
    pairs = [(row, place[key]) for row, key in enumerate(base.keys) if key in place]
    if len(pairs) < 2:
        few = say("they have one item in common.") if pairs else say("they have no item in common.")
        raise refuse(few, say("Score both on the same items (same task data and limit), two at least."))
    asked = [(base.prompts[i], candidate.prompts[j]) for i, j in pairs]
    changed = sum(one != other for one, other in asked if one and other)
    if changed and not different_prompts:
        prompts = say(
            "{changed} of {n} items were asked with another prompt (chat template, thinking mode, system prompt or "
            "few-shot examples).",
            **{"changed": changed, "n": len(pairs)},
        )
        raise refuse(prompts, say("Score both the same way; for two families: --different-prompts"))
    return tuple(map(list, zip(*pairs, strict=True)))


def _scores(x: np.ndarray, y: np.ndarray, binary: bool) -> dict[str, Any]:
    """Means of the same items compared; right-or-wrong items (`binary`) have exact tests."""
    recovery = Estimate(float(y.mean() / x.mean()), n=len(x)) if x.any() else None
    # With a handful of right answers some resamples hold none, and the ratio has no interval.
    if x.sum() >= 10:
        recovery = bootstrap((y, x), ratio_of_sums)
    means = {"base_score": float(x.mean()), "candidate_score": float(y.mean()), "recovery": recovery}
    if not binary:
        return means | {"difference": paired_difference(x, y), "p_value": paired.sign_flip_test(y - x)}
    table = paired.discordant(x, y)
    return means | {
        "difference": score_interval(table.only_base, table.only_candidate, len(x)),
        "test": "exact McNemar",
        "p_value": paired.mcnemar_exact(table.only_base, table.only_candidate),
        "discordant": table,
    }


def _perplexities(metric: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Documents are resampled with their words; the interval is of the change with the base's value held fixed."""
    mean_x, mean_y = (float(values.sum()) / float(weights.sum()) for values in (x, y))
    before, after = perplexity_of(metric, mean_x), perplexity_of(metric, mean_y)
    change = paired_difference(x, y, weights)
    low, high = sorted(perplexity_of(metric, mean_x + end) - before for end in (change.low, change.high))
    return {
        "base_score": before,
        "candidate_score": after,
        "difference": Estimate(after - before, low, high, len(x)),
        "p_value": paired.sign_flip_test(y - x),
        "recovery": Estimate(before / after, before / (before + high), before / (before + low), len(x)),
    }


def _judged(c: Comparison, alpha: float) -> Comparison:
    """The comparison with its verdict, from the corrected p-value."""
    change = c.difference.value
    if change == 0 and (c.discordant is None or c.discordant.share == 0) and c.p_value == 1:
        return replace(c, verdict="identical")
    if c.p_holm > alpha:
        return replace(c, verdict="within noise")
    return replace(c, verdict="better" if (change < 0) == c.lower_is_better else "worse")


def _change(c: Comparison) -> str:
    if c.lower_is_better:
        return say(
            "{c.task}: {c.base} to {c.candidate}, {c.base_score:.4g} to {c.candidate_score:.4g} "
            "(change {d.value:+.3g}, 95 % {d.low:+.3g} to {d.high:+.3g}).",
            c=c,
            d=c.difference,
        )
    return say(
        "{c.task}: {c.base} to {c.candidate}, {c.base_score:.4f} to {c.candidate_score:.4f}, "
        "{d.value:+.1f} points (95 % {d.low:+.1f} to {d.high:+.1f}).",
        c=c,
        d=c.difference * 100,
    )


def _sensitivity(c: Comparison, table: paired.Discordant) -> str:
    """What n could and could not have shown, given how often these two models differ."""
    # The differing share was itself measured; half an item keeps the plan finite when none differed.
    share = max(table.share, 0.5 / c.n)
    items = planning.items_needed(NOTABLE_DROP, max(share, NOTABLE_DROP))
    fields = {"n": c.n, "wanted": 100 * NOTABLE_DROP, "items": items}
    drop = planning.smallest_drop(c.n, share)
    if drop is None:
        return say(
            "To see a drop of {wanted:.0f} points you need about {items:,} items; these {n} items are too few to show "
            "any drop between models that differ this rarely.",
            **fields,
        )
    return say(
        "To see a drop of {wanted:.0f} points you need about {items:,} items; these {n} items show drops of "
        "{seen:.1f} points and more.",
        **fields | {"seen": 100 * drop},
    )
