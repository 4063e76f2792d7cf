"""Reading what lm-eval logged, item by item: `samples_TASK_DATE.jsonl` with `results_DATE.json` beside it.

Any lm-eval run with --log_samples will do, not only ours. Items are known by the hash of their document, so that
two runs are aligned by what was asked, not by the order in which it was asked.
"""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from exaone_nb.catalog import read_config
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.score.items import ItemScores, cluster_of, items_of
from exaone_nb.score.outcomes import MetricName, flags_of, main_metric, warning_of

# What lm-eval writes of an item beside its metrics.
_NO_METRICS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "doc_hash", "prompt_hash", "target_hash", "filter",
    "metrics", "finish_reason", "cluster", "flags",
}  # fmt: skip
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[0-9.-]+)\.jsonl$")


def find_samples(place: str | Path) -> dict[str, Path]:
    """Task name -> newest samples file, for a file, or a folder searched with its subfolders.

    Raises WorkbookError when nothing is there, or when a folder holds the samples of more than one model.
    """
    place = Path(place)
    if place.is_file():
        return {_task_and_date(place)[0]: place}
    if not place.is_dir():
        missing = say("There is no {place}.", place=str(place))
        raise UsageError(missing, expected=say("a samples_*.jsonl file or a folder with some."))
    paths = sorted(place.rglob("samples_*.jsonl"), key=lambda path: (_task_and_date(path)[1], path))
    found = {_task_and_date(path)[0]: path for path in paths}
    folders = {path.parent for path in found.values()}
    if not found:
        remedy = say("Score with `exaone-nb score`, or run lm-eval with --log_samples --output_path.")
        raise WorkbookError(say("No samples_*.jsonl in {place}.", place=place.name), remedy=remedy)
    if len(folders) > 1:
        names = ", ".join(sorted(folder.name for folder in folders))
        several = say("{place} holds the samples of {n} models.", place=place.name, n=len(folders))
        raise UsageError(several, remedy=say("Name one of: {names}", names=names))
    return dict(sorted(found.items()))


def _task_and_date(path: Path) -> tuple[str, str]:
    match = _NAME.match(path.name)
    return (match["task"], match["date"]) if match else (path.stem.removeprefix("samples_"), "")


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cycles while rows are read: they have none, and it takes a quarter of the time of a large file."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collection()
def read_samples(path: str | Path, metric: str = "", filter_name: str = "") -> ItemScores:
    """Read one samples file, one metric, one filter (the task's main ones when not named).

    An item that stands there more than once counts once, and that is said. Raises WorkbookError for a line cut short,
    fewer items than the results file counts, a missing metric, an item with two different values, or a value that is
    not a finite number.
    """
    path = Path(path)
    (task, _), rows = _task_and_date(path), [_without_texts(row) for row in rows_of(path)]
    remarks = []
    if "metrics" not in rows[0]:
        metrics = _metrics_of_old(rows, path.name)
        name = MetricName(metric or metrics[0])
        remarks.append(
            say(
                "{name} is a log of an older lm-eval; {metric} is its metric.",
                name=path.name,
                metric=name.metric,
            )
        )
    else:
        metrics = rows[0]["metrics"]
        filters = list(dict.fromkeys(row.get("filter", "none") for row in rows))
        if filter_name and filter_name not in filters:
            unknown = say("{file} has no filter {name!r}.", file=path.name, name=filter_name)
            raise UsageError(unknown, expected=say("one of {names}.", names=", ".join(filters)))
        chosen = main_metric(metrics, filters)
        name = MetricName(metric or chosen.metric, filter_name or chosen.filter)
        rows = [row for row in rows if row.get("filter", "none") == name.filter]
    if name.metric not in metrics:
        raise UsageError(
            say("{file} has no metric {metric!r}.", file=path.name, metric=name.metric),
            expected=say("one of {metrics}.", metrics=", ".join(metrics)),
        )
    settings = _settings(path, task)
    rows, doubled = _without_doubles(rows, name.metric, path.name)
    if doubled:
        remarks.append(
            say(
                "{doubled} lines of {name} repeat an item and were left out.", doubled=doubled, name=path.name
            )
        )
    counted = settings.get("n_samples")
    if counted is not None and counted != len(rows):
        fields = {"file": path.name, "n": len(rows), "counted": counted}
        raise WorkbookError(
            say("{file} has {n} items; its results file counts {counted}.", **fields),
            remedy=say("The file was cut short or mixed up. Score again, or copy both files again."),
        )
    found = items_of(task, name, rows, source=path.name, settings=settings)
    if warning := warning_of(found.outcomes, path.name):
        remarks.append(warning)
    return replace(found, remarks=tuple(remarks), path=path)


def _metrics_of_old(rows: list[dict[str, Any]], source: str) -> list[str]:
    """The metrics of a log whose lines do not name them, in lm-eval's order.

    Such logs do not name the filter of a line either. Raises WorkbookError where an item has several values, which are
    those of several filters.
    """
    metrics = [
        key for key, value in rows[0].items() if key not in _NO_METRICS and not isinstance(value, str | dict)
    ]
    remedy = say("Score again with the installed lm-eval, which names filter and metric on every line.")
    if not metrics or "doc_id" not in rows[0]:
        raise WorkbookError(
            say("{source} names no metric.", source=source),
            expected=say("samples as lm-eval logs them, with `doc_id` and `metrics` on every line."),
            remedy=remedy,
        )
    seen: dict[Any, Any] = {}
    for row in rows:
        values = [row.get(metric) for metric in metrics]
        if seen.setdefault((row["doc_id"], row.get("doc_hash")), values) != values:
            raise WorkbookError(
                say(
                    "{source} is a log of an older lm-eval: item {item} stands there once for each filter, and the lines do "
                    "not name the filter.",
                    source=source,
                    item=row["doc_id"],
                ),
                expected=say("one line for each item, or lines that name their filter."),
                remedy=remedy,
            )
    return metrics


def _without_doubles(
    rows: list[dict[str, Any]], metric: str, source: str
) -> tuple[list[dict[str, Any]], int]:
    """The rows of each item once, and how many were left out. One document asked twice by a task has two ids."""
    first: dict[Any, dict[str, Any]] = {}
    kept = []
    for row in rows:
        if row.get("doc_id") is None:
            kept.append(row)
            continue
        known = first.setdefault((row["doc_id"], row.get("doc_hash")), row)
        if known is row:
            kept.append(row)
        elif any(known.get(key) != row.get(key) for key in (metric, "prompt_hash")):
            raise WorkbookError(
                say(
                    "Item {item} stands in {source} with two different outcomes.",
                    item=row["doc_id"],
                    source=source,
                ),
                expected=say("the samples of one run in a file."),
                remedy=say(
                    "Take the runs apart. To average seeds: exaone-nb compare BASE CANDIDATE --seeds RUN,RUN"
                ),
            )
    return kept, len(rows) - len(kept)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every line of a samples file as a dict. Raises WorkbookError naming the line that is not one."""
    return list(rows_of(path))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a samples file one by one, so that a large one need not fit into memory. Raises as `read_rows`."""
    number = 0
    with open(path, "rb") as lines:
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
        empty = say("{file} is empty.", file=path.name)
        raise WorkbookError(empty, remedy=say("Score again with samples logged."))


def _without_texts(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what was asked and answered, which a score does not need."""
    row["cluster"], row["flags"] = cluster_of(row), flags_of(row)
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
