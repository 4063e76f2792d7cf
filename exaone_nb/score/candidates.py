"""What a run knows about each candidate: its bytes, its seconds per token, its score on every task.

Read from the run folder's results (the chapters on quantization, speed and scoring write them). What is missing is said with the command
that makes it; a candidate without one of the three axes is left out, never filled in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from exaone_nb import catalog
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.evaluate import fingerprint
from exaone_nb.score.outcomes import mostly_unusable

SPEED_LABEL = "per_token"
AXES = {"bytes": "07", "speed": "09", "accuracy": "10"}


@dataclass(frozen=True)
class BoardCandidate:
    """The measurements of one recipe, as the result files hold them. `tasks` maps a task to its accuracy result."""

    size: dict[str, Any]
    speed: dict[str, Any]
    tasks: dict[str, dict[str, Any]]

    @property
    def is_gguf(self) -> bool:
        """Whether its weights are a GGUF file."""
        return self.size["details"].get("format") == "gguf"

    @property
    def facts(self) -> dict[str, Any]:
        """What a row of the board shows as it was measured."""
        size, speed = self.size["details"], self.speed["details"]
        scored = [result["details"] for result in self.tasks.values()]
        return {
            "scheme": size.get("scheme") or "",
            "engine": speed.get("engine") or "",
            "file_bytes": int(self.size["value"]),
            "predicted_bytes": size.get("predicted_bytes"),
            "roofline_fraction": speed.get("decode_roofline_fraction"),
            "runs_as": next(filter(None, (details.get("runs_as") for details in (*scored, speed))), ""),
            "unusable_answers": sum(d.get("outcomes", {}).get("unusable", 0) for d in scored),
            "unread": tuple((task, kind) for task, result in self.tasks.items() if (kind := _unread(result))),
        }


def _unread(result: dict[str, Any]) -> str:
    details = result["details"]
    return mostly_unusable(details.get("outcomes", {}), result["n"] or 0, details.get("truncated", 0))


def read_candidates(
    run: RunFolder, *, baseline: str = BASELINE, tasks: tuple[str, ...] = ()
) -> tuple[dict[str, BoardCandidate], list[str]]:
    """Join the run's results: the candidates, the baseline first, and what was left out with the command that makes it.

    `tasks` empty means every task that is scored as a fraction; all candidates have the same tasks in the end. Raises
    WorkbookError when the baseline, or any one axis, is missing altogether.
    """
    sizes = {r["recipe"]: r for r in run.read_results("bytes")}
    speeds = {r["recipe"]: r for r in run.read_results("speed") if r["label"] == SPEED_LABEL}
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for result in run.read_results("accuracy"):
        if result["unit"] == "fraction" and (not tasks or result["label"] in tasks):
            scores.setdefault(result["recipe"], {})[result["label"]] = result
    axes = {"bytes": sizes, "speed": speeds, "accuracy": scores}
    if absent := [axis for axis, results in axes.items() if not results]:
        raise WorkbookError(
            say("This run has no results for {axes}.", axes=_named(absent)),
            expected=say("one result file per candidate and axis in {run}/results.", run=run.out),
            remedy=_remedy(run, absent),
        )
    everyone = sorted({*sizes, *speeds, *scores}, key=lambda name: (name != baseline, name))
    missing = {name: [axis for axis, results in axes.items() if name not in results] for name in everyone}
    complete = [name for name in everyone if not missing[name]]
    if baseline not in complete:
        others = ", ".join(complete) or say("no complete candidate")
        another = say("Name another base; this run has {names}.", names=others)
        raise WorkbookError(
            say("The base {name!r} has not been measured on every axis.", name=baseline),
            remedy=_remedy(run, missing[baseline]) if baseline in missing else another,
        )
    remarks = []
    for name, lost in missing.items():
        if lost:
            fields = {"name": name, "axes": _named(lost), "remedy": _remedy(run, lost)}
            # Where an engine cannot answer a task, the command finds the same reason again.
            told = say(
                "{name} is left out. Not measured: {axes}; the chapter may say why. {remedy}", **fields
            )
            remarks.append(told)
        else:
            _refuse_stale(run, name, sizes[name], scores[name])
    shared = []
    for task in sorted({task for name in complete for task in scores[name]}):
        if names := ", ".join(name for name in complete if task not in scores[name]):
            remarks.append(say("Task {task} is left out. Not scored on it: {names}.", task=task, names=names))
        else:
            shared.append(task)
    if not shared:
        raise WorkbookError(say("No task was scored for every candidate."), remedy=_remedy(run, ["accuracy"]))
    found = {n: BoardCandidate(sizes[n], speeds[n], {t: scores[n][t] for t in shared}) for n in complete}
    return found, [*remarks, *_mixed(found, baseline)]


def in_same_rounds(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results of speed were measured in turns, in several rounds that may be compared one by one."""
    a, b = (result["details"] for result in (one, other))
    together = a.get("rounds_from") and a["rounds_from"] == b.get("rounds_from")
    return bool(together) and len(a.get("values") or []) == len(b.get("values") or []) > 1


def _remedy(run: RunFolder, axes: Iterable[str]) -> str:
    chapters = " ".join(AXES[axis] for axis in axes)
    return say("Run: exaone-nb run {chapters} --out {run}", chapters=chapters, run=run.out)


def _refuse_stale(run: RunFolder, name: str, size: dict[str, Any], scores: dict[str, dict[str, Any]]) -> None:
    """Raise WorkbookError when a result belongs to an earlier checkpoint of the same name."""
    folder = run.checkpoints / name
    if not (folder / "config.json").is_file():
        return  # results alone can be shown, for instance those of a run that somebody sent
    weights = [gguf] if (gguf := catalog.gguf_in(folder)) else folder.glob("*.safetensors")
    actual, measured = sum(path.stat().st_size for path in weights), size["value"]
    if actual != measured:
        fields = {"name": name, "now": actual, "then": measured}
        changed = say("{name} has {now:,} bytes now, and {then:,} were measured.", **fields)
        raise WorkbookError(changed, remedy=_remedy(run, AXES))
    current = fingerprint(folder)
    for task, result in scores.items():
        if result["details"].get("model_fingerprint", current) != current:
            raise WorkbookError(
                say("{task} was scored on another {name} than the one there now.", task=task, name=name),
                remedy=_remedy(run, ["speed", "accuracy"]),
            )


def _named(axes: Iterable[str]) -> str:
    names = {"bytes": say("bytes"), "speed": say("speed"), "accuracy": say("accuracy")}
    return ", ".join(names[axis] for axis in axes)


def _mixed(found: dict[str, BoardCandidate], baseline: str) -> Iterator[str]:
    """Remarks on speeds that were taken differently. Raises WorkbookError for scores that do not compare."""

    def odd(results: dict[str, dict[str, Any]], key: str) -> str:
        values = {name: result["details"].get(key) for name, result in results.items()}
        return ", ".join(name for name, value in values.items() if value != values[baseline])

    scored = {"metric": say("metric"), "task_version": say("version"), "num_fewshot": say("few-shot setting")}
    for task, (key, what) in product(found[baseline].tasks, scored.items()):
        if names := odd({name: candidate.tasks[task] for name, candidate in found.items()}, key):
            fields = {"task": task, "what": what, "names": names, "base": baseline}
            raise WorkbookError(
                say("{task} was scored with another {what} for {names} than for {base}.", **fields),
                expected=say("one metric, version and few-shot setting for all candidates."),
                remedy=say("Score them again with the same settings: exaone-nb run 10 --force"),
            )
    speeds = {name: candidate.speed for name, candidate in found.items()}
    for key, what in {"engine": say("engine"), "device": say("device"), "batch": say("batch")}.items():
        if names := odd(speeds, key):
            fields = {"what": what, "names": names, "base": baseline}
            yield say(
                "Speed was measured with another {what} for {names} than for {base}: compare with care.",
                **fields,
            )
