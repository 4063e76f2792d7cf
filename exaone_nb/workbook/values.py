"""From what a person wrote (`-p`, a YAML file, a cell of an open notebook) to the values of the chapters' parameters.

read_given(["05.SAMPLES=32"], Path("mine.yaml"))    # {"05.SAMPLES": "32", …}, all of it text
values_for(chapters, {"05.SAMPLES": "32"})          # {"05": {"SAMPLES": 32}, …}, read by their declared types
check_names(recipes, ["w8a9"])                      # a parameter of kind "recipe": No recipe 'w8a9'. … Did you mean w8a8?

A name must be one of something: a model, a recipe, a task, a card, a scheme, a text. Only lists on this disk are asked,
never the network: a hub id ORG/NAME and a file that is there are let pass.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from exaone_nb.catalog import resolve
from exaone_nb.errors import UsageError
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import did_you_mean, say, translated
from exaone_nb.paths import DATA, ROOT
from exaone_nb.quantization.schemes import find_scheme
from exaone_nb.results import RunFolder
from exaone_nb.schema import as_tuple
from exaone_nb.show.notebook import note
from exaone_nb.workbook import guesses
from exaone_nb.workbook.chapters import Chapter, discover, select
from exaone_nb.workbook.cost_words import before_work
from exaone_nb.workbook.open_notebook import short_errors
from exaone_nb.workbook.parameters import HEADLESS, RUN_DIR, Parameter, coerce
from exaone_nb.written import read_yaml

# How alike a name must be to one of ours before it counts as that one, mistyped, and not as somebody else's.
ALIKE = 0.8
# Where lm-eval's task files say what they are called; the value, or the list on the lines below.
_TASK_NAMES = re.compile(
    rb"""^\s*-?\s*["']?(?:task|group|tag)["']?[ \t]*:[ \t]*(\S.*)$|^\s*-\s+([^\s:]+)\s*$""", re.MULTILINE
)
_WORD = re.compile(r"[^\s,\[\]\"'#]+")


def read_given(pairs: Iterable[str], file: Path | None = None) -> dict[str, Any]:
    """What was written in a YAML file and in `NAME=VALUE` words, which win. Nothing is read by its type yet.

    Keys are NAME, or 05.NAME for one chapter, which a file may also write as "05": {NAME: value}. Raises UsageError,
    also for a name that stands twice in one place.
    """
    given: dict[str, Any] = {}
    if file is not None:
        expected = say("NAME: value, one per line.")
        document = read_yaml(file, as_text=True, expected=expected)
        if not isinstance(document, dict):
            raise UsageError(say("{file} does not hold names and values.", file=file), expected=expected)
        given |= flat(document, file.name)
    words: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            got = say("-p {pair} names no value.", pair=pair)
            raise UsageError(got, expected="-p NAME VALUE or -p NAME=VALUE.")
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
        say("{name} is set twice ({where}).", name=name, where=where),
        expected="every parameter once.",
        remedy="Remove one of the two.",
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
                say("{key} names no selected chapter.", key=key),
                expected=", ".join(values),
                remedy="Select that chapter too, or leave its parameter out.",
            )
        holders = [(c.number, p) for c in targets for p in c.parameters if p.name == name]
        if not holders:
            known = {p.name: p.default for c in targets for p in c.parameters if p.name != RUN_DIR}
            # Eighty guesses would hide what can be set; one of them is still found by a name that is like it.
            listed = sorted(one for one in known if not guesses.is_unwritten(one, known[one]))
            lists_them = "exaone-nb run CHAPTER --help-notebook lists them."
            raise UsageError(
                say("No parameter is named {name!r}.", name=name),
                expected=", ".join(listed) or "no parameters at all.",
                remedy=did_you_mean(name.upper(), sorted(known), lists_them, cutoff=0.5),
            )
        for chapter, parameter in holders:
            if number and named.setdefault((chapter, name), key) != key:
                raise _twice(
                    say("{name} of chapter {chapter}", name=name, chapter=chapter),
                    say("{a} and {b}", a=named[chapter, name], b=key),
                )
            values[chapter][name] = _read(parameter, value)
    return values


def check_parameters(number: str, namespace: MutableMapping[str, Any]) -> None:
    """Hold what a person typed into the parameters cell of an open notebook to the same schema as `-p`.

    `namespace` is the notebook's `globals()`; values that fit after reading ("8" for 8) are replaced by what was read.
    Raises UsageError for a value that does not fit its type, choices or range, and for an unknown name.

    Says what the chapter will cost where that is worth knowing; the runner says it itself, and keeps to a budget.
    """
    short_errors()
    (chapter,) = select(discover(), [number])
    namespace.update({p.name: _read(p, namespace[p.name]) for p in chapter.parameters if p.name in namespace})
    guesses.expect(chapter, RunFolder.at(namespace.get(RUN_DIR, "")))
    if HEADLESS not in os.environ and {p.name for p in chapter.parameters} <= namespace.keys():
        values = {p.name: namespace[p.name] for p in chapter.parameters}
        for line in before_work(chapter, values, RunFolder.at(values.get(RUN_DIR, "")).path):
            note(line)


def _read(parameter: Parameter, value: Any) -> Any:
    value = coerce(parameter, value)
    check_names(parameter, value)
    return value


def check_names(parameter: Parameter, value: Any) -> None:
    """Look a value up among the names of the parameter's kind; `value` is one name or a list of them.

    Raises UsageError with the nearest name when there is no such model, recipe, task, card, scheme or text.
    """
    check = CHECKS.get(parameter.kind, lambda name: None)
    for name in as_tuple(value):
        if name:  # empty means the default
            check(name)


def _recipe(name: str) -> None:
    own = _stems("recipes", ".yaml")
    expected = say("a YAML file, or one of {names}.", names=", ".join(own))
    _file_or_own(name, "recipe", own, (".yaml", ".yml"), expected)


def _task(name: str) -> None:
    own = _stems("tasks", ".yaml")
    if name in own or "/" in name or name in _names_in(DATA / "tasks"):
        return
    theirs = lm_eval_tasks()
    if name not in theirs and (theirs or did_you_mean(name, own, cutoff=ALIKE)):
        expected = say("one of lm-eval's tasks, or offline {names}.", names=", ".join(own))
        raise _no_such("task", name, own, expected, also=theirs)


def _text(name: str) -> None:
    endings = (".jsonl", ".json")
    if "/" not in name or name.endswith(endings):  # else a hub id ORG/NAME
        own = _stems("calibration", endings[0])
        expected = say("a JSONL file, a hub id ORG/NAME, or one of {names}.", names=", ".join(own))
        _file_or_own(name, "text", own, endings, expected)


# The values of other kinds are not looked up: checkpoints are made during the run, seeds are numbers.
CHECKS: dict[str, Callable[[str], Any]] = {
    "model": resolve, "recipe": _recipe, "task": _task, "gpu": find_gpu, "scheme": find_scheme, "text": _text,
}  # fmt: skip


def _stems(folder: str, suffix: str) -> list[str]:
    return sorted(path.stem for path in (DATA / folder).glob(f"*{suffix}"))


def lm_eval_tasks() -> frozenset[str]:
    """Every name in lm-eval's own task files, or nothing where lm-eval is not installed."""
    found = util.find_spec("lm_eval")
    return _names_in(Path(found.origin).parent / "tasks") if found and found.origin else frozenset()


@cache
def _names_in(folder: Path) -> frozenset[str]:
    """Names of tasks, groups and tags in a folder of lm-eval's task files.

    The files are searched as text, in half a second; lm-eval's own index of its files takes 15. This finds some words
    that are no tasks, and misses none.
    """
    names: set[str] = set()
    for place, _, files in os.walk(folder):
        for file in files:
            if not file.endswith((".py", ".md", ".json", ".jsonl", ".txt", ".pyc")):
                # what task files include has no suffix
                for one, listed in _TASK_NAMES.findall(Path(place, file).read_bytes()):
                    names.update(_WORD.findall((one or listed).decode(errors="replace")))
    return frozenset(names)


def _file_or_own(name: str, what: str, own: list[str], endings: tuple[str, ...], expected: str) -> None:
    """A file that is there (texts also below the workbook's folder), or one of our `own` names."""
    if not name.endswith(endings):
        if name not in own:
            raise _no_such(what, name, own, expected)
    elif not (Path(name).is_file() or (what == "text" and (ROOT / name).is_file())):
        raise UsageError(
            say("There is no {what} file {name}.", what=translated(what), name=name),
            expected="a file on this disk.",
            remedy=did_you_mean(Path(name).stem, own, "Check the path.", cutoff=ALIKE),
        )


def _no_such(what: str, name: str, known: list[str], expected: str, also: Iterable[str] = ()) -> UsageError:
    theirs = did_you_mean(name, also, "Check the spelling.")
    got = say("No {what} {name!r}.", what=translated(what), name=name)
    return UsageError(got, expected=expected, remedy=did_you_mean(name, known, theirs))
