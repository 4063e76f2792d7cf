"""When, on what and with which versions the chapters of a run were executed.

All of it is read from run.json, nothing from the machine that draws the page. A chapter that was kept from an earlier
call has the time, the commit and the machine of that call: a page drawn today must not look like a measurement of today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from exaone_nb.workbook.passport import MODES, SHOWN_LIBRARIES

Entry = Mapping[str, Any]


def was_executed(entry: Entry) -> bool:
    """Whether the chapter has outputs: it ran to its end or to its failure."""
    return entry["status"] in ("ok", "failed") and bool(entry.get("began"))


def is_kept(entry: Entry, record: Mapping[str, Any]) -> bool:
    """Whether the chapter was executed before the last call began."""
    return was_executed(entry) and bool(entry.get("cached") or _ended(entry) < _time(record["began"]))


def of_chapter(entry: Entry) -> dict[str, Any]:
    """`when` the chapter was executed and `ended`, `with_` which versions, on which `machine`: texts, empty where not recorded."""
    return {
        "when": span(_began(entry), _ended(entry)) if entry.get("began") else "",
        "ended": _clock(_ended(entry)) if entry.get("began") else "",
        "with_": _versions(entry),
        "machine": machine(entry.get("machine") or {}),
    }


def of_run(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same of all executed chapters together; what differs between them is a list of (text, chapters)."""
    entries = {number: entry for number, entry in sorted(record["chapters"].items()) if was_executed(entry)}
    kept = [number for number, entry in entries.items() if is_kept(entry, record)]

    def own(entry: Entry, name: str) -> Any:
        """What the entry says; of a chapter that the last call executed, else what the run says."""
        return entry.get(name) or (None if is_kept(entry, record) else record.get(name))

    def each(text: Callable[[Entry], str]) -> list[tuple[str, list[str]]]:
        return _grouped((text(entry), number) for number, entry in entries.items())

    libraries: dict[str, list[str]] = {}
    for entry in entries.values():
        for name, version in (_libraries(entry) or own(entry, "libraries") or {}).items():
            if version not in libraries.setdefault(name, []):
                libraries[name].append(version)
    return {
        "when": span(min(map(_began, entries.values())), max(map(_ended, entries.values())))
        if entries
        else "",
        "last_call": _clock(_time(record["began"])),
        "kept": kept,
        "executed": list(entries),
        "models": each(lambda e: e.get("model") or "") or [(record["model"] or "none", [])],
        "modes": each(lambda e: e.get("mode") or "") or [(record["mode"], [])],
        "mode_meanings": MODES,
        "machines": each(lambda e: machine(own(e, "machine") or {})),
        "machine_of_last_call": machine(record["machine"]),
        "made_with": each(
            lambda e: _versions(e, {name: own(e, name) for name in ("package", "python", "libraries")})
        ),
        "commits": each(lambda e: own(e, "commit") or ""),
        "libraries": libraries or {name: [version] for name, version in record["libraries"].items()},
    }


def machine(facts: Mapping[str, Any]) -> str:
    """A machine as one line."""
    if not facts:
        return ""
    memory = f", {facts['memory_bytes'] / 1e9:.1f} GB memory" if facts.get("memory_bytes") else ""
    cores = f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"
    return f"{facts['system']}, {cores}{memory}, {facts.get('gpu') or 'no GPU'}"


def span(began: datetime, ended: datetime) -> str:
    """From when to when, in UTC, to the minute."""
    first, last = _clock(began), _clock(ended)
    if first == last:
        return first
    same_day = first[:10] == last[:10]
    return f"{first.removesuffix(' UTC')} to {last[11:] if same_day else last}"


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _ended(entry: Entry) -> datetime:
    return _time(entry.get("ended") or entry["began"])


def _began(entry: Entry) -> datetime:
    """Early records have the end in both fields; the seconds tell."""
    return min(_time(entry["began"]), _ended(entry) - timedelta(seconds=entry.get("seconds") or 0))


def _libraries(entry: Entry) -> dict[str, str]:
    return entry.get("libraries") or (entry.get("key_parts") or {}).get("libraries") or {}


def _versions(entry: Entry, otherwise: Mapping[str, Any] | None = None) -> str:
    """The package, Python and the libraries that a reader looks for first."""
    known = {**(otherwise or {}), **{k: v for k, v in entry.items() if v}}
    own = [
        f"{label} {known[name]}"
        for label, name in (("exaone-nb", "package"), ("Python", "python"))
        if known.get(name)
    ]
    libraries = _libraries(entry) or known.get("libraries") or {}
    return ", ".join(own + [f"{name} {libraries[name]}" for name in SHOWN_LIBRARIES if name in libraries])


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for text, number in pairs:
        if text:
            groups.setdefault(text, []).append(number)
    return list(groups.items())
