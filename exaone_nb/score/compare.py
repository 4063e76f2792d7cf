"""Is the difference between two models real, and is it larger than what one cares about? Paired, item by item.

The tasks of one group (the subjects of a benchmark) are one question: their items are pooled, and each task is shown
beside it as a part. Holm's method corrects across questions, not across the parts of one.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.comparison import Comparison
from exaone_nb.score.evidence import aligned, of_perplexities, of_scores
from exaone_nb.score.items import ItemScores, joined, perplexity_of, prompt_level
from exaone_nb.statistics import planning
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.verdicts import Evidence, Verdict, judge

# One point of a score between 0 and 1; of a perplexity, one percent of the base's.
MARGIN = 0.01
# So many tasks whose names begin alike are the subjects of one benchmark, where no results file says which are.
SUBJECTS = 3


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

    `margin` is one for all, or one for each task and group. A pooled comparison stands before its parts. All questions
    are corrected together by Holm's method.
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
    """Group -> its tasks, for tasks that are parts of one benchmark and have the same metric, perplexities apart.

    The results file of lm-eval says so; where it says nothing, SUBJECTS tasks or more whose names have the first word in
    common are one benchmark (mmlu_anatomy, mmlu_astronomy …).
    """
    named: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for items in tasks:
        group = items.settings.get("group")
        if not items.is_perplexity:
            named[group or items.task.partition("_")[0], items.name, bool(group)].append(items.task)
    return {
        group: members
        for (group, _, stated), members in named.items()
        if len(members) >= (2 if stated else SUBJECTS) and group not in members
    }


def _margin_of(task: str, margin: float | Mapping[str, float]) -> float:
    return margin.get(task, MARGIN) if isinstance(margin, Mapping) else margin


def _verdicts(questions: Sequence[_Question], alpha: float) -> list[Verdict]:
    family = [question.evidence for question in questions]
    return judge(family, [q.p_exact for q in questions], [q.margin for q in questions], alpha)


def _question(
    base: ItemScores, candidate: ItemScores, names: tuple[str, str], margin: float, different_prompts: bool
) -> _Question:
    rows_base, rows_candidate = aligned(base, candidate, names, different_prompts)
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
        found, evidence, p_exact, unit = of_perplexities(base.name.metric, x, y, weights)
    else:
        clusters = np.array(base.clusters)[rows_base] if base.clusters else None
        found, evidence, p_exact, unit = of_scores(x, y, clusters)
    return _Question(fields | found, evidence, p_exact, margin * unit, base.name.metric, found["base_score"])
