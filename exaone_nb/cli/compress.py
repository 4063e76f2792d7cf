"""Verbs of the compress wing: plan and quantize."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer import Argument, Option

from exaone_nb.catalog import is_nano
from exaone_nb.cli.output import JsonFlag, emit, lines, tell, writable
from exaone_nb.errors import UsageError
from exaone_nb.files import staged_file, write_text
from exaone_nb.materials import narrow_text
from exaone_nb.messages import say, translated, visible
from exaone_nb.show.table import Column, Table, drawn

RecipeOption = Annotated[
    str, Option("--recipe", help="A name in data/recipes/, or a YAML file, ours or llm-compressor's.")
]


def plan(
    model: Annotated[str, Argument(help="Catalog name, local folder, or hub id.")],
    recipe: RecipeOption = "",
    fit: Annotated[
        str, Option(help="Instead of --recipe: choose one whose file has at most so many bytes.")
    ] = "",
    schemes: Annotated[str, Option(help="With --fit: what may be chosen, part by part.")] = "W4A16,W8A8,BF16",
    text: Annotated[
        str, Option(help="With --fit: JSONL or hub data set to measure on; default: the model's own.")
    ] = "",
    samples: Annotated[int, Option(min=2, help="With --fit: texts to measure on.")] = 32,
    against: Annotated[str, Option(help="A second recipe; show what differs in effect.")] = "",
    gpu: Annotated[
        str, Option("--gpu", "--for", help="GPU to check for serving; with --fit also cpu.")
    ] = "L4",
    picture: Annotated[Path | None, Option(help="Also draw layers x modules into this .svg or .png.")] = None,
    export: Annotated[Path | None, Option(help="Also write llm-compressor's recipe.yaml, anew.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Dry run of a recipe: module to scheme, patterns, settings without effect, predicted bytes. Loads no weights.

    With --fit (1.2GB, 900MiB, 971261368) the weights are loaded: each part is measured under each scheme that the target
    serves, and the recipe that loses least is chosen.

    Exit code 1 when the plan, or the one it is compared with, has errors, or when nothing served is so small.
    """
    from exaone_nb.compress.analysis import JUDGES_CARD, analyse
    from exaone_nb.compress.plan import compare, make_plan
    from exaone_nb.gpus import find_gpu
    from exaone_nb.hardware import this_cpu

    if bool(recipe) == bool(fit):
        got = (
            say("--recipe and --fit are both given.")
            if recipe
            else say("Neither --recipe nor --fit is given.")
        )
        raise UsageError(got, expected=say("one of them."))
    if export is not None:
        _check_export(export)
    if picture is not None:
        _check_picture(picture)
    on_cpu = bool(fit) and gpu.lower() == "cpu"
    fitted = None
    if fit:
        from exaone_nb.compress.fit import fit as fit_recipe

        machine = this_cpu() if on_cpu else find_gpu(gpu).machine
        fitted = fit_recipe(model, fit, schemes, machine, text=text, count=samples, progress=tell)
    plan = make_plan(model, fitted.recipe if fitted else recipe)
    card = JUDGES_CARD if on_cpu else gpu
    first = second = analyse(plan, card)
    document = first.to_dict() | ({"fit": fitted.to_dict()} if fitted else {})
    if against:
        other = make_plan(model, against)
        second, differences = analyse(other, card), compare(plan, other)
        document["against"] = other.recipe.name
        document["differences"] = [vars(d) for d in differences]
        document["identical_in_effect"] = not differences
        document["against_findings"] = second.to_dict()["findings"]
    if picture is not None:
        _draw(plan, picture)
    if export is not None and not first.has_errors:
        with writable(say("recipe"), export):
            write_text(export, plan.recipe.to_yaml())
    emit(as_json, document, lambda console: _show_plan(console, document, plan.by_part(), fitted))
    if first.has_errors or second.has_errors:
        raise typer.Exit(1)


def quantize(
    model: Annotated[str, Argument(help="Catalog name, local folder, or hub id; its weights are loaded.")],
    out: Annotated[Path, Option(help="Folder of the new checkpoint; replaced whole when done.")],
    recipe: RecipeOption = "",
    from_manifest: Annotated[
        Path | None,
        Option(help="Instead of a recipe: the quantize.json of a checkpoint, to make that again."),
    ] = None,
    samples: Annotated[int | None, Option(min=1, help="Calibration samples; default: the recipe's.")] = None,
    length: Annotated[int | None, Option(min=1, help="Tokens per sample; default: the recipe's.")] = None,
    seed: Annotated[int | None, Option(help="Seed; default: the recipe's.")] = None,
    calibration: Annotated[str, Option(help="JSONL file or hub data set; default: the recipe's.")] = "",
    force: Annotated[bool, Option("--force", help="Make it again even if a finished one is there.")] = False,
    sanity: Annotated[bool, Option(help="Generate a short answer from the saved files.")] = True,
    ignore_memory: Annotated[bool, Option("--ignore-memory", help="Try although memory is short.")] = False,
    unservable: Annotated[bool, Option("--unservable", help="Make it although no vLLM can load it.")] = False,
    trust_remote_code: Annotated[bool, Option("--trust-remote-code", help="Run the model's code.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Quantize a model by a recipe with llm-compressor, and check what was written.

    Exit code 1 when the checkpoint has problems, for instance other bytes than predicted, or than the manifest says.
    """
    from exaone_nb.compress import again
    from exaone_nb.compress import quantize as engine
    from exaone_nb.compress import recipe as recipes
    from exaone_nb.compress.calibration import TextSource

    options: dict[str, Any] = {
        "sanity": sanity, "ignore_memory": ignore_memory, "trust_remote_code": trust_remote_code, "progress": tell,
    }  # fmt: skip
    if bool(recipe) == (from_manifest is not None):
        raise UsageError(
            say("Both --recipe and --from-manifest are given.") if recipe else say("No recipe is given."),
            expected=say("--recipe NAME, or --from-manifest FILE."),
        )
    if from_manifest is not None:
        if not samples is length is seed is None:
            got = say("--samples, --length or --seed stand beside --from-manifest.")
            raise UsageError(got, expected=say("neither: the manifest says them."))
        document = again.make_again(from_manifest, model, out, calibration=calibration, **options)
    else:
        chosen = recipes.load(recipe).with_calibration(
            samples=samples,
            length=length,
            seed=seed,
            sources=(TextSource(calibration),) if calibration else None,
        )
        narrow = narrow_text(source.name for source in chosen.calibration.sources)
        if narrow and chosen.needs_data and not is_nano(model):
            tell(say("{narrow} For general text: --calibration LGAI-EXAONE/MANTA-1M.", narrow=narrow))
        document = engine.quantize(model, chosen, out, reuse=not force, unservable=unservable, **options)
    emit(as_json, document, lambda console: _show_manifest(console, document, out))
    if document["problems"]:
        raise typer.Exit(1)


def _check_export(file: Path) -> None:
    if file.suffix not in (".yaml", ".yml") or file.exists():
        got = (
            say("--export is {file!r}, which exists.", file=str(file))
            if file.exists()
            else say("--export is {file!r}.", file=str(file))
        )
        raise UsageError(got, expected=say("a new file whose name ends in .yaml."))


def _check_picture(picture: Path) -> None:
    if picture.suffix not in (".svg", ".png"):
        got = say("--picture is {name!r}.", name=picture.name)
        raise UsageError(got, expected=say("a file name ending in .svg or .png."))


def _draw(plan: Any, picture: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from exaone_nb.compress.pictures import scheme_map

    figure = scheme_map(plan, say("{recipe} on {model}", recipe=plan.recipe.name, model=plan.model))
    with writable(say("picture"), picture), staged_file(picture) as staging:
        figure.savefig(staging, format=picture.suffix[1:], bbox_inches="tight")


def _show_plan(console: Console, document: dict[str, Any], parts: list[dict[str, str]], fitted: Any) -> None:
    title = say("{recipe} on {model}", recipe=document["recipe"], model=document["model"])
    console.print(title, style="bold", markup=False)
    columns = [Column("module", code=True), Column("layers"), Column("scheme")]
    rows = [part | {"scheme": say("kept") if part["scheme"] == "-" else part["scheme"]} for part in parts]
    console.print(drawn(Table(columns, rows, say("What each module gets"))))
    if document["predicted_bytes"] is not None:
        text = say(
            "  predicted {predicted:,} bytes, of which {kept:,} stay unquantized (whole model unquantized: {whole:,})",
            predicted=document["predicted_bytes"], kept=document["kept_bytes"], whole=document["unquantized_bytes"],
        )  # fmt: skip
        console.print(text, markup=False)
    columns = [
        Column("pattern", code=True), Column("role"), Column("modules"), Column("parents", say("of which parents")),
        Column("effective", say("with effect")),
    ]  # fmt: skip
    console.print(drawn(Table(columns, document["patterns"], say("Patterns"))))
    if fitted:
        console.print(drawn(fitted.beside()))
        lines(console, fitted.remarks())
    found = _remarks(document["findings"])
    for verdict in document["serving"]:
        verdict = verdict | {"answer": translated(verdict["answer"])}
        found.append(
            say("  {v[where]}: {v[answer]}. {v[why]} (reported by participants, 2026-02)", v=verdict)
            if verdict["recorded"]
            else say("  {v[where]}: {v[answer]}. {v[why]}", v=verdict)
        )
    if "differences" in document:
        other = document["against"]
        if document["against_findings"]:
            found += [say("About {recipe}:", recipe=other), *_remarks(document["against_findings"])]
        if document["identical_in_effect"]:
            found.append(say("Identical in effect to {recipe}.", recipe=other))
        found += [f"  {d['what']}: {d['first']} | {other}: {d['second']}" for d in document["differences"]]
    lines(console, found)


def _remarks(findings: list[dict[str, str]]) -> list[str]:
    return [
        f"[{translated(finding['level'])}] {finding['text']} {finding['remedy']}".rstrip()
        for finding in findings
    ]


def _show_manifest(console: Console, document: dict[str, Any], out: Path) -> None:
    from exaone_nb.compress import tables

    made = {out.name: document}
    shown = ("predicted_bytes", "actual_bytes", "equal", "seconds", "peak_bytes")
    console.print(visible(str(out)), style="bold", markup=False)
    console.print(drawn(tables.manifests(made).only(shown)))
    if document.get("generations"):
        console.print(drawn(tables.answers(made).only(("mode", "answer"))))
    lines(console, (say("[problem] {text}", text=problem) for problem in document["problems"]))
