"""Reading what lm-eval logged, item by item: `samples_TASK_DATE.jsonl` with `results_DATE.json` beside it.

Any lm-eval run with --log_samples will do, not only ours. Items are known by the hash of their document, so that
two runs are aligned by what was asked, not by the order in which it was asked. `read_named` finds what a person names:
recipes of a run, samples files, or folders with them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb.catalog import read_config
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.outcomes import MetricName, main_metric

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
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[0-9.-]+)\.jsonl$")


@dataclass(frozen=True)
class ItemScores:
    """One metric of one task for every item: `values` [items], their `weights` [items], and what was asked.

    `keys` are document hashes, numbered where a task asks the same document twice. For perplexities a value is a
    log-likelihood and a weight a number of words or bytes; for everything else weights are 1. `clusters` [items] name
    what items share, a template or a passage; empty where the data do not say.
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

    def differing(self, other: ItemScores) -> dict[str, Any]:
        """The first setting that differs: `what` it is and its values `a` and `b`; empty when none is known to."""
        for key, what in SETTINGS.items():
            a, b = self.settings.get(key), other.settings.get(key)
            if None not in (a, b) and a != b:
                return {"what": what, "a": str(a), "b": str(b)}
        return {}


def perplexity_of(metric: str, mean_log_likelihood: float) -> float:
    """A perplexity, or bits per byte, from the mean log-likelihood (nats) per unit of weight."""
    if metric == "bits_per_byte":
        return -mean_log_likelihood / math.log(2)
    return math.exp(-mean_log_likelihood)


def find_samples(place: str | Path) -> dict[str, Path]:
    """Task name -> newest samples file, for a file, or a folder searched with its subfolders.

    Raises WorkbookError when nothing is there, or when a folder holds the samples of more than one model.
    """
    place = Path(place)
    if place.is_file():
        return {_task_and_date(place)[0]: place}
    if not place.is_dir():
        raise UsageError(f"There is no {place}.", expected="a samples_*.jsonl file or a folder with some.")
    paths = sorted(place.rglob("samples_*.jsonl"), key=lambda path: (_task_and_date(path)[1], path))
    found = {_task_and_date(path)[0]: path for path in paths}
    folders = {path.parent for path in found.values()}
    if not found:
        remedy = "Score with `exaone-nb score`, or run lm-eval with --log_samples --output_path."
        raise WorkbookError(f"No samples_*.jsonl in {place.name}.", remedy=remedy)
    if len(folders) > 1:
        remedy = "Name one of: " + ", ".join(sorted(folder.name for folder in folders))
        raise UsageError(f"{place.name} holds the samples of {len(folders)} models.", remedy=remedy)
    return dict(sorted(found.items()))


def _task_and_date(path: Path) -> tuple[str, str]:
    match = _NAME.match(path.name)
    return (match["task"], match["date"]) if match else (path.stem.removeprefix("samples_"), "")


def read_samples(path: str | Path, metric: str = "", filter_name: str = "") -> ItemScores:
    """Read one samples file, one metric, one filter (the task's main ones when not named).

    Raises WorkbookError for a line cut short, fewer items than the results file counts, a missing metric, or a
    value that is not a finite number.
    """
    path = Path(path)
    (task, _), rows = _task_and_date(path), [_without_texts(row) for row in rows_of(path)]
    filters = list(dict.fromkeys(row.get("filter", "none") for row in rows))
    if filter_name and filter_name not in filters:
        expected = f"one of {', '.join(filters)}."
        raise UsageError(f"{path.name} has no filter {filter_name!r}.", expected=expected)
    metrics = rows[0].get("metrics") or []
    if not metrics or (metric and metric not in metrics):
        raise UsageError(
            f"{path.name} has no metric {metric!r}." if metric else f"{path.name} names no metric.",
            expected=f"one of {', '.join(metrics)}." if metrics else "lines with a `metrics` list.",
        )
    chosen = main_metric(metrics, filters)
    name = MetricName(metric or chosen.metric, filter_name or chosen.filter)
    settings = _settings(path, task)
    rows = [row for row in rows if row.get("filter", "none") == name.filter]
    counted = settings.get("n_samples")
    if counted is not None and counted != len(rows):
        remedy = "The file was cut short or mixed up. Score again, or copy both files again."
        raise WorkbookError(
            f"{path.name} has {len(rows)} items; its results file counts {counted}.", remedy=remedy
        )
    return items_of(task, name, rows, source=path.name, settings=settings)


def items_of(
    task: str,
    name: MetricName,
    rows: list[dict[str, Any]],
    source: str = "",
    settings: dict[str, Any] | None = None,
) -> ItemScores:
    """ItemScores from lm-eval's logged samples of one filter. Raises WorkbookError for a value that is no number."""
    seen: Counter[str] = Counter()
    keys, pairs = [], []
    for row in rows:
        document, logged = str(row.get("doc_hash") or row.get("doc_id")), row.get(name.metric)
        keys.append(f"{document}#{seen[document]}" if seen[document] else document)
        seen[document] += 1
        pair = logged if isinstance(logged, list | tuple) and len(logged) == 2 else (logged, 1)
        try:
            value, weight = map(float, pair)
        except (TypeError, ValueError):
            value = weight = math.nan
        if not (math.isfinite(value) and weight > 0):
            fields = {"item": row.get("doc_id"), "source": source or task, "metric": name.metric}
            raise WorkbookError(
                say("Item {item} of {source} has {metric} = {logged!r}.", logged=logged, **fields),
                expected="a finite number for every item.",
                remedy="Look at that item's answer; a NaN usually means that the model's logits overflowed.",
            )
        pairs.append((value, weight))
    prompts = tuple(str(row.get("prompt_hash") or "") for row in rows)
    clusters = tuple(map(cluster_of, rows))
    known = {"settings": settings or {}, "clusters": clusters if all(clusters) else ()}
    return ItemScores(task, name, tuple(keys), *np.array(pairs).T, prompts, source, **known)


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
        settings={},
        clusters=tuple(f"{items.task}/{name}" for items in tasks for name in items.clusters)
        if all(items.clusters for items in tasks)
        else (),
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every line of a samples file as a dict. Raises WorkbookError naming the line that is not one."""
    return list(rows_of(path))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a samples file one by one, so that a large one need not fit into memory. Raises as `read_rows`."""
    number = 0
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                where = {"number": number, "name": path.name}
                raise WorkbookError(
                    say(
                        "Line {number} of {name} is no JSON object: the file is cut short or damaged.",
                        **where,
                    ),
                    remedy="Copy it again, or score again.",
                )
            yield row
    if not number:
        raise WorkbookError(f"{path.name} is empty.", remedy="Score again with samples logged.")


def _without_texts(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what was asked and answered, which a score does not need."""
    row["cluster"] = cluster_of(row)
    for name in ("doc", "arguments", "resps", "filtered_resps", "target"):
        row.pop(name, None)
    return row


def _settings(path: Path, task: str) -> dict[str, Any]:
    """What the results file beside `path` says about how the task was asked; empty when there is none."""
    _, date = _task_and_date(path)
    results = path.with_name(f"results_{date}.json")
    if not date or not results.is_file():
        return {}
    document = read_config(results)
    groups = document.get("group_subtasks", {})
    return {
        "version": document.get("versions", {}).get(task),
        "num_fewshot": document.get("n-shot", {}).get(task),
        "generation_kwargs": document.get("configs", {}).get(task, {}).get("generation_kwargs"),
        "n_samples": document.get("n-samples", {}).get(task, {}).get("effective"),
        "group": next((name for name, tasks in groups.items() if task in tasks and name != task), ""),
    }


def scored_items(run: RunFolder, recipe: str) -> dict[str, ItemScores]:
    """Task -> item scores of one recipe of a run folder, by the metric its result names."""
    results = run.read_results("accuracy")
    found = {}
    for result in results:
        if result["recipe"] == recipe:
            metric, _, filter_name = result["details"]["metric"].partition(",")
            samples = run.path / result["details"]["samples_file"]
            found[result["label"]] = read_samples(samples, metric, filter_name)
    if not found:
        known = ", ".join(sorted({result["recipe"] for result in results}))
        raise UsageError(
            say("There is no accuracy of {recipe!r} in this run.", recipe=recipe),
            expected=say("one of {known}.", known=known) if known else "",
            remedy=say("Score it: exaone-nb score MODEL --tasks TASK --out {run}", run=run.path),
        )
    return found


def averaged(runs: Sequence[ItemScores]) -> ItemScores:
    """One ItemScores from several seeds of the same model and task: each item's mean over the seeds."""
    first, values = runs[0], []
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
    return replace(first, values=np.mean(values, axis=0), source=" + ".join(run.source for run in runs))


def read_named(
    names: Sequence[str], runs: Sequence[RunFolder], task: str = "", metric: str = "", filter_name: str = ""
) -> dict[str, dict[str, ItemScores]]:
    """Label -> task -> item scores, each item's mean over the runs (one run per seed).

    `task`, `metric` and `filter_name` narrow what is read; empty takes every task and its main metric. A label is the
    last part of a path, as long as these stay different. Raises UsageError for fewer than two names, a name twice, a
    run twice, a path where there are several runs, and a task that a run lacks.
    """
    if len(names) < 2:
        few = say("compare needs a base and a candidate.")
        raise UsageError(few, remedy="exaone-nb compare BASE CANDIDATE")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError(say("A run folder is named twice."), expected=say("one per seed, --out among them."))
    paths = [name for name in names if Path(name).exists()]
    if paths and len(runs) > 1:
        path = say("{name} is a path.", name=paths[0])
        raise UsageError(path, expected=say("recipes, when --seeds is given."))
    found = [_over_seeds(name, runs, task, metric, filter_name) for name in names]
    if names[0] in names[1:]:
        itself = say("{name} would be compared with itself.", name=names[0])
        raise UsageError(itself, remedy=say("Name two different results."))
    labels = [Path(name).name.removesuffix(".jsonl") if name in paths else name for name in names]
    if len(set(labels)) < len(set(names)):
        labels = list(names)
    if len(runs) > 1:
        labels = [say("{name} (mean of {seeds} seeds)", name=label, seeds=len(runs)) for label in labels]
    return dict(zip(labels, found, strict=True))


def _over_seeds(
    name: str, runs: Sequence[RunFolder], task: str, metric: str, filter_name: str
) -> dict[str, ItemScores]:
    by_run = [_items(name, run, task, metric, filter_name) for run in runs]
    for run, found in zip(runs, by_run, strict=True):
        if missing := ", ".join(sorted(set(by_run[0]) - set(found))):
            raise UsageError(
                say("{name} has no {tasks} in {run}.", name=name, tasks=missing, run=run.path.name),
                remedy=say("Score it there, or name one --task."),
            )
    return {task: averaged([found[task] for found in by_run]) for task in by_run[0]}


def _items(name: str, run: RunFolder, task: str, metric: str, filter_name: str) -> dict[str, ItemScores]:
    if not (Path(name).exists() or metric or filter_name):
        return {t: items for t, items in scored_items(run, name).items() if task in ("", t)}
    files = find_samples(name if Path(name).exists() else run.path / "lm_eval" / name)
    if task and task not in files:
        raise UsageError(
            say("{name} has no task {task!r}.", name=name, task=task),
            expected=say("one of {tasks}.", tasks=", ".join(files)),
        )
    return {t: read_samples(path, metric, filter_name) for t, path in files.items() if task in ("", t)}
