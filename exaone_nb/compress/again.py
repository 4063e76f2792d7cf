"""Make a checkpoint again from the manifest beside it, and say whether every file came out byte by byte.

    make_again("runs/mine/checkpoints/w4a16_gptq/quantize.json", "nano", "runs/again/w4a16_gptq")

The manifest names all that decides the result: the model's files and the calibration text by their hashes, the recipe,
the libraries, the number of threads, which decides in which order numbers are added, and the processor. What cannot
lead to the same bytes (another model, another text) is refused before anything is loaded; another library or
processor may, so it is tried.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.compress import manifest
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.quantize import inputs_of, quantize
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.findings import some
from exaone_nb.messages import say
from exaone_nb.threads import set_torch_threads
from exaone_nb.written import read_text

NEEDED = {"recipe_name": str, "threads": int} | dict.fromkeys(
    ("recipe", "source_files", "calibration", "versions", "files", "beside"), dict
)


def make_again(
    file: str | Path, model: str | Path, out: str | Path, *, calibration: str = "", **options: Any
) -> dict[str, Any]:
    """The manifest of the new checkpoint in `out`; its `problems` name each file that differs from the first one's.

    `calibration` says where the text lies on this machine, if it lies elsewhere; `options` are those of `quantize`.
    Raises UsageError for a file that is no manifest of a quantized checkpoint, and WorkbookError when the model or the
    text is another.
    """
    first = read(file)
    recipe = recipes.parse(first["recipe"], first["recipe_name"])
    if calibration:
        recipe = _with_text_at(recipe, calibration)
    _check_inputs(first, model, recipe)
    before = set_torch_threads(first["threads"])
    try:
        # What was made once may be made again, whether or not it can be served.
        made = quantize(model, recipe, out, **options | {"reuse": False, "unservable": True})
    finally:
        set_torch_threads(before)
    # A text that lies elsewhere is named otherwise in the recipe, and nowhere else.
    passed_over = {"recipe.yaml"} if calibration else set()
    return made | {"problems": made["problems"] + _differences(first, made, passed_over)}


def read(file: str | Path) -> dict[str, Any]:
    """The manifest in a file, or in the folder of a checkpoint. Raises UsageError when it is none."""
    file = Path(file)
    file = file / manifest.NAME if file.is_dir() else file
    expected = say("the {name} of a checkpoint that this workbook made.", name=manifest.NAME)
    try:
        document = json.loads(read_text(file, expected))
    except ValueError as error:
        raise UsageError(say("{file} is not JSON.", file=str(file)), expected=expected) from error
    entries = document if isinstance(document, dict) else {}
    missing = [name for name, kind in NEEDED.items() if not isinstance(entries.get(name), kind)]
    if missing:
        got = say("{file} has no {names}.", file=str(file), names=", ".join(missing))
        raise UsageError(got, expected=expected)
    return document


def _with_text_at(recipe: Recipe, place: str) -> Recipe:
    sources = recipe.calibration.sources
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources)
        raise UsageError(
            say("The manifest names several texts ({names}).", names=names),
            expected=say("one text, where --calibration says where it lies."),
            remedy=say("Put them where the manifest says."),
        )
    return recipe.with_calibration(sources=(dataclasses.replace(sources[0], name=place),))


def _check_inputs(first: dict[str, Any], model: str | Path, recipe: Recipe) -> None:
    here, then = inputs_of(catalog.weights_folder(model)), first["source_files"]
    if other := sorted(name for name in here.keys() | then.keys() if here.get(name) != then.get(name)):
        raise WorkbookError(
            say(
                "The files of {model} are not those of the manifest: {names}.", model=model, names=some(other)
            ),
            expected=say("the model that the checkpoint was made from ({model}).", model=first.get("model")),
        )
    mark = first["calibration"].get("fingerprint", "")
    if recipe.needs_data and recipe.calibration.fingerprint() != mark:
        names = ", ".join(source.name for source in recipe.calibration.sources)
        raise WorkbookError(
            say("The calibration text {names} is not that of the manifest.", names=names),
            expected=say("the same samples; the path of the file does not matter."),
            remedy=say("Name the right file with --calibration."),
        )


def _differences(first: dict[str, Any], made: dict[str, Any], passed_over: set[str]) -> list[str]:
    """A sentence per file that is not the first one's, with what else was not the same."""
    then, now = (one["files"] | one["beside"] for one in (first, made))
    mark = {
        name: [one.get(name, {}).get("sha256") for one in (then, now)] for name in then.keys() | now.keys()
    }
    names = sorted(name for name, (a, b) in mark.items() if a != b and name not in passed_over)
    if not names:
        return []
    facts = [(one["versions"] | {"processor": one.get("processor", "?")}) for one in (first, made)]
    other = [
        say("{what}: {then} then, {now} here", what=what, then=facts[0].get(what), now=facts[1].get(what))
        for what in facts[1]
        if facts[0].get(what) != facts[1].get(what)
    ]
    why = "; ".join(other) or say("libraries and processor are the same")
    return [say("{name} is not the manifest's byte by byte ({why}).", name=name, why=why) for name in names]
