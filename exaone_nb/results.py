"""The run folder: the only place where chapters and wings meet.

runs/NAME/
  run.json             written by the runner
  notebooks/*.ipynb    executed copies          html/*.html, index.html    the report
  checkpoints/RECIPE/  the quantization chapter writes; inference and scoring read; `baseline` stands beside them
  results/*.json       one file per measurement (see `write_result`)
"""

import json
import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json
from exaone_nb.messages import say
from exaone_nb.paths import RUNS

BASELINE = "baseline"
NEEDED = ("kind", "recipe", "value", "unit", "interval")  # in a result, whatever wrote it


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run. Creating the object creates nothing on disk."""

    path: Path

    @classmethod
    def at(cls, run_dir: str | Path = "") -> Self:
        """The run that `--out` or RUN_DIR names: a word is a name under runs/, a path has a slash in it; empty means
        `runs/interactive`. Raises UsageError for a word that is no name."""
        named = str(run_dir) or "interactive"
        if "/" in named or os.sep in named or isinstance(run_dir, Path):
            return cls(Path(run_dir).expanduser().absolute())
        if named in (".", ".."):
            got = say("{text!r} is not a name for a run.", text=named)
            raise UsageError(got, remedy="Give a name, or a path to a new folder.")
        # A folder that somebody made here, and that has no namesake under runs/, is meant when it is named.
        own = any(Path(named, part).exists() for part in ("run.json", "results"))
        here = own and not (RUNS / named).is_dir()
        return cls(Path(named).absolute() if here else RUNS / named)

    @property
    def out(self) -> str:
        """What `--out` is given to come back to this folder: its name under runs/, or else its path."""
        return self.path.name if self.path.parent == RUNS else str(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def results(self) -> Path:
        return self.path / "results"

    def checkpoint(self, recipe: str) -> Path:
        """Folder of one checkpoint, `baseline` included. Raises WorkbookError when the quantization chapter has not made it."""
        folder = self.checkpoints / recipe
        if not (folder / "config.json").is_file():
            got = say(
                "There is no checkpoint {recipe!r} in {folder}/ of this run.",
                recipe=recipe,
                folder=self.checkpoints.name,
            )
            raise WorkbookError(
                got,
                expected="a folder with config.json and safetensors, written by the quantization chapter.",
                remedy=say("Run: exaone-nb run 07 --out {out}", out=self.out),
            )
        return folder

    def checkpoint_names(self) -> list[str]:
        """Names of the finished checkpoints, the baseline first, then alphabetically."""
        names = [path.parent.name for path in self.checkpoints.glob("[!.]*/config.json")]
        return sorted(names, key=lambda name: (name != BASELINE, name))

    def write_result(
        self,
        kind: str,
        *,
        recipe: str,
        value: float | int | None,
        unit: str,
        n: int | None = None,
        interval: tuple[float, float] | None = None,
        interval_kind: str = "",
        parameters: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        model: str = "",
        label: str = "",
    ) -> Path:
        """Write one measurement to `results/KIND__RECIPE[__LABEL].json` and return the path.

        `interval` is (low, high) and `interval_kind` says what it is, for instance "95 % normal".
        A later measurement of the same kind, recipe and label replaces the earlier one.
        """
        name = "__".join(re.sub(r"[^\w.-]+", "_", part) for part in (kind, recipe, label) if part)
        return write_json(
            self.results / f"{name}.json",
            {
                "schema": 1,
                "kind": kind,
                "model": model,
                "recipe": recipe,
                "label": label,
                "value": value,
                "unit": unit,
                "n": n,
                "interval": list(interval) if interval else None,
                "interval_kind": interval_kind,
                "parameters": parameters or {},
                "details": details or {},
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{platform.machine()} {platform.system()}",
            },
        )

    def read_results(self, kind: str = "") -> list[dict[str, Any]]:
        """All measurements of this run, or those of one kind, ordered by file name. Missing folder: empty list."""
        found = []
        for path in sorted(self.results.glob("*.json")):
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                lost = [name for name in NEEDED if name not in document]
                problem = lost and say(
                    "The result file {name} lacks {parts}.", name=path.name, parts=", ".join(lost)
                )
            except (ValueError, TypeError) as error:
                problem = say(
                    "The result file {name} is not a JSON object: {error}.", name=path.name, error=error
                )
            if problem:
                raise WorkbookError(problem, remedy=say("Delete it and run its chapter again."))
            if not kind or document["kind"] == kind:
                found.append(document)
        return found
