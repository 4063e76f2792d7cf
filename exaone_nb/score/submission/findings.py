"""What a check found: one line each, with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from exaone_nb.findings import Finding, worst_first
from exaone_nb.show.table import Column, Table

# What the report calls a level. `fail`: the server will refuse it, or it breaks a rule.
WORDS = {"error": "fail", "warning": "warn", "no-op": "note"}


def word(finding: Finding) -> str:
    """The finding's level in the report's words: fail, warn, note or ok."""
    return WORDS.get(finding.level, finding.level)


@dataclass
class Report:
    """The findings about one submission."""

    submission: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing failed; warnings do not count."""
        return not any(finding.level == "error" for finding in self.findings)

    def add(self, found: Iterable[Finding]) -> None:
        self.findings += found

    def sorted(self) -> list[Finding]:
        """Failures first, then warnings, then what was fine; otherwise in the order of checking."""
        return worst_first(self.findings)

    def table(self) -> Table:
        """One row per finding."""
        columns = [Column("level"), Column("check"), Column("message"), Column("remedy")]
        rows = [
            {"level": word(f), "check": f.code, "message": f.text, "remedy": f.remedy} for f in self.sorted()
        ]
        return Table(columns, rows)

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        rows = self.table().records()
        return {"submission": self.submission, "passed": self.passed, "findings": rows}


def fail(code: str, text: str, remedy: str) -> Finding:
    """A failure; a remedy is part of it."""
    return Finding("error", code, text, remedy)


def warn(code: str, text: str, remedy: str = "") -> Finding:
    return Finding("warning", code, text, remedy)


def ok(code: str, text: str) -> Finding:
    return Finding("ok", code, text)
