"""The grid file: what is varied, what is fixed, and the list of runs that follows from it.

    name: first
    chapters: ["05", "07"]
    models: [nano]
    recipes: [w8a8, w4a16_rtn]
    seeds: [0, 1]
    parameters: {LIMIT: 128}

`models`, `recipes`, `tasks` and `seeds` are short for the parameters MODEL, RECIPES, TASKS and SEED; any other
parameter can be varied under `matrix`. Every value is checked against the chapters before anything starts.

`cpus_per_run` (1) is also the number of threads of a run, on every engine: it decides in which order numbers are
added, and with that the last bits of a GPTQ checkpoint.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.catalog import resolve
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NOTEBOOKS, RUNS
from exaone_nb.workbook.chapters import Chapter, discover, in_order, select
from exaone_nb.workbook.names import CHECKS
from exaone_nb.workbook.runner import folder_for, values_for

DEFAULT_CHAPTERS = ("05", "06", "07", "08")
# Axis in the file -> (parameter, whether the parameter is a list that holds one value per run)
AXES = {
    "models": ("MODEL", False),
    "recipes": ("RECIPES", True),
    "tasks": ("TASKS", True),
    "seeds": ("SEED", False),
}
KEYS = {
    *AXES, "name", "chapters", "matrix", "parameters", "notebooks", "gpus_per_run", "cpus_per_run",
    "tensor_parallel_size", "data_parallel_size", "timeout_minutes",
}  # fmt: skip
PARALLEL = {"tensor_parallel_size": "TENSOR_PARALLEL_SIZE", "data_parallel_size": "DATA_PARALLEL_SIZE"}


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
    source: str = field(default="", repr=False)

    @property
    def threads(self) -> int:
        """Threads of one run."""
        return max(1, int(self.cpus_per_run))

    @property
    def axes(self) -> list[str]:
        """Names of the parameters that differ between runs."""
        return list(self.runs[0].varied) if self.runs else []


def read(path: str | Path, out: str | Path = "") -> Grid:
    """Read and check a grid file. Raises UsageError for anything that could not run, before anything runs.

    `out` is read as `run --out` reads it: a name under runs/, or a path when it contains a slash.
    """
    import yaml

    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
        document = yaml.load(source, _loader())
    except FileNotFoundError as error:
        raise UsageError(f"There is no grid file {path}.", remedy="Check the name.") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.",
            expected="a grid file, as data/sweeps/gptq_seeds.yaml.",
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path.name} cannot be read as YAML: {error}",
            expected="a file like data/sweeps/gptq_seeds.yaml.",
        ) from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{path.name} holds no names and values.", expected="models, recipes, tasks, seeds, …"
        )
    return expand(document, path.stem, folder_for(out, "") if str(out) else None, source)


def expand(document: Mapping[str, Any], stem: str, folder: Path | None = None, source: str = "") -> Grid:
    """The grid's runs, in the order of the file, the last axis changing fastest. Raises UsageError."""
    _known_keys(document)
    name = _name(document, stem)
    notebooks = _notebooks(document)
    chosen = in_order(select(discover(notebooks), _chapters(document)))
    axes = _axes(document)
    fixed = _fixed(document, axes)
    _heard(document, chosen)
    runs: list[SweepRun] = []
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        parameters = {**fixed, **varied}
        values_for(chosen, parameters)  # refuses unfit values and names of nothing
        # A worker on a cluster stands in another folder: what is here is named in full.
        runs.append(
            SweepRun(_folder_name(varied), varied, {k: _in_full(k, v) for k, v in parameters.items()})
        )
    if twice := [name for name, count in Counter(run.name for run in runs).items() if count > 1]:
        raise UsageError(
            f"Two points of the grid are the same: {twice[0]}.",
            expected="every value of an axis once.",
            remedy="Remove the value that is listed twice.",
        )
    folder = (folder or RUNS / name).absolute()
    if in_the_way := next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None):
        raise UsageError(
            f"{in_the_way} is a file.", expected="a folder for the sweep.", remedy="Choose another --out."
        )
    timeout = document.get("timeout_minutes")
    return Grid(
        name=name,
        folder=folder,
        chapters=tuple(chapter.number for chapter in chosen),
        notebooks=notebooks.absolute(),
        runs=tuple(runs),
        minutes=sum(chapter.minutes for chapter in chosen),
        gpus_per_run=_number(document, "gpus_per_run", 0),
        cpus_per_run=_number(document, "cpus_per_run", 1, above=True),
        timeout_s=None if timeout is None else 60 * _number(document, "timeout_minutes", 0, above=True),
        source=source,
    )


def pin(grid: Grid) -> None:
    """Write the grid into its folder, or check that the folder belongs to the same grid.

    Raises WorkbookError when another grid was swept into this folder, or the same with other threads.
    """
    from exaone_nb.files import write_json

    identity = {
        "name": grid.name,
        "chapters": list(grid.chapters),
        "threads": grid.threads,
        "runs": [{"name": r.name, "parameters": r.parameters} for r in grid.runs],
    }
    file = grid.folder / "sweep.json"
    if file.exists():
        before = _pinned(file)
        if before.get("chapters") != identity["chapters"] or _lost_runs(before, identity):
            raise WorkbookError(
                f"{grid.folder.name} holds another sweep.",
                expected="the same chapters, and at least the runs it already has.",
                remedy="Give this grid another name, or another --out.",
            )
        if (threads := before.get("threads", grid.threads)) != grid.threads:
            raise WorkbookError(
                f"The runs in {grid.folder.name} have {threads} threads each, and this grid asks for {grid.threads}.",
                expected="the same cpus_per_run: the last bits of a checkpoint depend on it.",
                remedy="Give this grid another name, or another --out.",
            )
    write_json(file, identity)


def _pinned(file: Path) -> dict[str, Any]:
    """What `pin` wrote before. Raises UsageError when it is not whole."""
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        whole = {run["name"]: run["parameters"] for run in before["runs"]}
        if isinstance(before["chapters"], list) and all(isinstance(name, str) for name in whole):
            return before
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        f"{file} is damaged.",
        expected="the grid that was swept into this folder.",
        remedy="Delete this one file; the runs beside it are kept, and what still holds is not run again.",
    )


def _lost_runs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    kept = {run["name"]: run["parameters"] for run in now["runs"]}
    return any(kept.get(run["name"]) != run["parameters"] for run in before["runs"])


def _loader() -> Any:
    """PyYAML's safe loader, which takes the last of two equal keys without a word, made to refuse them."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := [key for key, count in Counter(written).items() if count > 1 and key != "<<"]:
                raise UsageError(
                    f"The grid has the key {twice[0]!r} twice.",
                    expected="every key once.",
                    remedy="Remove one; a list holds several values.",
                )
            return super().construct_mapping(node, deep)

    return Loader


def _name(document: Mapping[str, Any], stem: str) -> str:
    name = document.get("name", stem)
    if (
        isinstance(name, bool)
        or not isinstance(name, str | int)
        or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name))
    ):
        raise UsageError(
            f"name: {name!r}",
            expected="letters, digits, dots, dashes and underscores.",
            remedy="Write one, or leave the key out: the sweep is then named after the file.",
        )
    return str(name)


def _notebooks(document: Mapping[str, Any]) -> Path:
    given = document.get("notebooks", str(NOTEBOOKS))
    if not isinstance(given, str) or not given:
        raise UsageError(
            f"notebooks: {given!r}",
            expected="one folder.",
            remedy="Leave the key out for the workbook's own.",
        )
    folder = Path(given).expanduser()
    if not folder.is_dir() or not any(folder.glob("[0-9]*_*.ipynb")):
        raise UsageError(
            f"notebooks: {given!r}, and {'there is no such folder' if not folder.is_dir() else 'no chapter is in it'}.",
            expected="a folder with notebooks named NN_name.ipynb.",
            remedy="Check the path, or leave the key out for the workbook's own.",
        )
    return folder


def _chapters(document: Mapping[str, Any]) -> list[str]:
    if "chapters" not in document:
        return list(DEFAULT_CHAPTERS)
    given = document["chapters"]
    if (
        not isinstance(given, list)
        or not given
        or not all(isinstance(name, str | int) and not isinstance(name, bool) for name in given)
    ):
        raise UsageError(
            f"chapters: {given!r}",
            expected='a list with at least one chapter, as ["05", "07"] or ["00-04"].',
            remedy=f"Write the list, or leave the key out for {', '.join(DEFAULT_CHAPTERS)}.",
        )
    return [str(name) for name in given]


def _fixed(document: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs have in common. Raises UsageError for a parameter that is also varied, or given twice."""
    fixed = dict(_mapping(document, "parameters"))
    for key, parameter in PARALLEL.items():
        if key in document:
            if parameter in fixed:
                raise _twice(parameter, key, "parameters")
            fixed[parameter] = document[key]
    named = [
        (str(name), inner) for name, v in fixed.items() for inner in (v if isinstance(v, Mapping) else [name])
    ]
    for outer, inner in named:
        bare = str(inner).rpartition(".")[2]
        if bare in axes:
            key = next(
                (key for key, (parameter, _) in AXES.items() if parameter == bare and key in document),
                "matrix",
            )
            where = next(
                (key for key, parameter in PARALLEL.items() if parameter == outer and key in document), ""
            )
            raise _twice(bare, key, where or "parameters")
    return fixed


def _heard(document: Mapping[str, Any], chapters: Sequence[Chapter]) -> None:
    """Refuse a key that is short for a parameter which none of the chapters has."""
    short = {key: parameter for key, (parameter, _) in AXES.items()} | PARALLEL
    for key in (key for key in short if key in document):
        if not any(p.name == short[key] for chapter in chapters for p in chapter.parameters):
            raise UsageError(
                f"{key} is given, and no chapter of this sweep has {short[key]}.",
                expected=f"a chapter that has it; these are {', '.join(c.number for c in chapters)}.",
                remedy=f"Leave {key} out, or add a chapter: exaone-nb run --help-notebook lists their parameters.",
            )


def _twice(parameter: str, one: str, other: str) -> UsageError:
    return UsageError(
        f"{parameter} is set by `{one}` and by `{other}`.",
        expected="one place that says what a run gets.",
        remedy=f"Remove it from one of them: `{one}` or `{other}`.",
    )


def _in_full(parameter: str, value: Any) -> Any:
    """Names of files and folders that are here, as absolute paths; everything else as it is."""
    if isinstance(value, Mapping):
        return {name: _in_full(str(name), item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_full(parameter, item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    name = parameter.rpartition(".")[2]
    if CHECKS.get(name) is CHECKS["MODEL"]:
        place = resolve(value)
        return str(place.path) if place.kind in ("folder", "file") else value
    return str(Path(value).absolute()) if ("/" in value or "." in value) and Path(value).exists() else value


def _known_keys(document: Mapping[str, Any]) -> None:
    import difflib

    for key in document:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            raise UsageError(
                f"The grid has an unknown key {key!r}.",
                expected=", ".join(sorted(KEYS)),
                remedy=f"Did you mean {near[0]!r}?"
                if near
                else "Other parameters go under `matrix` or `parameters`.",
            )


def _axes(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    axes: dict[str, list[Any]] = {}
    for key, (parameter, is_list) in AXES.items():
        if key in document:
            axes[parameter] = [
                [v] if is_list and not isinstance(v, list) else v for v in _values(document, key)
            ]
    matrix = _mapping(document, "matrix")
    for key, (parameter, _) in AXES.items():
        if key in document and parameter in matrix:
            raise _twice(parameter, key, "matrix")
    axes |= {str(key): _values(matrix, key) for key in matrix}
    if not axes:
        raise UsageError(
            "The grid varies nothing.", expected="at least one of models, recipes, tasks, seeds, matrix."
        )
    return axes


def _values(document: Mapping[str, Any], key: str) -> list[Any]:
    values = document[key]
    if not isinstance(values, list) or not values:
        raise UsageError(
            f"{key}: {values!r}",
            expected="a list with at least one value.",
            remedy=f"Write {key}: [{values}], or leave it out."
            if values
            else "Name a value, or leave the key out.",
        )
    return values


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, Mapping):
        raise UsageError(
            f"{key}: {found!r}", expected="names with values.", remedy=f"For instance {key}: {{LIMIT: 64}}."
        )
    return {str(name): value for name, value in found.items()}


def _number(document: Mapping[str, Any], key: str, default: float, *, above: bool = False) -> float:
    """A finite number of at least 0, or `above` 0."""
    value = document.get(key, default)
    fits = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if not fits or value < 0 or (above and value == 0):
        raise UsageError(
            f"{key}: {value!r}",
            expected="a number above 0." if above else "a number, 0 or more.",
            remedy="Leave the key out for the usual.",
        )
    return value


def _folder_name(varied: Mapping[str, Any]) -> str:
    """A readable, safe folder name; what had to be replaced is told apart by a short digest."""
    words = []
    for name, value in varied.items():
        text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(text if name in ("MODEL", "RECIPES", "TASKS") else f"{name.lower()}{text}")
    raw = "-".join(words)
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", raw)[:80].strip("._")
    return safe if safe == raw else f"{safe}-{hashlib.sha256(raw.encode()).hexdigest()[:6]}"
