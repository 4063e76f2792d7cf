"""The verbs install, notebooks and lab: from the light installation to the whole workbook, and to chapters one may edit."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from exaone_nb.cli.output import console, lines, writable
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.language import chapters_folder
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE, IN_SOURCE_TREE, NOTEBOOKS, ROOT


def install(
    accelerator: Annotated[
        Literal["auto", "cpu", "cuda"], Option(help="auto: CUDA where there is a card.")
    ] = "auto",
    ray: Annotated[bool, Option("--ray", help="Also Ray, for sweeps on a cluster.")] = False,
) -> None:
    """The whole stack (vLLM, llm-compressor, lm-eval, JupyterLab) as it was locked, into this virtual environment."""
    if sys.prefix == sys.base_prefix:
        raise UsageError(
            say("This Python is no virtual environment: {prefix}.", prefix=sys.prefix),
            expected=say(
                "an environment of its own; the locked versions would replace what others use here."
            ),
            remedy=say(
                "python3 -m venv exaone, install exaone-nb into it, and run exaone/bin/exaone-nb install."
            ),
        )
    command = [sys.executable, ROOT / "scripts" / "install.py"]
    command += ["--venv", sys.prefix, "--accelerator", accelerator]
    command += ["--ray"] * ray + ["--packages-only"] * (not IN_SOURCE_TREE)
    if subprocess.run(command).returncode:
        raise WorkbookError(say("The installation did not end well; its message stands above."))


def notebooks(
    folder: Annotated[Path, Argument(help="Where to; made if it is not there.")],
) -> None:
    """Copy the chapters into a folder of yours, to read, change and run."""
    made, kept = copy_chapters(folder)
    if kept:
        raise UsageError(
            say("{folder} has {names} already.", folder=folder, names=", ".join(kept)),
            expected=say("a folder without chapters; nothing of yours is overwritten."),
            remedy=say("Name another folder, or move those files."),
        )
    lines(console(), [say("{folder}: {n} chapters.", folder=folder, n=len(made))])


def copy_chapters(folder: Path, *, missing_only: bool = False) -> tuple[list[str], list[str]]:
    """(copied, already there); nothing is copied where one is there, unless the missing ones are asked for."""
    own = chapters_folder()
    names = sorted(path.name for path in own.glob("*.ipynb"))
    there = [name for name in names if (folder / name).exists()]
    if there and not missing_only:
        return [], there
    new = [name for name in names if name not in there]
    with writable(say("folder"), folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in new:
            shutil.copyfile(own / name, folder / name)
    return new, there


def lab(
    folder: Annotated[Path | None, Argument(help="Your copy of the chapters. Default: ./notebooks.")] = None,
) -> None:
    """Open the chapters in JupyterLab; an installed workbook copies those that are missing into the folder first."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise WorkbookError(say("JupyterLab is not installed here."), remedy=COMPLETE)
    folder = folder or (chapters_folder() if IN_SOURCE_TREE else Path("notebooks"))
    if folder.resolve() != chapters_folder():
        copy_chapters(folder, missing_only=True)
    first = sorted(folder.resolve().glob("*.ipynb"))[0]
    # In the source tree the chapters in the other language are in sight as well.
    above = [f"--ServerApp.root_dir={NOTEBOOKS}"] if NOTEBOOKS in first.parents else []
    # JupyterLab's question about its news would be the first that a learner reads.
    quiet = "--LabApp.news_url=None"
    raise SystemExit(
        subprocess.run([sys.executable, "-m", "jupyterlab", str(first), *above, quiet]).returncode
    )
