"""When, on what and with which versions the chapters of a run were executed.

All of it is read from run.json, nothing from the machine that draws the page. A chapter that was kept from an earlier
call has the time, the commit and the machine of that call: a page drawn today must not look like a measurement of today.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from exaone_nb.messages import say
from exaone_nb.workbook.passport import MODES
from exaone_nb.workbook.record import ChapterRecord, Origin, RunRecord


def is_kept(chapter: ChapterRecord, run: RunRecord) -> bool:
    """Whether the chapter was executed before the last call began."""
    return chapter.was_executed and (chapter.kept or _time(chapter.ended) < _time(run.began))


def of_chapter(chapter: ChapterRecord) -> dict[str, str]:
    """`when` the chapter was executed and `ended`, `with_` which versions, on which `machine`; empty where it was not."""
    if chapter.origin is None:
        return dict.fromkeys(("when", "ended", "with_", "machine", "commit"), "")
    return {
        "when": span(chapter.began, chapter.ended),
        "ended": _clock(chapter.ended),
        "with_": chapter.origin.versions(),
        "machine": str(chapter.origin.machine),
        "commit": chapter.origin.commit,
    }


def of_run(run: RunRecord) -> dict[str, Any]:
    """The same of all executed chapters together; what differs between them is a list of (text, chapters)."""
    chapters = [chapter for chapter in run.ordered() if chapter.was_executed]
    origins = [(chapter.number, chapter.origin) for chapter in chapters if chapter.origin]

    def each(text: Callable[[Origin], str]) -> list[tuple[str, list[str]]]:
        return _grouped([(text(origin), number) for number, origin in origins])

    libraries: dict[str, dict[str, None]] = {}
    for origin in [origin for _, origin in origins] or [run.origin]:
        for name, version in origin.libraries.items():
            libraries.setdefault(name, {})[version] = None
    begins, ends = ([getattr(c, name) for c in chapters] for name in ("began", "ended"))
    return {
        "when": span(min(begins, key=_time), max(ends, key=_time)) if chapters else "",
        "last_call": _clock(run.began),
        "kept": [c.number for c in chapters if is_kept(c, run)],
        "executed": [c.number for c in chapters],
        "models": _grouped([(c.model, c.number) for c in chapters]) or [(run.model or say("none"), [])],
        "modes": _grouped([(c.mode, c.number) for c in chapters]) or [(run.mode, [])],
        "mode_meanings": MODES,
        "machines": each(lambda origin: str(origin.machine)),
        "machine_of_last_call": str(run.origin.machine),
        "made_with": each(Origin.versions),
        "commits": each(lambda origin: origin.commit),
        "libraries": libraries,
    }


def span(began: str, ended: str) -> str:
    """From when to when, in UTC, to the minute."""
    first, last = _clock(began), _clock(ended)
    if first == last:
        return first
    same_day = first[:10] == last[:10]
    return say("{first} to {last}", first=first.removesuffix(" UTC"), last=last[11:] if same_day else last)


def _clock(time: str) -> str:
    return _time(time).strftime("%Y-%m-%d %H:%M UTC")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _grouped(pairs: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for text, number in pairs:
        if text:
            groups.setdefault(text, []).append(number)
    return list(groups.items())
