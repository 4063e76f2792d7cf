"""The scores that a person names: recipes of a run, samples files, or folders with them."""

from collections.abc import Sequence
from pathlib import Path

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.items import ItemScores, averaged
from exaone_nb.score.samples import find_samples, read_samples


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
