"""Where a checkpoint may be put. Making one replaces a whole folder, so it must be new, empty, or one of ours."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from exaone_nb.compress import manifest
from exaone_nb.errors import UsageError
from exaone_nb.findings import some

REMEDY = "Name a new folder with --out, or remove this one yourself if you do not need it."


def check_out(out: Path, source: Path, *, baseline: bool = False) -> None:
    """Raise UsageError when a checkpoint of the model in `source` must not be put at `out`.

    Ours is a folder that holds the manifest we write beside a checkpoint (that of a `baseline` only for a baseline),
    and nothing that the manifest does not list.
    """
    place, origin = out.resolve(), source.resolve()
    if place == origin or place in origin.parents or origin in place.parents:
        how = "is" if place == origin else "contains" if place in origin.parents else "lies inside"
        raise UsageError(
            f"The output folder {out} {how} the source model {source}.",
            expected="a folder apart from the model that is read.",
            remedy="Name another folder with --out.",
        )
    if Path.cwd().is_relative_to(place):
        raise UsageError(
            f"The output folder {out} is the current folder, or contains it.",
            expected="a folder that can be replaced whole.",
            remedy="Name a folder inside it with --out.",
        )
    near = next(folder for folder in place.parents if folder.exists())
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        raise UsageError(
            f"The output folder {out} cannot be made: {near} is {'not writable' if near.is_dir() else 'a file'}.",
            remedy="Name another folder with --out.",
        )
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"The output {out} is a file.", expected="a folder.", remedy=REMEDY)
    there = {path.name for path in out.iterdir()}
    found = manifest.read(out)
    if found is None:
        if not there or (baseline and _copied(out, source)):
            return
        raise UsageError(
            f"The output folder {out} exists and holds {some(sorted(there), 3)}; making a checkpoint replaces the whole folder.",
            expected=f"a new or empty folder, or a checkpoint made here (it has a {manifest.NAME}).",
            remedy=REMEDY,
        )
    if bool(found.get("baseline")) != baseline:
        kind = "a quantized checkpoint" if baseline else "the unquantized baseline of a run"
        raise UsageError(f"The output folder {out} holds {kind}.", remedy=REMEDY)
    if foreign := there - manifest.listed(found) if "beside" in found else set():
        raise UsageError(
            f"The output folder {out} holds {some(sorted(foreign), 3)} beside its checkpoint, and would be replaced whole.",
            remedy="Move what is not of the checkpoint elsewhere, or name a new folder with --out.",
        )


def _copied(out: Path, source: Path) -> bool:
    """Whether `out` holds nothing but files of `source`, as baselines did that had no manifest."""
    return all((source / p.name).is_file() and filecmp.cmp(p, source / p.name) for p in out.iterdir())
