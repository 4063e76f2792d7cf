"""Verbs of the anatomy wing: inspect and size here, memory, speed and note in anatomy_memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from exaone_nb import catalog
from exaone_nb.cli import anatomy_memory
from exaone_nb.cli.output import JsonFlag, emit

if TYPE_CHECKING:
    from rich.console import Console

    from exaone_nb.anatomy.predict import Prediction

Model = Annotated[str, typer.Argument(help="Catalog name, local folder or file, http(s) address, or hub id.")]


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
    app.command("inspect")(inspect)
    app.command("size")(size)
    anatomy_memory.register(app)


def inspect(
    model: Model,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Every byte of a checkpoint explained from its headers. Exits with 1 when it does not fit its config."""
    from exaone_nb.anatomy.inspection import inspect_model, require_sound

    bar = _HeaderProgress()
    inspection = inspect_model(model, revision, None if as_json else bar)
    bar.close()

    def human(console: Console) -> None:
        from exaone_nb.cli.anatomy_views import show_inspection

        show_inspection(console, inspection, tensors)

    emit(as_json, inspection.document() if as_json else None, human)
    require_sound(inspection)


class _HeaderProgress:
    """A line on stderr while several files are read, on a terminal only."""

    def __init__(self) -> None:
        self.used = False

    def __call__(self, done: int, total: int) -> None:
        if total > 1 and sys.stderr.isatty():
            self.used = True
            print(f"\rheader {done} of {total}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.used:
            print("\r" + " " * 30 + "\r", end="", file=sys.stderr, flush=True)


def size(
    model: Model,
    scheme: Annotated[
        list[str] | None,
        typer.Option("--scheme", help="BF16 or a preset of LLM Compressor; may be repeated. Default: all."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Module name, class, or re: pattern left alone. Default: lm_head."),
    ] = None,
    targets: Annotated[list[str] | None, typer.Option(help="What is quantized. Default: Linear.")] = None,
    kv_cache: Annotated[str, typer.Option(help="fp8: add scales for an fp8 KV cache.")] = "",
    untied_head: Annotated[
        bool,
        typer.Option(
            "--untied-head", help="Store a tied head a second time, as LLM Compressor before 0.13 did."
        ),
    ] = False,
    max_shard_size: Annotated[int, typer.Option(help="Bytes per file at most.")] = 20_000_000_000,
    as_json: JsonFlag = False,
) -> None:
    """The exact bytes of a checkpoint per quantization scheme, before anything is quantized."""
    from exaone_nb.anatomy.layouts import layout_notes
    from exaone_nb.anatomy.predict import predict_schemes
    from exaone_nb.quantization.schemes import SCHEMES

    config = catalog.resolve(model).config()
    found, refused = predict_schemes(
        config,
        scheme or ["BF16", *(preset for preset in SCHEMES if preset != "UNQUANTIZED")],
        targets=targets or ("Linear",),
        ignore=("lm_head",) if ignore is None else ignore,
        kv_cache=kv_cache or None,
        untied_head=untied_head,
        max_shard_size=max_shard_size,
    )
    if refused and (scheme or not found):
        raise next(iter(refused.values()))
    document = {
        "model": model,
        "schemes": {name: _size_document(p) for name, p in found.items()},
        "refused": {name: error.got for name, error in refused.items()},
        "notes": layout_notes(config),
    }

    def human(console: Console) -> None:
        from exaone_nb.cli.anatomy_views import lines, show_sizes

        show_sizes(console, model, found, refused)
        lines(console, document["notes"])

    emit(as_json, document, human)


def _size_document(prediction: Prediction) -> dict[str, object]:
    return {
        "file_bytes": prediction.file_bytes,
        "data_bytes": prediction.data_bytes,
        "unquantized_bytes": prediction.unquantized_bytes,
        "parameters": prediction.parameters,
        "bits_per_parameter": round(prediction.bits_per_parameter, 4),
        "tensors": len(prediction.tensors),
        "tied": prediction.tied,
        "by_component": prediction.by_component(),
        "files": [{"name": shard.name, "file_bytes": shard.file_bytes} for shard in prediction.shards],
    }
