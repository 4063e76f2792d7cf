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
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NOTEBOOKS, RUNS
from exaone_nb.workbook.chapters import discover, in_order, select
from exaone_nb.workbook.runner import values_for

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
    """Read and check a grid file. Raises UsageError for anything that could not run, before anything runs."""
    import yaml

    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
        document = yaml.safe_load(source)
    except FileNotFoundError as error:
        raise UsageError(f"There is no grid file {path}.", remedy="Check the name.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path.name} cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{path.name} holds no names and values.", expected="models, recipes, tasks, seeds, …"
        )
    return expand(document, path.stem, Path(out) if str(out) else None, source)


def expand(document: Mapping[str, Any], stem: str, folder: Path | None = None, source: str = "") -> Grid:
    """The grid's runs, in the order of the file, the last axis changing fastest. Raises UsageError."""
    _known_keys(document)
    name = str(document.get("name", stem))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"name: {name!r}", expected="letters, digits, dots, dashes and underscores.")
    notebooks = Path(document.get("notebooks", NOTEBOOKS)).expanduser()
    chosen = in_order(
        select(discover(notebooks), [str(c) for c in document.get("chapters", DEFAULT_CHAPTERS)])
    )
    fixed = dict(_mapping(document, "parameters"))
    for key, parameter in PARALLEL.items():
        if key in document:
            fixed[parameter] = document[key]
    axes = _axes(document)
    runs = []
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        parameters = {**fixed, **varied}
        values_for(chosen, parameters)  # refuses unknown names and unfit values
        runs.append(SweepRun(_folder_name(varied), varied, parameters))
    if len({run.name for run in runs}) < len(runs):
        raise UsageError(
            "Two points of the grid are the same.", remedy="Remove the value that is listed twice."
        )
    timeout = document.get("timeout_minutes")
    return Grid(
        name=name,
        folder=(folder or RUNS / name).absolute(),
        chapters=tuple(chapter.number for chapter in chosen),
        notebooks=notebooks.absolute(),
        runs=tuple(runs),
        minutes=sum(chapter.minutes for chapter in chosen),
        gpus_per_run=_number(document, "gpus_per_run", 0),
        cpus_per_run=_number(document, "cpus_per_run", 1),
        timeout_s=None if timeout is None else 60 * _number(document, "timeout_minutes", 0),
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
        before = json.loads(file.read_text(encoding="utf-8"))
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


def _lost_runs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    kept = {run["name"]: run["parameters"] for run in now["runs"]}
    return any(kept.get(run["name"]) != run["parameters"] for run in before["runs"])


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
    axes |= {str(key): _values(matrix, key) for key in matrix}
    if not axes:
        raise UsageError(
            "The grid varies nothing.", expected="at least one of models, recipes, tasks, seeds, matrix."
        )
    return axes


def _values(document: Mapping[str, Any], key: str) -> list[Any]:
    values = document[key]
    if not isinstance(values, list) or not values:
        raise UsageError(f"{key}: {values!r}", expected="a list with at least one value.")
    return values


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, Mapping):
        raise UsageError(f"{key}: {found!r}", expected="names with values.")
    return found


def _number(document: Mapping[str, Any], key: str, default: float) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UsageError(f"{key}: {value!r}", expected="a number, 0 or more.")
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
