"""From what a person wrote (`-p`, a YAML file, a cell of an open notebook) to the values of the chapters' parameters.

read_given(["05.SAMPLES=32"], Path("mine.yaml"))    # {"05.SAMPLES": "32", …}, all of it text
values_for(chapters, {"05.SAMPLES": "32"})          # {"05": {"SAMPLES": 32}, …}, read by their declared types
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, did_you_mean
from exaone_nb.workbook.chapters import Chapter, discover, select
from exaone_nb.workbook.names import check_names
from exaone_nb.workbook.parameters import RUN_DIR, Parameter, coerce
from exaone_nb.written import read_yaml


def read_given(pairs: Iterable[str], file: Path | None = None) -> dict[str, Any]:
    """What was written in a YAML file and in `NAME=VALUE` words, which win. Nothing is read by its type yet.

    Keys are NAME, or 05.NAME for one chapter, which a file may also write as "05": {NAME: value}. Raises UsageError,
    also for a name that stands twice in one place.
    """
    given: dict[str, Any] = {}
    if file is not None:
        expected = "NAME: value, one per line."
        document = read_yaml(file, as_text=True, expected=expected)
        if not isinstance(document, dict):
            raise UsageError(f"{file} does not hold names and values.", expected=expected)
        given |= flat(document, file.name)
    words: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError(f"-p {pair} names no value.", expected="-p NAME VALUE or -p NAME=VALUE.")
        if name in words:
            raise _twice(name, f"-p {name}")
        words[name] = value
    return given | words


def flat(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """{"05": {NAME: value}} as {"05.NAME": value}."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        inner = (
            {f"{name}.{key}": one for key, one in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
        if twice := flat.keys() & inner.keys():
            raise _twice(min(twice), where)
        flat |= inner
    return flat


def _twice(name: str, where: str) -> UsageError:
    return UsageError(
        f"{name} is set twice ({where}).", expected="every parameter once.", remedy="Remove one of the two."
    )


def values_for(chapters: Sequence[Chapter], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Chapter number -> the values that the user set, each in its parameter's type.

    `NAME` goes to every chapter that has it, `05.NAME` or {"05": {NAME: …}} to one, and wins there. Raises UsageError
    for a name that no selected chapter has, for a value that does not fit, and for a model, recipe, task or card that
    nobody knows.
    """
    values: dict[str, dict[str, Any]] = {chapter.number: {} for chapter in chapters}
    named: dict[tuple[str, str], str] = {}
    for key, value in sorted(flat(given, "parameters").items(), key=lambda item: "." in item[0]):
        number, _, name = key.rpartition(".")
        if name == RUN_DIR:
            raise UsageError("RUN_DIR is set by the runner.", remedy="Name the run folder with --out.")
        targets = [c for c in chapters if not number or number in c.names]
        if not targets:
            raise UsageError(
                f"{key} names no selected chapter.",
                expected=", ".join(values),
                remedy="Select that chapter too, or leave its parameter out.",
            )
        holders = [(c.number, p) for c in targets for p in c.parameters if p.name == name]
        if not holders:
            raise _unknown(name, targets)
        for chapter, parameter in holders:
            if number and named.setdefault((chapter, name), key) != key:
                raise _twice(f"{name} of chapter {chapter}", f"{named[chapter, name]} and {key}")
            values[chapter][name] = _read(parameter, value)
    return values


def check_parameters(number: str, namespace: MutableMapping[str, Any]) -> None:
    """Hold what a person typed into the parameters cell of an open notebook to the same schema as `-p`.

    `namespace` is the notebook's `globals()`; values that fit after reading ("8" for 8) are replaced by what was read.
    Raises UsageError for a value that does not fit its type, choices or range, and for an unknown name.
    """
    (chapter,) = select(discover(), [number])
    namespace.update({p.name: _read(p, namespace[p.name]) for p in chapter.parameters if p.name in namespace})


def _read(parameter: Parameter, value: Any) -> Any:
    value = coerce(parameter, value)
    check_names(parameter, value)
    return value


def _unknown(name: str, chapters: Iterable[Chapter]) -> UsageError:
    known = sorted({p.name for c in chapters for p in c.parameters} - {RUN_DIR})
    lists_them = "exaone-nb run CHAPTER --help-notebook lists them."
    return UsageError(
        f"No parameter is named {name!r}.",
        expected=", ".join(known) or "no parameters at all.",
        remedy=did_you_mean(name.upper(), known, lists_them, cutoff=0.5),
    )
