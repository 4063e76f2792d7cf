"""What `compare` is asked about by name: recipes of a run, samples files, or folders with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.compare import averaged, scored_items
from exaone_nb.score.samples import ItemScores, find_samples, read_samples


def read_named(
    names: Sequence[str], runs: Sequence[RunFolder], task: str = "", metric: str = "", filter_name: str = ""
) -> dict[str, dict[str, ItemScores]]:
    """Label -> task -> item scores, each item's mean over the runs (one run per seed).

    `task`, `metric` and `filter_name` narrow what is read; empty takes every task and its main metric. A label is the
    last part of a path, as long as these stay different. Raises UsageError for fewer than two names, a name twice, a
    run twice, a path where there are several runs, and a task that a run lacks.
    """
    if len(names) < 2:
        raise UsageError(
            say("compare needs a base and a candidate."), remedy="exaone-nb compare BASE CANDIDATE"
        )
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError(say("A run folder is named twice."), expected=say("one per seed, --out among them."))
    for name in names if len(runs) > 1 else ():
        if Path(name).exists():
            raise UsageError(
                say("{name} is a path.", name=name), expected=say("recipes, when --seeds is given.")
            )
    found = [_over_seeds(name, runs, task, metric, filter_name) for name in names]
    if names[0] in names[1:]:
        itself = say("{name} would be compared with itself.", name=names[0])
        raise UsageError(itself, remedy=say("Name two different results."))
    return dict(zip(_labels(names, len(runs)), found, strict=True))


def _over_seeds(
    name: str, runs: Sequence[RunFolder], task: str, metric: str, filter_name: str
) -> dict[str, ItemScores]:
    first, *others = [_items(name, run, task, metric, filter_name) for run in runs]
    for run, found in zip(runs[1:], others, strict=True):
        if missing := ", ".join(sorted(set(first) - set(found))):
            raise UsageError(
                say("{name} has no {tasks} in {run}.", name=name, tasks=missing, run=run.path.name),
                remedy=say("Score it there, or name one --task."),
            )
    return {task: averaged([first[task], *(found[task] for found in others)]) for task in first}


def _items(name: str, run: RunFolder, task: str, metric: str, filter_name: str) -> dict[str, ItemScores]:
    if Path(name).exists():
        files = find_samples(name)
    elif metric or filter_name:
        files = find_samples(run.path / "lm_eval" / name)
    else:
        found = scored_items(run, name)
        return {t: i for t, i in found.items() if t == task} if task else found
    if task and task not in files:
        raise UsageError(
            say("{name} has no task {task!r}.", name=name, task=task),
            expected=say("one of {tasks}.", tasks=", ".join(files)),
        )
    wanted = [task] if task else list(files)
    return {name: read_samples(files[name], metric, filter_name) for name in wanted}


def _labels(names: Sequence[str], seeds: int) -> list[str]:
    short = [Path(name).name.removesuffix(".jsonl") if Path(name).exists() else name for name in names]
    labels = short if len(set(short)) == len(set(names)) else names
    if seeds > 1:
        labels = [say("{name} (mean of {seeds} seeds)", name=label, seeds=seeds) for label in labels]
    return list(labels)
