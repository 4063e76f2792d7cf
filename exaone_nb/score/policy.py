"""A release policy: which tasks may lose how much, which budgets for bytes and seconds hold, and how strictly.

    critical:                  # every line must be shown
      tasks: {gsm8k: 0.02}     # loses at most two points
      bytes: {of_base: 0.5}    # or {at_most: 1500000000}
    supporting:                # no line may be shown to be broken
      seconds: {of_base: 1.0}  # per token
    advisory: {}               # only reported

`every` among the tasks stands for each task that the run scored and that no line names. Policies that come with the workbook are in data/gates/.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from exaone_nb import schema
from exaone_nb.errors import UsageError
from exaone_nb.messages import did_you_mean, say, translated
from exaone_nb.paths import DATA
from exaone_nb.results import BASELINE
from exaone_nb.written import read_yaml

FOLDER = DATA / "gates"
TIERS = ("critical", "supporting", "advisory")
EVERY = "every"
Margin = schema.kind(
    float,
    lambda value: schema.is_number(value) and 0 < value < 1,
    "a margin between 0 and 1: 0.01 is one point of a score, or one percent of a perplexity.",
    float,
)
Level = schema.kind(
    float, lambda value: schema.is_number(value) and 0 < value < 0.5, "between 0 and 0.5.", float
)
Text = schema.kind(str, lambda value: isinstance(value, str), "a text.")


class BudgetKeys(TypedDict, total=False):
    """`at_most` in bytes or in seconds per token, or `of_base`, a share of the base's."""

    at_most: schema.Positive
    of_base: schema.Positive


Budget = schema.kind(
    dict,
    lambda value: isinstance(value, dict) and len(value) == 1,
    "one of {at_most: NUMBER} and {of_base: SHARE}.",
    lambda value: schema.nested(value, BudgetKeys),
)


Tasks = schema.kind(
    dict,
    lambda value: isinstance(value, dict),
    "tasks with their margins, as {gsm8k: 0.02}.",
    lambda value: schema.nested(value, dict[str, Margin]),
)


class Tier(TypedDict, total=False):
    """The requirements of one strictness: task -> margin, and budgets."""

    tasks: Tasks
    bytes: Budget
    seconds: Budget


@dataclass(frozen=True)
class PolicyLine:
    """One line of a policy: `what` is a task, "bytes" or "seconds", `limit` its margin or its budget."""

    tier: str
    kind: str
    what: str
    limit: float
    of_base: bool = False

    @property
    def words(self) -> str:
        """What is asked for."""
        if self.kind == "task":
            return say("loses at most {points:g} points", points=100 * self.limit)
        if self.of_base:
            return say("at most {share:.0%} of the base's", share=self.limit)
        if self.kind == "bytes":
            return say("at most {n:,.0f} bytes", n=self.limit)
        return say("at most {ms:g} ms per token", ms=1e3 * self.limit)


@dataclass(frozen=True)
class Policy:
    """A checked policy. `alpha` is the level of its tests, corrected over all its tasks and candidates together."""

    name: Text
    critical: Tier = field(default_factory=dict)
    supporting: Tier = field(default_factory=dict)
    advisory: Tier = field(default_factory=dict)
    base: schema.Name = BASELINE
    alpha: Level = 0.05
    purpose: Text = ""

    def requirements(self, scored: Sequence[str] = ()) -> Iterator[PolicyLine]:
        """Every line, the strictest first; `scored` are the tasks that `every` may stand for."""
        named = {task for tier in TIERS for task in getattr(self, tier).get("tasks", {})}
        others = [task for task in scored if task not in named] or [EVERY]
        for tier in TIERS:
            asked = getattr(self, tier)
            for task, margin in asked.get("tasks", {}).items():
                for name in others if task == EVERY else [task]:
                    yield PolicyLine(tier, "task", name, margin)
            for kind in ("bytes", "seconds"):
                for name, limit in asked.get(kind, {}).items():
                    yield PolicyLine(tier, kind, kind, limit, of_base=name == "of_base")


def names() -> list[str]:
    """Names of the policies that come with the workbook."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_policy(policy: str | Path) -> Policy:
    """A policy by name or by YAML file. Raises UsageError that names the key that is wrong."""
    path = Path(policy)
    if path.suffix not in (".yaml", ".yml"):
        if str(policy) not in names():
            raise UsageError(
                say("No policy {policy!r}.", policy=str(policy)),
                expected=say("a YAML file, or one of {names}.", names=", ".join(names())),
                remedy=did_you_mean(policy, names()),
            )
        path = FOLDER / f"{policy}.yaml"
    return parse(read_yaml(path, expected=say("a policy, such as those in data/gates/.")), path.stem)


def parse(document: Any, name: str) -> Policy:
    """Check a policy document. Raises UsageError, also for one that asks for nothing or for one thing twice."""
    what = say("Policy {name}", name=name)
    if isinstance(document, dict):
        document = {key: value for key, value in document.items() if value is not None} | {"name": name}
    found = schema.read(document, Policy, what)
    asked = [requirement.what for requirement in found.requirements()]
    if not asked:
        raise UsageError(
            say("{what} asks for nothing.", what=what),
            expected=say("tasks, bytes or seconds under critical, supporting or advisory."),
        )
    if twice := sorted({one for one in asked if asked.count(one) > 1}):
        raise UsageError(
            say("{what} asks twice for {names}.", what=what, names=", ".join(twice)),
            expected=say("each task and budget in one tier."),
        )
    return replace(found, purpose=translated(found.purpose)) if found.purpose else found
