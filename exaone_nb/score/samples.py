"""Reading what lm-eval logged, item by item: `samples_TASK_DATE.jsonl` with `results_DATE.json` beside it.

Any lm-eval run with --log_samples will do, not only ours. Items are known by the hash of their document, so that
two runs are aligned by what was asked, not by the order in which it was asked.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.outcomes import MetricName, main_metric

# lm-eval aggregates these as exp(-sum of log-likelihoods / sum of weights), or the like.
PERPLEXITIES = ("word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity")
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[0-9.-]+)\.jsonl$")


@dataclass(frozen=True)
class ItemScores:
    """One metric of one task for every item: `values` [items], their `weights` [items], and what was asked.

    `keys` are document hashes, numbered where a task asks the same document twice. For perplexities a value is a
    log-likelihood and a weight a number of words or bytes; for everything else weights are 1.
    """

    task: str
    name: MetricName
    keys: tuple[str, ...]
    values: np.ndarray
    weights: np.ndarray
    prompts: tuple[str, ...]
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

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
    found: dict[str, tuple[str, Path]] = {}
    for path in sorted(place.rglob("samples_*.jsonl")):
        task, date = _task_and_date(path)
        if task not in found or date > found[task][0]:
            found[task] = (date, path)
    folders = {path.parent for _, path in found.values()}
    if not found:
        raise WorkbookError(
            f"No samples_*.jsonl in {place.name}.",
            remedy="Score with `exaone-nb score`, or run lm-eval with --log_samples --output_path.",
        )
    if len(folders) > 1:
        raise UsageError(
            f"{place.name} holds the samples of {len(folders)} models.",
            remedy="Name one of: " + ", ".join(sorted(folder.name for folder in folders)),
        )
    return {task: path for task, (_, path) in sorted(found.items())}


def _task_and_date(path: Path) -> tuple[str, str]:
    match = _NAME.match(path.name)
    return (match["task"], match["date"]) if match else (path.stem.removeprefix("samples_"), "")


def read_samples(path: str | Path, metric: str = "", filter_name: str = "") -> ItemScores:
    """Read one samples file, one metric, one filter (the task's main ones when not named).

    Raises WorkbookError for a line cut short, fewer items than the results file counts, a missing metric, or a
    value that is not a finite number.
    """
    path = Path(path)
    task, _ = _task_and_date(path)
    rows = read_rows(path)
    filters = list(dict.fromkeys(row.get("filter", "none") for row in rows))
    if filter_name and filter_name not in filters:
        raise UsageError(
            f"{path.name} has no filter {filter_name!r}.", expected=f"one of {', '.join(filters)}."
        )
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
        raise WorkbookError(
            f"{path.name} has {len(rows)} items; its results file counts {counted}.",
            remedy="The file was cut short or mixed up. Score again, or copy both files again.",
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
    keys, values, weights = [], [], []
    for row in rows:
        document = str(row.get("doc_hash") or row.get("doc_id"))
        keys.append(f"{document}#{seen[document]}" if seen[document] else document)
        seen[document] += 1
        value, weight = _number(row.get(name.metric))
        if value is None:
            raise WorkbookError(
                f"Item {row.get('doc_id')} of {source or task} has {name.metric} = {row.get(name.metric)!r}.",
                expected="a finite number for every item.",
                remedy="Look at that item's answer; a NaN usually means that the model's logits overflowed.",
            )
        values.append(value)
        weights.append(weight)
    return ItemScores(
        task=task,
        name=name,
        keys=tuple(keys),
        values=np.array(values, dtype=float),
        weights=np.array(weights, dtype=float),
        prompts=tuple(str(row.get("prompt_hash") or "") for row in rows),
        source=source,
        settings=settings or {},
    )


def _number(value: Any) -> tuple[float | None, float]:
    """(value, weight) of a logged metric; (None, 1) for what is not a finite number."""
    weight = 1.0
    if isinstance(value, (list, tuple)) and len(value) == 2:
        value, weight = value
    try:
        value, weight = float(value), float(weight)
    except (TypeError, ValueError):
        return None, 1.0
    return (value, weight) if math.isfinite(value) and weight > 0 else (None, 1.0)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every line of a samples file as a dict. Raises WorkbookError naming the line that is not one."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise WorkbookError(
                    f"Line {number} of {path.name} is not JSON: the file is cut short or damaged.",
                    remedy="Copy it again, or score again.",
                ) from error
            if not isinstance(row, dict):
                raise WorkbookError(f"Line {number} of {path.name} is not a JSON object.")
            rows.append(row)
    if not rows:
        raise WorkbookError(f"{path.name} is empty.", remedy="Score again with samples logged.")
    return rows


def _settings(path: Path, task: str) -> dict[str, Any]:
    """What the results file beside `path` says about how the task was asked; empty when there is none."""
    _, date = _task_and_date(path)
    results = path.with_name(f"results_{date}.json")
    if not date or not results.is_file():
        return {}
    try:
        document = json.loads(results.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkbookError(
            f"{results.name} is not JSON.", remedy="Copy it again, or score again."
        ) from error
    config = document.get("configs", {}).get(task, {})
    return {
        "version": document.get("versions", {}).get(task),
        "num_fewshot": document.get("n-shot", {}).get(task),
        "generation_kwargs": config.get("generation_kwargs"),
        "n_samples": document.get("n-samples", {}).get(task, {}).get("effective"),
        "model": document.get("model_name"),
        "chat_template": document.get("chat_template_sha"),
    }
