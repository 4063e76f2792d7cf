"""What a check has to say: one record for the plan of a recipe, the check of a submission, and whoever comes next."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exaone_nb.messages import say

Level = Literal["error", "warning", "no-op", "note", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "no-op", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One remark. The level follows the consequence.

    `error`: it cannot work. `warning`: it works, but not as one might think. `no-op`: it was written and changes
    nothing. `note`: worth knowing. `ok`: looked at, and fine. `code` names the kind for tests and tools, `remedy` says
    what to do, `where` the engine it holds for (empty: everywhere).
    """

    level: Level
    code: str
    text: str
    remedy: str = ""
    where: str = ""


def fail(code: str, text: str, remedy: str) -> Finding:
    """A failure; a remedy is part of it."""
    return Finding("error", code, text, remedy)


def warn(code: str, text: str, remedy: str = "") -> Finding:
    return Finding("warning", code, text, remedy)


def ok(code: str, text: str) -> Finding:
    return Finding("ok", code, text)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def some(names: list[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    first = ", ".join(names[:most])
    return say("{first} and {n} more", first=first, n=len(names) - most) if len(names) > most else first
