"""What runs in the page's Python: the command line itself, asked again and again in one process.

The page shows what `exaone-nb VERB … --json` prints, so there is one arithmetic and one set of words. A browser says
nothing of the machine it runs on, so this CPU is one without flags and without memory.
"""

import contextlib
import io
import json
import os
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

FOLDER = Path("pasted")  # the model that was pasted or dropped
RECIPE = Path("recipe.yaml")
MOST_KEPT = 40


def prepare(place: str) -> None:
    """Stand in an empty folder, and keep the command line that is made for a verb."""
    memory = types.SimpleNamespace(total=0, available=0)
    sys.modules.setdefault("psutil", types.SimpleNamespace(virtual_memory=lambda: memory))
    from exaone_nb import cli
    from exaone_nb.anatomy import logical, predict

    # One model is asked about for many cards: its tensors are listed once. Before other modules take the names.
    predict.predict_checkpoint = remembered(predict.predict_checkpoint)
    logical.predict_as_stored = remembered(logical.predict_as_stored)
    cli.command_line = cache(cli.command_line)
    typer.main.get_command = cache(typer.main.get_command)
    os.makedirs(place, exist_ok=True)
    os.chdir(place)


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its latest results kept; a config is a dict, so they are found by what it says."""
    kept: dict[str, Any] = {}

    def asked(*given: Any, **named: Any) -> Any:
        key = repr((given, sorted(named.items())))
        if key not in kept:
            if len(kept) >= MOST_KEPT:
                del kept[next(iter(kept))]
            kept[key] = function(*given, **named)
        return kept[key]

    return asked


def ask(words: list[str]) -> str:
    """What the command line prints for these words, and its exit code: JSON text {"code", "out", "err"}."""
    from exaone_nb.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as stop:
            code = stop.code or 0
    return json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()})


def paste(text: str) -> str:
    """A pasted config.json becomes the folder that is asked about; "" when nothing was pasted."""
    config = FOLDER / "config.json"
    FOLDER.mkdir(exist_ok=True)
    config.unlink(missing_ok=True)
    if text.strip():
        config.write_text(text, encoding="utf-8")
    return str(FOLDER)


def drop(path: str) -> None:
    """A weight file that the browser lent lies beside the pasted config; "" takes it away."""
    FOLDER.mkdir(exist_ok=True)
    link = FOLDER / "model.safetensors"
    link.unlink(missing_ok=True)
    if path:
        link.symlink_to(path)


def write_recipe(text: str) -> None:
    RECIPE.write_text(text, encoding="utf-8")


def choices() -> str:
    """What the page offers: models, cards, schemes, and recipes with their text. JSON."""
    from exaone_nb import catalog, gpus
    from exaone_nb.compress.recipe import FOLDER as RECIPES
    from exaone_nb.quantization.schemes import SCHEMES
    from exaone_nb.workbook.doctor import SHOWN_SCHEMES

    return json.dumps(
        {
            "models": [name for name in catalog.names() if name != "nano"],
            "cards": list(gpus.GPUS),
            "usual": SHOWN_SCHEMES,
            "schemes": ["BF16", *(name for name in SCHEMES if name != "UNQUANTIZED")],
            "recipes": {path.stem: path.read_text("utf-8") for path in sorted(RECIPES.glob("*.yaml"))},
        }
    )
