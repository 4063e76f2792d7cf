"""GO, NO-GO or UNDECIDED: what a run measured, held against a policy.

A line of a policy is `met` when the measurements show it, `broken` when they show the opposite, and `undecided` in between
or when it was not measured. A critical line that is broken is NO-GO, and one that is not met leaves the answer UNDECIDED. A
supporting line is NO-GO when it is broken. Advisory lines decide nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from exaone_nb.errors import UsageError
from exaone_nb.messages import say, translated
from exaone_nb.results import RunFolder
from exaone_nb.score.candidates import AXES, SPEED_LABEL, in_same_rounds
from exaone_nb.score.compare import Comparison, compare_all, groups_of
from exaone_nb.score.evaluate import measured
from exaone_nb.score.items import ItemScores, joined
from exaone_nb.score.named import scored_items
from exaone_nb.score.outcomes import warning_of
from exaone_nb.score.policy import Policy, PolicyLine
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate, over_repeats

State = Literal["met", "broken", "undecided"]
Answer = Literal["GO", "NO-GO", "UNDECIDED"]
ANSWERS: tuple[Answer, ...] = ("GO", "UNDECIDED", "NO-GO")


@dataclass(frozen=True)
class LineCheck:
    """One requirement held against one candidate.

    `measured` is in points for a task, else in the budget's own unit. `words` is the whole comparison of a task.
    """

    requirement: PolicyLine
    state: State
    verdict: str
    measured: Estimate | None
    reason: str
    words: str = ""


@dataclass(frozen=True)
class Gate:
    """The answer for one candidate, and the checks it rests on."""

    candidate: str
    checks: tuple[LineCheck, ...]

    @property
    def answer(self) -> Answer:
        states = {(check.requirement.tier, check.state) for check in self.checks}
        if states & {("critical", "broken"), ("supporting", "broken")}:
            return "NO-GO"
        return "UNDECIDED" if ("critical", "undecided") in states else "GO"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, with every check."""
        checks = []
        for check in self.checks:
            found = check.measured
            checks.append(
                asdict(check.requirement)
                | {name: getattr(check, name) for name in ("state", "verdict", "reason", "words")}
                | {"value": found and found.value, "interval": found and found.interval}
            )
        return {"candidate": self.candidate, "answer": self.answer, "checks": checks}


def gate(run: RunFolder, policy: Policy, candidates: Sequence[str] = ()) -> list[Gate]:
    """Hold candidates (default: everything scored beside the base) against a policy.

    Raises UsageError for a candidate that the run knows nothing of, WorkbookError for scores that do not compare.
    """
    results = run.read_results()
    known = dict.fromkeys(result["recipe"] for result in results)
    chosen = list(candidates) or [
        name for name in known if name != policy.base and not name.startswith("dummy ")
    ]
    for name in (policy.base, *chosen):
        if name not in known:
            raise UsageError(
                say("This run has no results of {name!r}.", name=name),
                expected=say("one of {names}.", names=", ".join(known)) if known else "",
                remedy=say("Measure it: exaone-nb run 07 09 10 --out {run}", run=run.out),
            )
    if policy.base in chosen or not chosen:
        raise UsageError(say("There is no candidate beside the base {base!r}.", base=policy.base))
    with_scores = {result["recipe"] for result in results if result["kind"] == "accuracy"}
    scored = {name: scored_items(run, name) if name in with_scores else {} for name in (policy.base, *chosen)}
    requirements = list(policy.requirements(_whole_tasks(scored[policy.base])))
    compared = _comparisons(scored, policy, [r for r in requirements if r.kind == "task"])
    speeds = {r["recipe"]: r for r in results if r["kind"] == "speed" and r["label"] == SPEED_LABEL}
    sizes = {r["recipe"]: r for r in results if r["kind"] == "bytes"}
    found = []
    for name in chosen:
        checks = []
        for requirement in requirements:
            if requirement.kind == "task":
                checks.append(
                    _of_task(requirement, compared.get((name, requirement.what)), run, sizes.get(name))
                )
            else:
                of = sizes if requirement.kind == "bytes" else speeds
                checks.append(_of_budget(requirement, of.get(name), of.get(policy.base), run))
        found.append(Gate(name, tuple(checks)))
    return found


def answer_of(gates: Sequence[Gate]) -> Answer:
    """The worst of several answers."""
    return max((one.answer for one in gates), key=ANSWERS.index)


def gate_table(gates: Sequence[Gate]) -> Table:
    """One row per candidate and requirement."""
    columns = [
        Column("candidate", say("candidate"), code=True),
        Column("answer", say("answer")),
        Column("tier", say("tier"), ours=True),
        Column("what", say("what"), code=True),
        Column("asked", say("asked for")),
        Column("state", say("state"), ours=True),
        Column("reason", say("because")),
    ]
    rows = []
    for one in gates:
        for number, check in enumerate(one.checks):
            first = {} if number else {"candidate": one.candidate, "answer": one.answer}
            requirement = check.requirement
            shown = {"tier": requirement.tier, "what": requirement.what, "asked": requirement.words}
            rows.append(first | shown | {"state": check.state, "reason": check.reason})
    return Table(columns, rows)


def _comparisons(
    scored: dict[str, dict[str, ItemScores]], policy: Policy, asked: Sequence[PolicyLine]
) -> dict[tuple[str, str], Comparison]:
    """(candidate, task) -> its comparison. All tasks and candidates of the policy are one family of questions."""
    margins = {requirement.what: requirement.limit for requirement in asked}
    others = {name: _named(items, list(margins)) for name, items in scored.items()}
    base = others.pop(policy.base)
    if not any(set(base) & set(tasks) for tasks in others.values()):
        return {}
    found = compare_all(
        base, others, base_name=policy.base, alpha=policy.alpha, margin=margins, separate=True
    )
    return {(comparison.candidate, comparison.task): comparison for comparison in found}


def _whole_tasks(scored: dict[str, ItemScores]) -> list[str]:
    """Tasks by name; the subjects of a benchmark under the benchmark's own."""
    groups = groups_of(list(scored.values()))
    parts = {task for tasks in groups.values() for task in tasks}
    return [*groups, *(task for task in scored if task not in parts)]


def _named(scored: dict[str, ItemScores], names: Sequence[str]) -> dict[str, ItemScores]:
    """The tasks that a policy names; a benchmark's name stands for its subjects together."""
    groups = groups_of(list(scored.values()))
    pooled = {
        name: joined(name, [scored[task] for task in tasks])
        for name, tasks in groups.items()
        if name in names
    }
    return {name: scored[name] for name in names if name in scored} | pooled


def _of_task(
    requirement: PolicyLine, found: Comparison | None, run: RunFolder, size: dict[str, Any] | None
) -> LineCheck:
    if found is None:
        if size and (size.get("details") or {}).get("format") == "gguf":
            return _unmeasured(
                requirement,
                say(
                    "not scored for both; llama.cpp cannot be asked a multiple-choice task, so a GGUF file has none"
                ),
            )
        remedy = say("exaone-nb score MODEL --tasks {task} --out {run}", task=requirement.what, run=run.path)
        return _unmeasured(requirement, say("not scored for both; {remedy}", remedy=remedy))
    if unusable := warning_of(found.base_outcomes, found.base):
        return _unmeasured(requirement, unusable)
    # As the verdict is found: positive is better, whatever the metric.
    within = found.found.within
    state: State = "undecided"
    if found.verdict in ("better", "equivalent") or within.low > -found.found.margin:
        state = "met"
    elif found.verdict == "worse":
        state = "broken"
    # The interval that the state was read from: that of the difference, or that of the margin.
    different = found.verdict in ("better", "worse")
    shown = found.in_points if different else found.within * (1 / found.point)
    reason = say(
        "{verdict}: {e.value:+.1f} points, {level:.3g} % from {e.low:+.1f} to {e.high:+.1f}, n = {n:,}",
        verdict=translated(found.verdict),
        level=100 * (found.found.level if different else found.found.within_level),
        e=shown,
        n=found.n,
    )
    return LineCheck(requirement, state, found.verdict, shown, reason, found.words)


def _of_budget(
    requirement: PolicyLine, found: dict[str, Any] | None, base: dict[str, Any] | None, run: RunFolder
) -> LineCheck:
    if found is None or (requirement.of_base and base is None):
        axis = "bytes" if requirement.kind == "bytes" else "speed"
        remedy = say("exaone-nb run {chapter} --out {run}", chapter=AXES[axis], run=run.out)
        return _unmeasured(requirement, say("not measured; {remedy}", remedy=remedy))
    if requirement.kind == "bytes":
        value = found["value"] / base["value"] if requirement.of_base else found["value"]
        estimate = Estimate(value, value, value)
    else:
        estimate = time_ratio(found, base) if requirement.of_base else measured(found)
    shown = _amount(requirement, estimate)
    if estimate.interval is None:
        return LineCheck(
            requirement, "undecided", "", estimate, say("{shown}, measured once: no interval", shown=shown)
        )
    low, high = estimate.interval
    state: State = (
        "met" if high <= requirement.limit else "broken" if low > requirement.limit else "undecided"
    )
    return LineCheck(requirement, state, "", estimate, shown)


def time_ratio(found: dict[str, Any], base: dict[str, Any]) -> Estimate:
    """A candidate's time over the base's: round by round where both were measured in the same rounds."""
    if in_same_rounds(found, base):
        rounds = (result["details"]["values"] for result in (found, base))
        return over_repeats([one / other for one, other in zip(*rounds, strict=True)])
    times = [measured(result) for result in (found, base)]
    ratio = times[0].value / times[1].value
    if any(time.interval is None for time in times):
        return Estimate(ratio)
    # Both intervals are symmetric on a log scale, and independent.
    half = math.hypot(*(math.log(time.high / time.low) / 2 for time in times))
    return Estimate(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def _amount(requirement: PolicyLine, found: Estimate) -> str:
    if requirement.kind == "bytes" and not requirement.of_base:
        return say("{n:,} bytes", n=int(found.value))
    scale, unit = (100, say("% of the base's")) if requirement.of_base else (1e3, say("ms per token"))
    scaled = found * scale
    if found.interval is None or found.low == found.high:
        return say("{value:.4g} {unit}", value=scaled.value, unit=unit)
    return say("{e.value:.4g} {unit} ({e.low:.4g} to {e.high:.4g})", e=scaled, unit=unit)


def _unmeasured(requirement: PolicyLine, reason: str) -> LineCheck:
    return LineCheck(requirement, "undecided", "", None, reason)
