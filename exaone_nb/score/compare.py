"""Is the difference between two models real, and is it larger than what one cares about? Paired, item by item.

The tasks of one group (the subjects of a benchmark) are one question: their items are pooled, and each task is shown
beside it as a part. Holm's method corrects across questions, not across the parts of one.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.comparison_words import words
from exaone_nb.score.items import ItemScores, joined, perplexity_of, prompt_level
from exaone_nb.statistics import paired, planning
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import cluster_totals, jackknife, kept_share
from exaone_nb.statistics.verdicts import Evidence, RightOrWrong, Verdict, judge

# One point of a score between 0 and 1; of a perplexity, one percent of the base's.
MARGIN = 0.01
# So many tasks whose names begin alike are the subjects of one benchmark, where no results file says which are.
SUBJECTS = 3


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One candidate against the base on one task, or on the pooled tasks of a group (`parts`).

    `difference` is candidate minus base in the score's unit, with the interval of `found.level`; verdict, words and
    picture come from it. `p_value` is of the exact `test` beside it. `recovery` is the share of the base's score that
    is kept; None when the base scores 0. `discordant` is set for right-or-wrong items only, `clusters` where items
    share a template or a passage; with `of_prompts` items are instructions, clusters their prompts, and `prompt_level` the
    shares of prompts that base and candidate followed altogether. The `outcomes` count every answer of a side. `scale` is the highest score: 1, or 100 for a metric in percent. `part_of` names the group that a task was pooled into; a part is not corrected.
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
    within: Estimate
    margin: float
    found: Verdict
    test: str
    unpaired_z: float
    unpaired_p: float
    recovery: Estimate | None
    discordant: paired.Discordant | None = None
    clusters: int | None = None
    lower_is_better: bool = False
    scale: float = 1.0
    parts: tuple[str, ...] = ()
    part_of: str = ""
    base_outcomes: dict[str, int] = field(default_factory=dict)
    candidate_outcomes: dict[str, int] = field(default_factory=dict)
    of_prompts: bool = False
    prompt_level: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def point(self) -> float:
        """What one point is in the score's unit: a hundredth of the highest score, or of the base's perplexity."""
        return (self.base_score if self.lower_is_better else self.scale) / 100

    @property
    def in_points(self) -> Estimate:
        """The difference in points."""
        return self.difference * (1 / self.point)

    @property
    def verdict(self) -> str:
        """better, worse, equivalent, borderline or undecided."""
        return self.found.name

    @property
    def p_value(self) -> float:
        """The exact p, uncorrected."""
        return self.found.p_exact

    @property
    def p_holm(self) -> float:
        """The exact p after Holm's correction for all questions asked together."""
        return self.found.p_exact_holm

    @property
    def items_to_decide(self) -> int | None:
        """About how many items would decide, where the verdict is borderline or undecided."""
        return self.found.items_to_decide

    @property
    def words(self) -> str:
        """The verdict with its evidence, in sentences."""
        return words(self)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite z (identical answers within each model) becomes null."""
        document = asdict(self)
        found = document.pop("found")
        shown = ("verdict", "p_value", "p_holm", "items_to_decide", "words")
        document |= {name: getattr(self, name) for name in shown}
        document |= {name: found[name] for name in ("level", "within_level")}
        document |= {"p_score": self.found.p, "p_score_holm": self.found.p_holm}
        for name, key in (
            ("difference", "interval"),
            ("within", "within"),
            ("recovery", "recovery_interval"),
        ):
            value, low, high, _ = (document[name] or {"": None, "low": None, "high": None, "n": 0}).values()
            document |= {name: value, key: None if low is None else [low, high]}
        return document | ({} if math.isfinite(self.unpaired_z) else {"unpaired_z": None})


@dataclass(frozen=True)
class _Question:
    """What is known of a comparison before the family it belongs to is judged."""

    fields: dict[str, Any]
    evidence: Evidence
    p_exact: float
    margin: float
    metric: str
    base_score: float

    def judged(self, found: Verdict, part_of: str = "") -> Comparison:
        unit = self._in_metric if self.fields["lower_is_better"] else lambda estimate: estimate
        return Comparison(
            **self.fields,
            found=found,
            difference=unit(found.difference),
            within=unit(found.within),
            part_of=part_of,
        )

    def _in_metric(self, nats: Estimate) -> Estimate:
        """A change of the log-likelihood per unit as a change of the perplexity, the base's value held fixed."""
        at_base = (
            -math.log(self.base_score) if self.metric != "bits_per_byte" else -self.base_score * math.log(2)
        )
        ends = (
            perplexity_of(self.metric, at_base + end) - self.base_score
            for end in (nats.value, nats.high, nats.low)
        )
        return Estimate(*ends, nats.n)


def compare(
    base: ItemScores,
    candidate: ItemScores,
    *,
    names: tuple[str, str] = ("base", "candidate"),
    alpha: float = planning.ALPHA,
    margin: float = MARGIN,
    different_prompts: bool = False,
) -> Comparison:
    """Compare two results on the items both have; unmatched items are left out and counted.

    `margin` is the difference that one does not care about: 0.01 is one point of a score, or one percent of a perplexity.
    Raises WorkbookError when the two do not answer the same question: another task, metric, version, number of
    examples or generation setting, no item in common, or other prompts (allowed by `different_prompts`, which two
    model families with their own templates need).
    """
    question = _question(base, candidate, names, margin, different_prompts)
    return question.judged(*_verdicts([question], alpha))


def compare_all(
    base: Mapping[str, ItemScores],
    candidates: Mapping[str, Mapping[str, ItemScores]],
    *,
    base_name: str = "base",
    alpha: float = planning.ALPHA,
    margin: float | Mapping[str, float] = MARGIN,
    different_prompts: bool = False,
    separate: bool = False,
) -> list[Comparison]:
    """Every candidate against the base on every task both have, the tasks of a group pooled unless `separate`.

    `margin` is one for all, or one for each task and group. A pooled comparison stands before its parts. All questions are corrected together by Holm's method.
    """
    whole: list[tuple[_Question, list[_Question]]] = []
    for name, by_task in candidates.items():
        shared = {task: (base[task], items) for task, items in by_task.items() if task in base}
        single = {
            task: _question(*pair, (base_name, name), _margin_of(task, margin), different_prompts)
            for task, pair in shared.items()
        }
        groups = {} if separate else groups_of([pair[0] for pair in shared.values()])
        for group, tasks in groups.items():
            both = (joined(group, [shared[task][side] for task in tasks]) for side in (0, 1))
            pooled = _question(*both, (base_name, name), _margin_of(group, margin), different_prompts)
            pooled.fields["parts"] = tuple(tasks)
            whole.append((pooled, [single.pop(task) for task in tasks]))
        whole += [(question, []) for question in single.values()]
    if not whole:
        raise WorkbookError(
            say("{base} and {others} have no task in common.", base=base_name, others=", ".join(candidates)),
            remedy=say("Score both on the same tasks: exaone-nb score MODEL --tasks ..."),
        )
    found: list[Comparison] = []
    for (question, parts), verdict in zip(whole, _verdicts([q for q, _ in whole], alpha), strict=True):
        found.append(question.judged(verdict))
        found += [part.judged(*_verdicts([part], alpha), part_of=found[-1].task) for part in parts]
    return found


def groups_of(tasks: Sequence[ItemScores]) -> dict[str, list[str]]:
    """Group -> its tasks, for tasks that are parts of one benchmark and have the same metric.

    The results file of lm-eval says so; where it says nothing, SUBJECTS tasks or more whose names have the first word in
    common are one benchmark (mmlu_anatomy, mmlu_astronomy …).
    """
    named: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for items in tasks:
        group = items.settings.get("group")
        named[group or items.task.partition("_")[0], items.name, bool(group)].append(items.task)
    return {
        group: members
        for (group, name, stated), members in named.items()
        if len(members) >= (2 if stated else SUBJECTS)
        and group not in members
        and not name.metric.endswith("perplexity")
    }


def _margin_of(task: str, margin: float | Mapping[str, float]) -> float:
    return margin.get(task, MARGIN) if isinstance(margin, Mapping) else margin


def _verdicts(questions: Sequence[_Question], alpha: float) -> list[Verdict]:
    family = [question.evidence for question in questions]
    return judge(family, [q.p_exact for q in questions], [q.margin for q in questions], alpha)


def _question(
    base: ItemScores, candidate: ItemScores, names: tuple[str, str], margin: float, different_prompts: bool
) -> _Question:
    rows_base, rows_candidate = _aligned(base, candidate, names, different_prompts)
    x, y, weights = base.values[rows_base], candidate.values[rows_candidate], base.weights[rows_base]
    fields = {
        "task": base.task,
        "metric": str(base.name),
        "base": names[0],
        "candidate": names[1],
        "n": len(x),
        "unmatched_base": base.n - len(x),
        "unmatched_candidate": candidate.n - len(x),
        "margin": margin,
        "lower_is_better": base.is_perplexity,
        "base_outcomes": base.outcomes,
        "candidate_outcomes": candidate.outcomes,
        "of_prompts": base.of_prompts,
        "remarks": (*base.remarks, *candidate.remarks),
    }
    if base.of_prompts:
        prompts = np.array(base.clusters)[rows_base]
        fields["prompt_level"] = tuple(prompt_level(prompts, values) for values in (x, y))
    if base.is_perplexity:
        found, evidence, p_exact, unit = _perplexities(base.name.metric, x, y, weights)
    else:
        clusters = np.array(base.clusters)[rows_base] if base.clusters else None
        found, evidence, p_exact, unit = _scores(x, y, clusters)
    return _Question(fields | found, evidence, p_exact, margin * unit, base.name.metric, found["base_score"])


def _scores(
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
    scale = 1.0 if lowest >= 0 and highest <= 1 else 100.0
    reach = 1.0 if scale == 1 else float(highest - min(lowest, 0.0))
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


def _perplexities(
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
    change = evidence.interval()
    unit = 1.0
    if metric == "bits_per_byte":
        unit = before * math.log(2)
        found["recovery"] = Estimate(before / after, n=len(x))
    else:
        found["recovery"] = Estimate(
            before / after, *(math.exp(end) for end in (change.low, change.high)), len(x)
        )
    return found, evidence, paired.sign_flip_test(y - x), unit


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
