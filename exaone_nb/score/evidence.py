"""Two results brought together item by item, and what their items say about the difference.

Right-or-wrong items have counts and exact tests; graded ones, and items in clusters, the jackknife and the sign-flip
test; the documents of a perplexity are weighted by their words.
"""

import math
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.items import ItemScores, perplexity_of
from exaone_nb.statistics import paired
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import cluster_totals, jackknife, kept_share
from exaone_nb.statistics.verdicts import Evidence, RightOrWrong


def aligned(
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


def of_scores(
    x: np.ndarray, y: np.ndarray, clusters: np.ndarray | None
) -> tuple[dict[str, Any], Evidence, float, float]:
    """What is known of two vectors of scores, their evidence, the exact p, and what one whole score is."""
    z, p = paired.unpaired_z_of_values(y, x)
    found = {
        "base_score": float(x.mean()),
        "candidate_score": float(y.mean()),
        "unpaired_z": z,
        "unpaired_p": p,
    }
    if clusters is not None:
        count = len(np.unique(clusters))
        clusters = clusters if 1 < count < len(x) else None
        found["clusters"] = count if clusters is not None else None
    lowest, highest = min(x.min(), y.min()), max(x.max(), y.max())
    table = paired.discordant(x, y) if np.isin((x, y), (0.0, 1.0)).all() else None
    if table and clusters is None:
        evidence = RightOrWrong(table.only_base, table.only_candidate, len(x))
        p_exact = paired.mcnemar_exact(table.only_base, table.only_candidate)
        found |= {"test": "exact McNemar", "discordant": table, "recovery": paired.ratio_interval(table)}
        return found, evidence, p_exact, 1.0
    scale, reach = 1.0 if highest <= 1 else 100.0, float(max(highest, 1.0) - min(lowest, 0.0))
    # Where few items differ, one that differs by all there is may have been missed; where most do, they show it.
    dense = np.count_nonzero(y - x) > len(x) / 2
    end = float(np.abs(y - x).max()) if dense else reach
    units = y - x if clusters is None else cluster_totals(y - x, clusters)
    return (
        found | {"test": "sign flip" if clusters is None else "sign flip by cluster", "discordant": table}
        | {"recovery": kept_share(x, y, clusters, reach) if lowest >= 0 else None, "scale": scale},
        jackknife(y - x, clusters=clusters, ends=(-end, end)),
        paired.sign_flip_test(units),
        scale,
    )  # fmt: skip


def of_perplexities(
    metric: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, Any], Evidence, float, float]:
    """The same for log-likelihoods of documents, in nats per unit of weight. Documents are the units."""
    before, after = (perplexity_of(metric, float(v.sum()) / float(weights.sum())) for v in (x, y))
    # A log-likelihood rises where a perplexity falls.
    z, p = paired.unpaired_z_of_values(x / weights, y / weights)
    found = {
        "base_score": before,
        "candidate_score": after,
        "unpaired_z": z,
        "unpaired_p": p,
        "test": "sign flip",
    }
    evidence = jackknife(y - x, weights)
    if metric == "bits_per_byte":
        unit, found["recovery"] = before * math.log(2), Estimate(before / after, n=len(x))
    else:
        unit, found["recovery"] = 1.0, evidence.interval().map(math.exp)
    return found, evidence, paired.sign_flip_test(y - x), unit
