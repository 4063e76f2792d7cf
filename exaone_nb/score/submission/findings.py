"""What a check found: one line each, with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["fail", "warn", "ok"]
ORDER: dict[str, int] = {"fail": 0, "warn": 1, "ok": 2}


@dataclass(frozen=True)
class Finding:
    """`fail`: the server will refuse it, or it breaks a rule. `warn`: it runs, but not as one might think."""

    level: Level
    check: str
    message: str
    remedy: str = ""


@dataclass
class Report:
    """The findings about one submission."""

    submission: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing failed; warnings do not count."""
        return not any(finding.level == "fail" for finding in self.findings)

    def add(self, found: Iterable[Finding]) -> None:
        self.findings += found

    def sorted(self) -> list[Finding]:
        """Failures first, then warnings, then what was fine; otherwise in the order of checking."""
        return sorted(self.findings, key=lambda finding: ORDER[finding.level])

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "submission": self.submission,
            "passed": self.passed,
            "findings": [asdict(finding) for finding in self.sorted()],
        }


def fail(check: str, message: str, remedy: str) -> Finding:
    """A failure; a remedy is part of it."""
    return Finding("fail", check, message, remedy)


def warn(check: str, message: str, remedy: str = "") -> Finding:
    return Finding("warn", check, message, remedy)


def ok(check: str, message: str) -> Finding:
    return Finding("ok", check, message)
