"""What a run knows about each candidate: its bytes, its seconds per token, its score on every task.

Read from the run folder's results (chapters 05, 06 and 07 write them). What is missing is said with the command
that makes it; a candidate without one of the three axes is left out, never filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exaone_nb.errors import WorkbookError
from exaone_nb.results import BASELINE, RunFolder

SPEED_LABEL = "per_token"
AXES = {"bytes": "05", "speed": "06", "accuracy": "07"}


@dataclass(frozen=True)
class Candidate:
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
    def unusable_answers(self) -> int:
        """Answers that were cut, empty or unreadable, over all tasks."""
        kinds = ("truncated", "empty", "unparsable")
        return sum(
            int(result["details"].get("outcomes", {}).get(kind, 0))
            for result in self.tasks.values()
            for kind in kinds
        )


@dataclass(frozen=True)
class Candidates:
    """All candidates of a run, the baseline first; `remarks` says what was left out and which command makes it."""

    baseline: str
    tasks: tuple[str, ...]
    found: dict[str, Candidate]
    remarks: tuple[str, ...] = field(default=())

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
        chapters = " ".join(AXES[axis] for axis in absent)
        raise WorkbookError(
            f"This run has no results for {', '.join(absent)}.",
            expected=f"results that chapter {chapters.replace(' ', ', ')} writes into {run.path.name}/results.",
            remedy=f"Run: exaone-nb run {chapters} --out {run.path.name}",
        )
    everyone = sorted(set(sizes) | set(speeds) | set(scores), key=lambda name: (name != baseline, name))
    remarks = []
    complete = []
    for name in everyone:
        missing = [axis for axis, results in axes.items() if name not in results]
        if missing:
            chapters = " ".join(AXES[axis] for axis in missing)
            remarks.append(
                f"{name} is left out: no {', no '.join(missing)}. Make it with: exaone-nb run {chapters} --out {run.path.name}"
            )
        else:
            complete.append(name)
    if baseline not in complete:
        raise WorkbookError(
            f"The base {baseline!r} has not been measured on every axis.",
            expected="bytes, speed and accuracy of the model that everything is compared with.",
            remedy=next((r.split("Make it with: ")[1] for r in remarks if r.startswith(f"{baseline} ")), "")
            or f"Name another base; this run has {', '.join(complete) or 'no complete candidate'}.",
        )
    for name in complete:
        _refuse_stale(run, name, sizes[name], scores[name])
    shared = [task for task in scores[baseline] if all(task in scores[name] for name in complete)]
    for task in sorted({task for name in complete for task in scores[name]} - set(shared)):
        lacking = [name for name in complete if task not in scores[name]]
        remarks.append(f"Task {task} is left out: {', '.join(lacking)} was not scored on it.")
    if not shared:
        raise WorkbookError(
            "No task was scored for every candidate.",
            remedy=f"Run: exaone-nb run 07 --out {run.path.name}",
        )
    remarks += _mixed({n: {**scores[n], "": speeds[n]} for n in complete}, shared, baseline)
    return Candidates(
        baseline=baseline,
        tasks=tuple(shared),
        found={
            name: Candidate(name, sizes[name], speeds[name], {task: scores[name][task] for task in shared})
            for name in complete
        },
        remarks=tuple(remarks),
    )


def _refuse_stale(run: RunFolder, name: str, size: dict[str, Any], scores: dict[str, dict[str, Any]]) -> None:
    """Raise WorkbookError when a result belongs to an earlier checkpoint of the same name."""
    folder = run.checkpoints / name
    if not (folder / "config.json").is_file():
        return  # results alone can be shown, for instance those of a run that somebody sent
    actual = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if actual != size["value"]:
        raise WorkbookError(
            f"The bytes of {name} were measured on another checkpoint: {size['value']:,}, now {actual:,}.",
            remedy=f"Run: exaone-nb run 05 06 07 --out {run.path.name}",
        )
    from exaone_nb.score.evaluate import fingerprint

    current = fingerprint(folder)
    for task, result in scores.items():
        scored = result["details"].get("model_fingerprint")
        if scored and scored != current:
            raise WorkbookError(
                f"{task} was scored on another checkpoint {name} than the one that is there now.",
                expected="scores of the checkpoints in this run.",
                remedy=f"Run: exaone-nb run 06 07 --out {run.path.name}",
            )


def _mixed(results: dict[str, dict[str, Any]], tasks: list[str], baseline: str) -> list[str]:
    """Measurements that were taken differently and so do not compare."""
    remarks = []
    for task in tasks:
        for key, what in (
            ("metric", "metric"),
            ("task_version", "version"),
            ("num_fewshot", "few-shot setting"),
        ):
            values = {name: result[task]["details"].get(key) for name, result in results.items()}
            odd = [name for name, value in values.items() if value != values[baseline]]
            if odd:
                raise WorkbookError(
                    f"{task} was scored with another {what} for {', '.join(odd)} than for {baseline}.",
                    expected="one metric, version and few-shot setting for all candidates.",
                    remedy="Score them again with the same settings: exaone-nb run 07 --force",
                )
    for key in ("engine", "device", "batch"):
        values = {name: result[""]["details"].get(key) for name, result in results.items()}
        odd = [name for name, value in values.items() if value != values[baseline]]
        if odd:
            remarks.append(
                f"Speed was measured with another {key} for {', '.join(odd)} than for {baseline}: compare with care."
            )
    return remarks
