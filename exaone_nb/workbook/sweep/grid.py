"""The grid file: what is varied, what is fixed, and the list of runs that follows from it.

    name: first
    chapters: ["05", "07"]
    models: [nano]
    recipes: [w8a8, w4a16_rtn]
    seeds: [0, 1]
    parameters: {LIMIT: 128}

`models`, `recipes`, `tasks` and `seeds` vary the first parameter of that kind that each chapter has; any other parameter
is varied under `matrix`. What all runs have in common stands under `parameters`, or beside them in small letters, as
`tensor_parallel_size: 2`. Every value is read as `-p` reads it, by the type that the chapters declare, and checked
before anything starts.

`cpus_per_run` (1) is also the number of threads of a run, on every engine: it decides in which order numbers are
added, and with that the last bits of a GPTQ checkpoint.
"""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.catalog import resolve
from exaone_nb.errors import UsageError
from exaone_nb.language import chapters_folder
from exaone_nb.messages import did_you_mean, say
from exaone_nb.paths import RUNS
from exaone_nb.workbook.chapters import Chapter, discover, in_order, select
from exaone_nb.workbook.parameters import Parameter, coerce, parse
from exaone_nb.workbook.runner import folder_for
from exaone_nb.workbook.values import flat, values_for
from exaone_nb.written import read_yaml

# A key of the file -> the kind of the parameter that it varies.
AXES = {"models": "model", "recipes": "recipe", "tasks": "task", "seeds": "seed"}
# The file's other keys, declared as the parameters of a chapter are.
SETTINGS = {
    setting.name: setting
    for setting in parse(
        """
name: str = ""  # the sweep's name: letters, digits, dots, dashes and underscores; the file's name when left out
notebooks: str = ""  # a folder with notebooks named NN_name.ipynb; the workbook's own when left out
gpus_per_run: float = 0  # GPUs that Ray gives to each run [range: 0 ..]
cpus_per_run: float = 1  # cores of each run, and its threads [range: 0.01 ..]
timeout_minutes: float = 1  # limit of each run; none when left out [range: 0.01 ..]
""",
        "the keys of a grid",
    )
}
KEYS = (*AXES, *SETTINGS, "chapters", "matrix", "parameters")
EXAMPLE = say("a file like data/sweeps/gptq_seeds.yaml.")


@dataclass(frozen=True)
class SweepRun:
    """One point of the grid. `name` is its folder, `varied` what distinguishes it, `parameters` all that is set."""

    name: str
    varied: dict[str, Any]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """A grid file, expanded. `minutes` is the sum of what the chapters declare, per run."""

    name: str
    folder: Path
    chapters: tuple[str, ...]
    notebooks: Path
    runs: tuple[SweepRun, ...]
    minutes: float
    gpus_per_run: float = 0
    cpus_per_run: float = 1
    timeout_s: float | None = None

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus_per_run))

    @property
    def axes(self) -> list[str]:
        return list(self.runs[0].varied) if self.runs else []


def read(path: str | Path, out: str | Path = "") -> Grid:
    """Read and check a grid file. Raises UsageError for anything that could not run, before anything runs.

    `out` is read as `run --out` reads it: a name under runs/, or a path when it contains a slash.
    """
    path = Path(path)
    document = read_yaml(path, as_text=True, expected=EXAMPLE)
    if not isinstance(document, dict):
        raise UsageError(say("{name} holds no names and values.", name=path.name), expected=EXAMPLE)
    return expand(document, path.stem, folder_for(out, "") if str(out) else None)


def expand(document: Mapping[str, Any], stem: str, folder: Path | None = None) -> Grid:
    """The grid's runs, in the order of the file, the last axis changing fastest. Raises UsageError."""
    settings = {key: coerce(SETTINGS[key], value) for key, value in document.items() if key in SETTINGS}
    name = settings.get("name", stem)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(
            say("name: {name!r}", name=name),
            expected=SETTINGS["name"].help,
            remedy="Write another, or leave the key out: the sweep is then named after the file.",
        )
    notebooks = _notebooks(settings.get("notebooks", str(chapters_folder())))
    known = discover(notebooks)
    if "chapters" in document:
        chosen = in_order(select(known, map(str, _several(document, "chapters"))))
    else:
        chosen = in_order([chapter for chapter in known if chapter.sweep] or known)
    axes, fixed = _axes_and_fixed(document, chosen)
    if not axes:
        raise UsageError(
            "The grid varies nothing.", expected="at least one of models, recipes, tasks, seeds, matrix."
        )
    points = itertools.product(*axes.values())
    runs = tuple(_run(chosen, dict(zip(axes, point, strict=True)), fixed) for point in points)
    if twice := [run for run, count in Counter(run.name for run in runs).items() if count > 1]:
        got = say("Two points of the grid are the same: {point}.", point=twice[0])
        raise UsageError(
            got, expected="every value of an axis once.", remedy="Remove the value that is listed twice."
        )
    folder = (folder or RUNS / name).absolute()
    if in_the_way := next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None):
        wanted = say("a folder for the sweep.")
        got = say("{path} is a file.", path=in_the_way)
        raise UsageError(got, expected=wanted, remedy="Choose another --out.")
    numbers, minutes = tuple(chapter.number for chapter in chosen), sum(chapter.minutes for chapter in chosen)
    needs = settings.get("gpus_per_run", 0), settings.get("cpus_per_run", 1)
    limit = 60 * settings["timeout_minutes"] if "timeout_minutes" in settings else None
    return Grid(name, folder, numbers, notebooks.absolute(), runs, minutes, *needs, limit)


def _run(chapters: Sequence[Chapter], varied: dict[str, Any], fixed: Mapping[str, Any]) -> SweepRun:
    """One point of the grid. Raises UsageError for a value that does not fit, and for an unknown name."""
    values_for(chapters, {**fixed, **varied})
    kinds = {name: _declared(chapters, name).kind for name in {**fixed, **varied}}
    # A worker on a cluster stands in another folder: what is here is named in full.
    parameters = {name: _in_full(value, kinds[name]) for name, value in {**fixed, **varied}.items()}
    return SweepRun(_folder_name(varied, kinds), varied, parameters)


def _notebooks(given: str) -> Path:
    folder = Path(given).expanduser()
    if not given or not folder.is_dir() or not any(folder.glob("[0-9]*_*.ipynb")):
        raise UsageError(
            say("notebooks: {given!r}, and no chapter is in it.", given=given)
            if folder.is_dir()
            else say("notebooks: {given!r}, and there is no such folder.", given=given),
            expected=SETTINGS["notebooks"].help,
            remedy="Check the path, or leave the key out for the workbook's own.",
        )
    return folder


def _axes_and_fixed(
    document: Mapping[str, Any], chapters: Sequence[Chapter]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Parameter -> the values it takes, and parameter -> its value in all runs, each in its declared type.

    Raises UsageError for a parameter that is set in two places, and for an unknown key.
    """
    axes = [
        (_varied_by(key, kind, chapters), key, _several(document, key))
        for key, kind in AXES.items()
        if key in document
    ]
    matrix = _mapping(document, "matrix")
    axes += [(name, "matrix", _several(matrix, name)) for name in matrix]
    others = [str(key) for key in document if key not in KEYS]
    fixed = [(_parameter_in_small_letters(key, chapters), key, document[key]) for key in others]
    given = flat(_mapping(document, "parameters"), "parameters")
    fixed += [(name, "parameters", value) for name, value in given.items()]
    set_by: dict[str, str] = {}
    for name, key, _ in axes + fixed:
        if (other := set_by.setdefault(name.rpartition(".")[2], key)) != key:
            raise UsageError(
                say("{name} is set by `{other}` and by `{key}`.", name=name, other=other, key=key),
                expected="one place that says what a run gets.",
                remedy=say("Remove it from one of them: `{other}` or `{key}`.", other=other, key=key),
            )

    def typed(name: str, value: Any) -> Any:
        parameter = _declared(chapters, name)
        return coerce(parameter, value) if parameter else value  # `values_for` refuses what no chapter has

    varied = {name: [typed(name, value) for value in values] for name, _, values in axes}
    return varied, {name: typed(name, value) for name, _, value in fixed}


def _declared(chapters: Sequence[Chapter], name: str) -> Parameter | None:
    """The parameter NAME of the first chapter that has it, or 05.NAME of that chapter."""
    number, _, name = name.rpartition(".")
    holders = (chapter for chapter in chapters if not number or number in chapter.names)
    return next((p for chapter in holders for p in chapter.parameters if p.name == name), None)


def _varied_by(key: str, kind: str, chapters: Sequence[Chapter]) -> str:
    """The parameter that an axis such as `models` varies: the first of its kind in every chapter that has one."""
    first = [next((p.name for p in chapter.parameters if p.kind == kind), "") for chapter in chapters]
    names = list(dict.fromkeys(filter(None, first)))
    if len(names) != 1:
        numbers = ", ".join(chapter.number for chapter in chapters)
        meant = say("could mean {names}", names=" or ".join(names)) if names else say("means no parameter")
        raise UsageError(
            say("{key} {meant} in the chapters {numbers}.", key=key, meant=meant, numbers=numbers),
            expected=say("one name for the first parameter marked [{kind}] of these chapters.", kind=kind),
            remedy=say(
                "Write `matrix: {{NAME: …}}` instead of {key}, or choose other chapters: exaone-nb run --help-notebook "
                "lists their parameters.",
                key=key,
            ),
        )
    return names[0]


def _parameter_in_small_letters(key: str, chapters: Sequence[Chapter]) -> str:
    """TENSOR_PARALLEL_SIZE for the key tensor_parallel_size. Raises UsageError for an unknown key."""
    if key.islower() and _declared(chapters, key.upper()):
        return key.upper()
    raise UsageError(
        say(
            "The grid has an unknown key {key!r}, and no chapter of this sweep has {upper}.",
            key=key,
            upper=key.upper(),
        ),
        expected=say(
            "{names}, or a parameter of the chapters in small letters.", names=", ".join(sorted(KEYS))
        ),
        remedy=did_you_mean(key, KEYS, "Other parameters go under `matrix` or `parameters`."),
    )


def _in_full(value: Any, kind: str) -> Any:
    """Names of files and folders that are here, as absolute paths; everything else as it is."""
    if isinstance(value, list):
        return [_in_full(item, kind) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if kind == "model":
        place = resolve(value)
        return str(place.path) if place.kind in ("folder", "file") else value
    return str(Path(value).absolute()) if ("/" in value or "." in value) and Path(value).exists() else value


def _several(document: Mapping[str, Any], key: str) -> list[Any]:
    values = document[key]
    if not isinstance(values, list) or not values:
        raise UsageError(
            say("{key}: {values!r}", key=key, values=values),
            expected="a list with at least one value.",
            remedy=say("Write {key}: [{values}], or leave the key out.", key=key, values=values or "…"),
        )
    return values


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, Mapping):
        got = say("{key}: {found!r}", key=key, found=found)
        raise UsageError(
            got, expected="names with values.", remedy=say("For instance {key}: {{LIMIT: 64}}.", key=key)
        )
    return {str(name): value for name, value in found.items()}


def _folder_name(varied: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """A readable, safe folder name; what had to be replaced is told apart by a short digest.

    Names of models, recipes and tasks stand alone (w8a8), other values follow their parameter (seed0).
    """
    words = []
    for name, value in varied.items():
        text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(text if kinds[name] not in ("", "seed") else f"{name.lower()}{text}")
    raw = "-".join(words)
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", raw)[:80].strip("._")
    return safe if safe == raw else f"{safe}-{hashlib.sha256(raw.encode()).hexdigest()[:6]}"
