"""What was measured once and is kept in data/measured/, written by scripts/record_fit.py and scripts/record_cliff.py."""

from typing import Any

from exaone_nb import catalog
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.statistics.estimate import Estimate


def recorded(name: str) -> dict[str, Any]:
    """A record with its intervals as estimates. Raises WorkbookError when there is none."""
    return _revived(catalog.read_config(DATA / "measured" / f"{name}.json"))


def told(document: dict[str, Any]) -> str:
    """What was measured, on what and when: to stand beside the tables."""
    return say("Recorded {d[date]}, {d[machine_in_words]}. {d[how]}", d=document)


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"value", "interval", "n"}:
        return Estimate(value["value"], *(value["interval"] or (None, None)), value["n"])
    return {key: _revived(item) for key, item in value.items()}
