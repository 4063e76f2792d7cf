"""One metric of one task, item by item: values, what items share, and what became of the answers."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.outcomes import MetricName, count_outcomes, flags_of

# lm-eval aggregates these as exp(-sum of log-likelihoods / sum of weights), or the like.
PERPLEXITIES = ("word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity")
# What must be equal for two results to answer the same question.
SETTINGS = {
    "version": say("task versions"),
    "num_fewshot": say("numbers of few-shot examples"),
    "generation_kwargs": say("generation settings"),
}
# Fields of a document that several items may share: nano's template, and the passages of reading tasks.
CLUSTER_FIELDS = ("template", "passage", "paragraph", "flores_passage", "article")


@dataclass(frozen=True)
class ItemScores:
    """One metric of one task for every item: `values` [items], their `weights` [items], and what was asked.

    `keys` are document hashes, numbered where a task asks the same document twice. For perplexities a value is a
    log-likelihood and a weight a number of words or bytes; for everything else weights are 1. `clusters` [items] name
    what items share, a template or a passage; empty where the data do not say. With `of_prompts` an item is one of the
    instructions of a prompt, and the prompt is its cluster. `outcomes` counts what became of the answers, and `remarks`
    are what a reader of the score must know. `path` is the file it was read from; None for several together.
    """

    task: str
    name: MetricName
    keys: tuple[str, ...]
    values: np.ndarray
    weights: np.ndarray
    prompts: tuple[str, ...]
    source: str
    settings: dict[str, Any] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    of_prompts: bool = False
    outcomes: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def n(self) -> int:
        return len(self.keys)

    @property
    def is_perplexity(self) -> bool:
        return self.name.metric in PERPLEXITIES

    @property
    def is_binary(self) -> bool:
        return not self.is_perplexity and bool(np.isin(self.values, (0.0, 1.0)).all())

    @property
    def score(self) -> float:
        """The task's score: the mean, or the perplexity."""
        if self.is_perplexity:
            return perplexity_of(self.name.metric, float(self.values.sum() / self.weights.sum()))
        return float(self.values.mean())

    def differing(self, other: Self) -> dict[str, Any]:
        """The first setting that differs: `what` it is and its values `a` and `b`; empty when none is known to."""
        for key, what in SETTINGS.items():
            a, b = self.settings.get(key), other.settings.get(key)
            if None not in (a, b) and a != b:
                return {"what": what, "a": str(a), "b": str(b)}
        return {}


def prompt_level(prompts: np.ndarray, values: np.ndarray) -> float:
    """The share of prompts all of whose instructions were followed; `prompts` and `values` [instructions]."""
    names, place = np.unique(prompts, return_inverse=True)
    followed = np.ones(len(names))
    np.minimum.at(followed, place, values)
    return float(followed.mean())


def perplexity_of(metric: str, mean_log_likelihood: float) -> float:
    """A perplexity, or bits per byte, from the mean log-likelihood (nats) per unit of weight."""
    if metric == "bits_per_byte":
        return -mean_log_likelihood / math.log(2)
    return math.exp(-mean_log_likelihood)


def items_of(
    task: str,
    name: MetricName,
    rows: list[dict[str, Any]],
    source: str = "",
    settings: dict[str, Any] | None = None,
) -> ItemScores:
    """ItemScores from lm-eval's logged samples of one filter.

    A perplexity is logged as (log-likelihood, weight), and whether the instructions of one prompt were followed as a
    list, whatever its length; every instruction is an item then. Raises WorkbookError for a value that is neither these
    nor a number.
    """
    seen: Counter[str] = Counter()
    keys: list[str] = []
    pairs, prompts, clusters = [], [], []
    instructions = name.metric not in PERPLEXITIES and any(
        _are_instructions(row, name.metric) for row in rows
    )
    for row in rows:
        document, logged = str(row.get("doc_hash") or row.get("doc_id")), row.get(name.metric)
        key = f"{document}#{seen[document]}" if seen[document] else document
        seen[document] += 1
        if instructions and _are_instructions(row, name.metric):
            found = {f"{key}/{number}": (value, 1) for number, value in enumerate(logged)}
        elif name.metric in PERPLEXITIES and isinstance(logged, list | tuple) and len(logged) == 2:
            found = {key: logged}
        else:
            found = {key: (None if instructions else logged, 1)}
        keys += found
        pairs += [_numbers(pair, row, logged, source or task, name.metric) for pair in found.values()]
        prompts += [str(row.get("prompt_hash") or "")] * len(found)
        clusters += [cluster_of(row) or (key if instructions else "")] * len(found)
    flags = (row["flags"] if "flags" in row else flags_of(row) for row in rows)
    known = {
        "settings": settings or {},
        "clusters": tuple(clusters) if all(clusters) else (),
        "of_prompts": instructions,
        "outcomes": {}
        if name.metric in PERPLEXITIES
        else count_outcomes(flags, (row[name.metric] for row in rows)),
    }
    return ItemScores(task, name, tuple(keys), *np.array(pairs).T, tuple(prompts), source, **known)


def _are_instructions(row: dict[str, Any], metric: str) -> bool:
    """Whether a value says of each instruction of a prompt whether it was followed: IFEval's way to log it."""
    logged = row.get(metric)
    return isinstance(logged, list | tuple) and (
        metric.startswith("inst_level") or all(isinstance(value, bool) for value in logged)
    )


def _numbers(pair: Any, row: dict[str, Any], logged: Any, source: str, metric: str) -> tuple[float, float]:
    fields = {"item": row.get("doc_id"), "source": source, "metric": metric, "logged": logged}
    try:
        value, weight = map(float, pair)
    except (TypeError, ValueError):
        value = weight = math.nan
    if math.isfinite(value) and weight > 0:
        return value, weight
    got = say("Item {item} of {source} has {metric} = {logged!r}.", **fields)
    if isinstance(logged, list | tuple):
        raise WorkbookError(
            got,
            expected=say("one number for every item: this metric is computed from all items at once."),
            remedy=say("Name another with --metric, for instance acc."),
        )
    raise WorkbookError(
        got,
        expected="a finite number for every item.",
        remedy="Look at that item's answer; a NaN usually means that the model's logits overflowed.",
    )


def cluster_of(row: dict[str, Any]) -> str:
    """What names the cluster that an item belongs to; empty where its document does not say."""
    document = row.get("doc")
    if not isinstance(document, dict):
        return row.get("cluster", "")
    shared = next((document[name] for name in CLUSTER_FIELDS if document.get(name)), "")
    return hashlib.sha256(str(shared).encode()).hexdigest()[:16] if shared else ""


def joined(group: str, tasks: Sequence[ItemScores]) -> ItemScores:
    """The items of several tasks as those of one. Keys and clusters of two tasks never meet."""
    return replace(
        tasks[0],
        task=group,
        keys=tuple(f"{items.task}/{key}" for items in tasks for key in items.keys),
        values=np.concatenate([items.values for items in tasks]),
        weights=np.concatenate([items.weights for items in tasks]),
        prompts=tuple(prompt for items in tasks for prompt in items.prompts),
        source=" + ".join(items.source for items in tasks),
        path=None,
        settings={},
        clusters=tuple(f"{items.task}/{name}" for items in tasks for name in items.clusters)
        if all(items.clusters for items in tasks)
        else (),
        outcomes=added(items.outcomes for items in tasks),
        remarks=tuple(remark for items in tasks for remark in items.remarks),
    )


def added(outcomes: Iterable[dict[str, int]]) -> dict[str, int]:
    """The counts of several tasks or seeds together."""
    total: Counter[str] = Counter()
    for counts in outcomes:
        total.update(counts)
    return dict(total)


def averaged(runs: Sequence[ItemScores]) -> ItemScores:
    """One ItemScores from several seeds of the same model and task: each item's mean over the seeds."""
    first, values = runs[0], []
    if len(runs) == 1:
        return first
    for run in runs:
        if (run.task, run.name) != (first.task, first.name) or set(run.keys) != set(first.keys):
            raise WorkbookError(
                say("{one} has other items than {first}.", one=run.source, first=first.source),
                expected=say("the same task, metric and items for every seed."),
            )
        if differing := first.differing(run):
            raise WorkbookError(
                say("The seeds of {task} have different {what} ({a} and {b}).", task=first.task, **differing),
                expected=say("nothing but the seed to differ."),
            )
        by_key = dict(zip(run.keys, run.values, strict=True))
        values.append([by_key[key] for key in first.keys])
    return replace(
        first,
        values=np.mean(values, axis=0),
        source=" + ".join(run.source for run in runs),
        path=None,
        outcomes=added(run.outcomes for run in runs),
        remarks=tuple(remark for run in runs for remark in run.remarks),
    )
