"""What changed between two runs: parameters, versions, machine, chapters, and the measured results."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from exaone_nb.messages import joined, say
from exaone_nb.results import RunFolder
from exaone_nb.workbook import record
from exaone_nb.workbook.record import ChapterRecord, RunRecord


@dataclass(frozen=True)
class Change:
    """One thing that differs. `before` or `after` is None when that run does not have it."""

    section: str
    name: str
    before: Any
    after: Any
    note: str = ""

    @property
    def told(self) -> dict[str, str]:
        """What a person reads: six digits of a measurement, a word for what is not there."""
        sides = {"before": _in_words(self.before), "after": _in_words(self.after)}
        return {"section": section_title(self.section), "name": self.name, "note": self.note} | sides


def section_title(section: str) -> str:
    """A section's name, as the reader reads it."""
    return {
        "parameters": say("Parameters"),
        "versions": say("Versions"),
        "machine": say("Machine"),
        "chapters": say("Chapters"),
        "results": say("Results"),
    }[section]


def _in_words(value: Any) -> str:
    if value is None:
        return say("absent")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class RunDiff:
    before: str
    after: str
    changes: tuple[Change, ...]
    equal_results: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def html(self) -> str:
        from exaone_nb.workbook.report import look

        grouped = groupby(self.changes, attrgetter("section"))
        sections = [(name, section_title(name), list(rows)) for name, rows in grouped]
        return look.fill("diff.html", diff=self, sections=sections)


def compare_runs(before: str | Path, after: str | Path) -> RunDiff:
    """Compare two run folders. Raises WorkbookError when one of them is not a run."""
    old, new = record.read(before), record.read(after)
    results, equal = _results(Path(before), Path(after))
    both = sorted(old.chapters.keys() & new.chapters.keys())
    changes = (
        *_mapping("parameters", _parameters(old, both), _parameters(new, both)),
        *_mapping("versions", _versions(old), _versions(new)),
        *_mapping("machine", asdict(old.origin.machine), asdict(new.origin.machine)),
        *_chapters(old.chapters, new.chapters),
        *results,
    )
    names = (old.name, new.name)
    if names[0] == names[1]:  # then the folders tell them apart
        names = (str(before), str(after))
    return RunDiff(*names, changes, equal)


def _parameters(run: RunRecord, numbers: list[str]) -> dict[str, Any]:
    """`NN.NAME` -> value for every parameter of these chapters, those that both runs have; one row says that one is absent."""
    settings = ((number, setting) for number in numbers for setting in run.chapters[number].parameters)
    return {f"{number}.{setting.name}": setting.value for number, setting in settings}


def _versions(run: RunRecord) -> dict[str, Any]:
    own = {"exaone-nb": run.origin.package, "commit": run.origin.commit, "Python": run.origin.python}
    return own | {"model fingerprint": run.model_fingerprint} | run.origin.libraries


def _mapping(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Change(section, name, old.get(name), new.get(name))


def _chapters(old: Mapping[str, ChapterRecord], new: Mapping[str, ChapterRecord]) -> Iterator[Change]:
    for number in sorted({*old, *new}):
        a, b = old.get(number), new.get(number)
        if a is None or b is None or a.status != b.status:
            why = "" if b is None else b.failure.why if b.failure else b.why if b.status != "ok" else ""
            states = (a.status if a else None, b.status if b else None)
            yield Change("chapters", say("chapter {number}: status", number=number), *states, why)
        if a is None or b is None:
            continue
        if a.code_key != b.code_key:
            name, note = say("chapter {number}: code", number=number), say("the code cells differ")
            yield Change("chapters", name, a.code_key, b.code_key, note)
        if a.seconds and b.seconds and a.seconds != b.seconds:
            ratio = say("{ratio:.3g} times", ratio=b.seconds / a.seconds)
            yield Change(
                "chapters", say("chapter {number}: seconds", number=number), a.seconds, b.seconds, ratio
            )


def _results(before: Path, after: Path) -> tuple[list[Change], int]:
    old, new = (
        {(r["kind"], r["recipe"], r.get("label", "")): r for r in RunFolder(Path(path)).read_results()}
        for path in (before, after)
    )
    changes, equal = [], 0
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        name = " ".join(part for part in key if part)
        if a and b and a["value"] == b["value"]:
            equal += 1
            continue
        values = (result["value"] if result else None for result in (a, b))
        changes.append(Change("results", f"{name} [{(b or a)['unit']}]", *values, _reading(a, b)))
    return changes, equal


def _reading(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> str:
    """How much, and whether the intervals overlap. Overlap is no test: `exaone-nb compare` makes the paired one."""
    if not a or not b or a["value"] is None or b["value"] is None:
        return ""
    words = [say("{ratio:.3g} times", ratio=b["value"] / a["value"])] if a["value"] else []
    if a["interval"] and b["interval"]:
        apart = a["interval"][1] < b["interval"][0] or b["interval"][1] < a["interval"][0]
        words.append(say("intervals apart") if apart else say("intervals overlap"))
    return joined(words, ", ")
