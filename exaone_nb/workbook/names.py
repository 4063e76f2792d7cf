"""Whether the names that a parameter holds are names of something: a model, a recipe, a task, a card, a scheme, a text.

    check_names(recipes, ["w8a9"])      # a parameter of kind "recipe": No recipe 'w8a9'. … Did you mean w8a8?

Only lists on this disk are asked, never the network: a hub id ORG/NAME and a file that is there are let pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from exaone_nb.catalog import resolve
from exaone_nb.errors import UsageError, did_you_mean
from exaone_nb.gpus import GPUS, find_gpu
from exaone_nb.paths import DATA, ROOT
from exaone_nb.quantization.schemes import find_scheme
from exaone_nb.schema import as_list
from exaone_nb.workbook.parameters import Parameter

# How alike a name must be to one of ours before it counts as that one, mistyped, and not as somebody else's.
ALIKE = 0.8
# Where lm-eval's task files say what they are called; the value, or the list on the lines below.
_TASK_NAMES = re.compile(
    rb"""^\s*-?\s*["']?(?:task|group|tag)["']?[ \t]*:[ \t]*(\S.*)$|^\s*-\s+([^\s:]+)\s*$""", re.MULTILINE
)
_WORD = re.compile(r"[^\s,\[\]\"'#]+")


def check_names(parameter: Parameter, value: Any) -> None:
    """Look a value up among the names of the parameter's kind; `value` is one name or a list of them.

    Raises UsageError with the nearest name when there is no such model, recipe, task, card, scheme or text.
    """
    check = CHECKS.get(parameter.kind, lambda name: None)
    for name in as_list(value):
        if name:  # empty means the default
            check(name)


def _gpu(name: str) -> None:
    try:
        find_gpu(name)
    except UsageError as error:
        near = did_you_mean(name.upper(), GPUS, error.remedy)
        raise UsageError(error.got, expected=error.expected, remedy=near) from error


def _recipe(name: str) -> None:
    _file_or_own(name, "recipe", "recipes", (".yaml", ".yml"), "a YAML file, or one of ")


def _task(name: str) -> None:
    own = _stems("tasks", ".yaml")
    if name in own or "/" in name or name in _names_in(DATA / "tasks"):
        return
    theirs = lm_eval_tasks()
    if name not in theirs and (theirs or did_you_mean(name, own, cutoff=ALIKE)):
        raise _unknown("task", name, own, "one of lm-eval's tasks, or offline ", also=theirs)


def _text(name: str) -> None:
    endings = (".jsonl", ".json")
    if "/" not in name or name.endswith(endings):  # else a hub id ORG/NAME
        _file_or_own(name, "text", "calibration", endings, "a JSONL file, a hub id ORG/NAME, or one of ")


# The values of other kinds are not looked up: checkpoints are made during the run, seeds are numbers.
CHECKS: dict[str, Callable[[str], Any]] = {
    "model": resolve, "recipe": _recipe, "task": _task, "gpu": _gpu, "scheme": find_scheme, "text": _text,
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


def _file_or_own(name: str, what: str, folder: str, endings: tuple[str, ...], expected: str) -> None:
    """A file that is there (texts also below the workbook's folder), or the name of one in data/`folder`."""
    own = _stems(folder, endings[0])
    if not name.endswith(endings):
        if name not in own:
            raise _unknown(what, name, own, expected)
    elif not (Path(name).is_file() or (what == "text" and (ROOT / name).is_file())):
        raise UsageError(
            f"There is no {what} file {name}.",
            expected="a file on this disk.",
            remedy=did_you_mean(Path(name).stem, own, "Check the path.", ALIKE),
        )


def _unknown(what: str, name: str, known: list[str], expected: str, also: Iterable[str] = ()) -> UsageError:
    theirs = did_you_mean(name, also, "Check the spelling.")
    known_ones = f"{expected}{', '.join(known)}."
    return UsageError(f"No {what} {name!r}.", expected=known_ones, remedy=did_you_mean(name, known, theirs))
