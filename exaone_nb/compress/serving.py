"""Where a planned checkpoint can be served."""

from __future__ import annotations

from typing import Any


def verdicts(plan: Any) -> list[Any]:
    return []
