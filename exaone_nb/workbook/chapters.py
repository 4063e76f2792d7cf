"""What the runner knows of a notebook: its metadata, its parameters, its cells. No chapter is known by name.

`metadata.exaone_nb` of a notebook declares `chapter`, `title`, `question`, `after` (chapters whose results it
reads), `reads` and `writes` (globs inside the run folder), `minutes`, `memory_gb`, `heavy` (it gets the machine for
itself), `timed` (something in it is timed, so its threads wait as its user's programs do), `timeout_s`, `sweep` (whether
it takes part in a sweep that names no chapters) and `mode` ("recorded" when all its numbers come from elsewhere). `work`,
`usual`, `memory`, `card_memory`, `budget_minutes` and `shrink` say what it costs with other models (see `cost`).
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.language import chapters_folder
from exaone_nb.messages import did_you_mean, say
from exaone_nb.workbook.parameters import Parameter, parse

PARAMETERS_TAG = "parameters"  # papermill's word
# How a declaration of this type is read.
READERS: dict[Any, Callable[[Any], Any]] = {
    **{kind: kind for kind in (str, float, bool)},
    tuple[str, ...]: lambda values: tuple(map(str, values)),
    dict[str, str]: lambda values: {str(name): str(formula) for name, formula in values.items()},
    dict[str, float]: lambda values: {str(name): float(least) for name, least in values.items()},
}


@dataclass(frozen=True)
class Chapter:
    """One notebook as stored. `number` is what `after` lists and what a person types. `weights`: it loads MODEL's weights."""

    path: Path
    parameters: tuple[Parameter, ...]
    document: dict[str, Any] = field(repr=False, compare=False)
    number: str
    title: str
    question: str = ""
    after: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    minutes: float = 0.0
    memory_gb: float = 1.0
    heavy: bool = False
    timed: bool = False
    sweep: bool = False
    weights: bool = False
    timeout_s: float = 1800.0
    mode: str = ""
    work: dict[str, str] = field(default_factory=dict)
    usual: dict[str, str] = field(default_factory=dict)
    memory: str = ""
    card_memory: str = ""
    budget_minutes: str = ""
    shrink: dict[str, float] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return self.path.stem

    @property
    def names(self) -> tuple[str, ...]:
        """What a person may type for this chapter: 07, 7, 07_quantization, 07_quantization.ipynb."""
        return (self.number, self.number.lstrip("0") or "0", self.slug, self.path.name)


def source_of(cell: dict[str, Any]) -> str:
    """A cell's source as one string; the format allows a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def tags_of(cell: dict[str, Any]) -> list[str]:
    """A cell's tags. JupyterLab writes a list; a lone string counts as one tag."""
    tags = cell.get("metadata", {}).get("tags", [])
    return [tags] if isinstance(tags, str) else [str(tag) for tag in tags]


def has_tag(cell: dict[str, Any], tag: str) -> bool:
    return tag in tags_of(cell)


def _schema(cells: Sequence[dict[str, Any]], name: str) -> tuple[Parameter, ...]:
    """The parameters that the one code cell tagged `parameters` declares; none without such a cell.

    Raises WorkbookError where a person meant to tag a cell and papermill would not see it: a second cell, a text cell,
    another spelling.
    """
    meant = [
        (number, tag, cell)
        for number, cell in enumerate(cells, 1)
        for tag in tags_of(cell)
        if difflib.get_close_matches(tag.strip().lower(), [PARAMETERS_TAG], cutoff=0.9)
    ]
    for at, (number, tag, cell) in enumerate(meant):
        if at or tag != PARAMETERS_TAG or cell["cell_type"] != "code":
            named = {"name": name, "number": number, "kind": cell["cell_type"], "tag": tag}
            raise WorkbookError(
                say("{name}: cell {number}, a {kind} cell, is tagged {tag!r} as the second one.", **named)
                if at
                else say("{name}: cell {number}, a {kind} cell, is tagged {tag!r}.", **named),
                expected=say(
                    "one code cell with the tag {wanted!r}, in small letters.",
                    wanted=PARAMETERS_TAG,
                ),
                remedy="Correct the cell's tags, in JupyterLab under Property Inspector, Common Tools.",
            )
    return parse(meant[0][2]["source"], name) if meant else ()


def load(path: str | Path) -> Chapter:
    """Read one notebook. Raises WorkbookError when it is not a notebook, or its declarations are not usable."""
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(say("There is no notebook {path}.", path=path), remedy="Check the path.") from error
    except ValueError as error:
        got = say("{name} is not a notebook: {reason}", name=path.name, reason=error)
        raise WorkbookError(got, expected="nbformat 4 JSON.") from error
    if not isinstance(document, dict) or document.get("nbformat") != 4 or "cells" not in document:
        raise WorkbookError(say("{name} is not a notebook.", name=path.name), expected="nbformat 4 JSON.")
    for cell in document["cells"]:
        cell["source"] = source_of(cell)
    declared = document.get("metadata", {}).get("exaone_nb", {})
    leading = re.match(r"\d+", path.stem)
    number = declared.get("chapter") or (leading[0] if leading else path.stem)
    declared = declared | {"number": number, "title": declared.get("title") or path.stem.replace("_", " ")}
    try:
        read = [field for field in fields(Chapter) if field.type in READERS and field.name in declared]
        about = {field.name: READERS[field.type](declared[field.name]) for field in read}
    except (TypeError, ValueError, AttributeError) as error:
        got = say("{name}: its exaone_nb metadata cannot be read ({reason}).", name=path.name, reason=error)
        raise WorkbookError(got) from error
    parameters = _schema(document["cells"], path.name)
    return Chapter(path=path.absolute(), parameters=parameters, document=document, **about)


def discover(folder: str | Path = "") -> list[Chapter]:
    """All chapters of a folder (files `NN_name.ipynb`; the workbook's own by default), in the order of their names."""
    return [load(path) for path in sorted(Path(folder or chapters_folder()).glob("[0-9]*_*.ipynb"))]


def select(chapters: Sequence[Chapter], names: Iterable[str]) -> list[Chapter]:
    """The chapters a person named: `07`, `7`, `07_quantization`, a range `00-04`; none means all.

    Raises UsageError for a name that no chapter has.
    """
    names = list(names)
    if not names:
        return list(chapters)
    by_name = {name: c for c in chapters for name in c.names}
    chosen: list[Chapter] = []
    for name in names:
        if match := re.fullmatch(r"(\d+)-(\d+)", name):
            numbers = range(int(match[1]), int(match[2]) + 1)
            found = [c for c in chapters if c.number.isdigit() and int(c.number) in numbers]
        else:
            found = [by_name[name]] if name in by_name else []
        if not found:
            raise UsageError(
                say("There is no chapter {name!r}.", name=name),
                expected=", ".join(c.slug for c in chapters) or "notebooks named NN_name.ipynb.",
                remedy=did_you_mean(name, by_name, "Name a number, a notebook, or a range 00-04."),
            )
        chosen += [c for c in found if c not in chosen]
    return sorted(chosen, key=lambda c: c.path.name)


def in_order(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Dependencies first, file order otherwise. Raises WorkbookError on a circle or an `after` that names itself."""
    by_number = {chapter.number: chapter for chapter in chapters}
    graph = {c.number: [number for number in c.after if number in by_number] for c in chapters}
    ordered: dict[str, Chapter] = {}

    def visit(number: str) -> None:
        for before in graph[number]:
            visit(before)
        ordered.setdefault(number, by_number[number])

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        remedy = say("Correct `after` in their metadata.")
        got = say("Chapters wait for each other: {circle}.", circle=circle)
        raise WorkbookError(got, remedy=remedy) from error
    for number in graph:
        visit(number)
    return list(ordered.values())
