"""Whether the names that a parameter holds are names of something: a model, a recipe, a task, a card, a scheme, a text.

    check_names(recipes, ["w8a9"])      # a parameter of kind "recipe": No recipe 'w8a9'. … Did you mean w8a8?

Only lists on this disk are asked, never the network: a hub id ORG/NAME and a file that is there are let pass.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.paths import DATA, ROOT
from exaone_nb.workbook.parameters import Parameter

# How alike a name must be to one of ours before it counts as that one, mistyped, and not as somebody else's.
ALIKE = 0.8
# Where lm-eval's task files say what they are called; the value, or the list on the lines below.
_TASK_NAMES = re.compile(
    rb"""^\s*-?\s*["']?(?:task|group|tag)["']?[ \t]*:[ \t]*(\S.*)$|^\s*-\s+([^\s:]+)\s*$""", re.MULTILINE
)
_WORD = re.compile(r"[^\s,\[\]\"'#]+")


def check_names(parameter: Parameter, value: Any) -> None:
    """Refuse a value that names nothing of the parameter's kind; without a kind, or where names are free, pass.

    `value` is one name or a list of them. Raises UsageError with the nearest name.
    """
    check = CHECKS.get(parameter.kind)
    if check is None:
        return
    for name in value if isinstance(value, list) else [value]:
        if name:  # empty means the default
            check(name)


def _model(name: str) -> None:
    from exaone_nb.catalog import resolve

    resolve(name)


def _gpu(name: str) -> None:
    from exaone_nb.gpus import GPUS, find_gpu

    try:
        find_gpu(name)
    except UsageError as error:
        if near := _near(name.upper(), GPUS):
            raise UsageError(error.got, expected=error.expected, remedy=f"Did you mean {near}?") from error
        raise


def _scheme(name: str) -> None:
    from exaone_nb.quantization.schemes import find_scheme

    find_scheme(name)


def _recipe(name: str) -> None:
    if name.endswith((".yaml", ".yml")):
        _file(name, "recipe", DATA / "recipes")
    elif name not in (known := _stems("recipes", ".yaml")):
        raise _unknown("recipe", name, known, "a YAML file, or one of ")


def _task(name: str) -> None:
    own = _stems("tasks", ".yaml")
    if name in own or "/" in name or name in _names_in(DATA / "tasks"):
        return
    theirs = lm_eval_tasks()
    if name not in theirs and (theirs or _near(name, own, ALIKE)):
        raise _unknown("task", name, own, "one of lm-eval's tasks, or offline ", also=theirs)


def _text(name: str) -> None:
    """A calibration text: a name in data/calibration/, a JSONL file, or a hub id."""
    if name.endswith((".jsonl", ".json")):
        _file(name, "text", DATA / "calibration")
    elif "/" not in name and name not in (known := _stems("calibration", ".jsonl")):
        raise _unknown("text", name, known, "a JSONL file, a hub id ORG/NAME, or one of ")


# The other kinds of `parameters.KINDS` name nothing that could be looked up here.
CHECKS: dict[str, Callable[[str], None]] = {
    "model": _model,
    "recipe": _recipe,
    "task": _task,
    "gpu": _gpu,
    "scheme": _scheme,
    "text": _text,
}


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


def _file(name: str, what: str, folder: Path) -> None:
    path = Path(name)
    if path.is_file() or (what == "text" and (ROOT / name).is_file()):
        return
    near = _near(path.stem, [p.stem for p in folder.iterdir()], ALIKE)
    raise UsageError(
        f"There is no {what} file {name}.",
        expected="a file on this disk.",
        remedy=f"Did you mean {near}?" if near else "Check the path.",
    )


def _near(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")


def _unknown(what: str, name: str, known: list[str], expected: str, also: Iterable[str] = ()) -> UsageError:
    near = _near(name, known) or _near(name, also)
    return UsageError(
        f"No {what} {name!r}.",
        expected=expected + ", ".join(known) + ".",
        remedy=f"Did you mean {near}?" if near else "Check the spelling.",
    )
