"""What a run knows about each candidate: its bytes, its seconds per token, its score on every task.

Read from the run folder's results (chapters 05, 06 and 07 write them). What is missing is said with the command
that makes it; a candidate without one of the three axes is left out, never filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.evaluate import fingerprint, measured
from exaone_nb.statistics.estimate import Estimate

SPEED_LABEL = "per_token"
AXES = {"bytes": "05", "speed": "06", "accuracy": "07"}


@dataclass(frozen=True)
class BoardCandidate:
    """The measurements of one recipe, as the result files hold them. `tasks` maps a task to its accuracy result."""

    recipe: str
    size: dict[str, Any]
    speed: dict[str, Any]
    tasks: dict[str, dict[str, Any]]

    @property
    def file_bytes(self) -> int:
        return int(self.size["value"])

    @property
    def scheme(self) -> str:
        return str(self.size["details"].get("scheme") or "")

    @property
    def seconds_per_token(self) -> Estimate:
        return measured(self.speed)

    @property
    def runs_as(self) -> str:
        """The scheme that the engine made of this one, where it is another (W4A8 on a CPU with AMX), else empty."""
        for result in (*self.tasks.values(), self.speed):
            if found := str(result["details"].get("runs_as") or ""):
                return found
        return ""

    @property
    def unusable_answers(self) -> int:
        """Answers that were cut, empty or unreadable, over all tasks."""
        outcomes = [result["details"].get("outcomes", {}) for result in self.tasks.values()]
        return sum(
            int(found.get(kind, 0)) for found in outcomes for kind in ("truncated", "empty", "unparsable")
        )


@dataclass(frozen=True)
class Candidates:
    """All candidates of a run, the baseline first; `remarks` says what was left out and which command makes it."""

    baseline: str
    tasks: tuple[str, ...]
    found: dict[str, BoardCandidate]
    remarks: tuple[str, ...] = ()

    def correctness(self, task: str) -> tuple[np.ndarray, bool]:
        """(values [candidates, items], True) for items that all candidates answered; ([candidates, 0], False) when
        the results do not hold the items, or hold different ones."""
        tables = [candidate.tasks[task]["details"].get("items") or {} for candidate in self.found.values()]
        shared = set(tables[0]).intersection(*tables[1:])
        if len(shared) < 2 or any(len(table) != len(shared) for table in tables):
            return np.empty((len(tables), 0)), False
        order = sorted(shared)
        return np.array([[float(table[item]) for item in order] for table in tables]), True


def read_candidates(run: RunFolder, *, baseline: str = BASELINE, tasks: tuple[str, ...] = ()) -> Candidates:
    """Join the run's results. `tasks` empty means every task that is scored as a fraction.

    Raises WorkbookError when the baseline, or any one axis, is missing altogether.
    """
    sizes = {r["recipe"]: r for r in run.read_results("bytes")}
    speeds = {r["recipe"]: r for r in run.read_results("speed") if r["label"] == SPEED_LABEL}
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for result in run.read_results("accuracy"):
        if result["unit"] == "fraction" and (not tasks or result["label"] in tasks):
            scores.setdefault(result["recipe"], {})[result["label"]] = result
    axes = {"bytes": sizes, "speed": speeds, "accuracy": scores}
    absent = [axis for axis, results in axes.items() if not results]
    if absent:
        raise WorkbookError(
            say("This run has no results for {axes}.", axes=", ".join(absent)),
            expected=say("one result file per candidate and axis in {run}/results.", run=run.path.name),
            remedy=_remedy(run, absent),
        )
    everyone = sorted(set(sizes) | set(speeds) | set(scores), key=lambda name: (name != baseline, name))
    missing = {name: [axis for axis, results in axes.items() if name not in results] for name in everyone}
    complete = [name for name in everyone if not missing[name]]
    if baseline not in complete:
        others = ", ".join(complete) or say("no complete candidate")
        remedy = say("Name another base; this run has {names}.", names=others)
        if baseline in missing:
            remedy = _remedy(run, missing[baseline])
        raise WorkbookError(
            say("The base {name!r} has not been measured on every axis.", name=baseline),
            expected=say("bytes, speed and accuracy of the model that everything is compared with."),
            remedy=remedy,
        )
    remarks = [
        say(
            "{name} is left out: no {axes}. {remedy}",
            name=n,
            axes=", no ".join(axes),
            remedy=_remedy(run, axes),
        )
        for n, axes in missing.items()
        if axes
    ]
    for name in complete:
        _refuse_stale(run, name, sizes[name], scores[name])
    shared = [task for task in scores[baseline] if all(task in scores[name] for name in complete)]
    for task in sorted({task for name in complete for task in scores[name]} - set(shared)):
        lacking = ", ".join(name for name in complete if task not in scores[name])
        remarks.append(
            say("Task {task} is left out: {names} was not scored on it.", task=task, names=lacking)
        )
    if not shared:
        raise WorkbookError(
            say("No task was scored for every candidate."),
            remedy=_remedy(run, ["accuracy"]),
        )
    remarks += _mixed({n: {**scores[n], "": speeds[n]} for n in complete}, shared, baseline)
    return Candidates(
        baseline=baseline,
        tasks=tuple(shared),
        found={
            name: BoardCandidate(
                name, sizes[name], speeds[name], {task: scores[name][task] for task in shared}
            )
            for name in complete
        },
        remarks=tuple(remarks),
    )


def _remedy(run: RunFolder, axes: Iterable[str]) -> str:
    """The command that measures these axes."""
    chapters = " ".join(AXES[axis] for axis in axes)
    return say("Run: exaone-nb run {chapters} --out {run}", chapters=chapters, run=run.path.name)


def _refuse_stale(run: RunFolder, name: str, size: dict[str, Any], scores: dict[str, dict[str, Any]]) -> None:
    """Raise WorkbookError when a result belongs to an earlier checkpoint of the same name."""
    folder = run.checkpoints / name
    if not (folder / "config.json").is_file():
        return  # results alone can be shown, for instance those of a run that somebody sent
    actual = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if actual != size["value"]:
        raise WorkbookError(
            say(
                "{size[recipe]} has {now:,} bytes now, and {size[value]:,} were measured.",
                size=size,
                now=actual,
            ),
            remedy=_remedy(run, AXES),
        )
    current = fingerprint(folder)
    for task, result in scores.items():
        scored = result["details"].get("model_fingerprint")
        if scored and scored != current:
            raise WorkbookError(
                say("{task} was scored on another {name} than the one there now.", task=task, name=name),
                expected=say("scores of the checkpoints in this run."),
                remedy=_remedy(run, ["speed", "accuracy"]),
            )


def _mixed(results: dict[str, dict[str, Any]], tasks: list[str], baseline: str) -> list[str]:
    """Remarks on speeds that were taken differently. Raises WorkbookError for scores that do not compare."""

    def odd(task: str, key: str) -> str:
        values = {name: result[task]["details"].get(key) for name, result in results.items()}
        return ", ".join(name for name, value in values.items() if value != values[baseline])

    scored = {"metric": say("metric"), "task_version": say("version"), "num_fewshot": say("few-shot setting")}
    for task in tasks:
        for key, what in scored.items():
            if names := odd(task, key):
                fields = {"task": task, "what": what, "names": names, "base": baseline}
                raise WorkbookError(
                    say("{task} was scored with another {what} for {names} than for {base}.", **fields),
                    expected=say("one metric, version and few-shot setting for all candidates."),
                    remedy=say("Score them again with the same settings: exaone-nb run 07 --force"),
                )
    timed = {"engine": say("engine"), "device": say("device"), "batch": say("batch")}
    return [
        say(
            "Speed was measured with another {what} for {names} than for {base}: compare with care.", **fields
        )
        for key, what in timed.items()
        if (fields := {"what": what, "names": odd("", key), "base": baseline})["names"]
    ]
