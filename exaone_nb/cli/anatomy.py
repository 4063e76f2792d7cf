"""Verbs of the anatomy wing: inspect and size here, memory, speed and note in anatomy_memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exaone_nb import catalog
from exaone_nb.cli import anatomy_memory
from exaone_nb.cli.output import JsonFlag, emit

if TYPE_CHECKING:
    from exaone_nb.anatomy.inspection import Inspection
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

    bar = _Progress()
    inspection = inspect_model(model, revision, None if as_json else bar)
    bar.close()
    emit(
        as_json,
        inspection.document() if as_json else None,
        lambda console: _show(console, inspection, tensors),
    )
    require_sound(inspection)


class _Progress:
    """A line on stderr while several files are read, on a terminal only."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.used = False

    def __call__(self, done: int, total: int) -> None:
        if total > 1 and self.console.is_terminal:
            self.used = True
            self.console.print(f"\rheader {done} of {total}", end="")

    def close(self) -> None:
        if self.used:
            self.console.print("\r" + " " * 30 + "\r", end="")


def _show(console: Console, inspection: Inspection, tensors: bool) -> None:
    total, checkpoint = inspection.total, inspection.checkpoint
    logical = "unknown" if total.logical is None else f"{total.logical:,}"
    console.print(Text(inspection.name, style="bold"))
    console.print(f"{total.tensors:,} tensors, {total.elements:,} stored elements, {logical} parameters")
    if checkpoint:
        header = sum(file.header_bytes for file in checkpoint.files)
        lengths = 8 * len(checkpoint.files)
        console.print(
            f"{lengths:,} (lengths) + {header:,} (headers) + {checkpoint.data_bytes:,} (data) = "
            f"{checkpoint.file_bytes:,} bytes in {len(checkpoint.files)} file(s)"
        )
        if checkpoint.requests:
            console.print(f"{checkpoint.requests} requests, {checkpoint.wire_bytes:,} bytes fetched")
    else:
        console.print(f"{total.bytes:,} bytes of data")
    for title, key in (("component", lambda row: row.component), ("dtype", lambda row: row.dtype)):
        table = Table(title, "tensors", "bytes", "share", "parameters", box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, part in inspection.by(key).items():
            known = "?" if part.logical is None else f"{part.logical:,}"
            table.add_row(
                name, f"{part.tensors:,}", f"{part.bytes:,}", f"{part.bytes / max(total.bytes, 1):.1%}", known
            )
        console.print(table)
    for line in inspection.quantization:
        console.print(Text(f"quantization: {line}"))
    if tensors:
        table = Table("tensor", "dtype", "shape", "bytes", "component", box=None)
        for row in inspection.rows:
            table.add_row(Text(row.name), row.dtype, str(list(row.shape)), f"{row.bytes:,}", row.component)
        console.print(table)
    for copy in inspection.duplicates:
        seen = {True: "same bytes", False: "but the contents differ", None: "told by name and shape"}[
            copy.same_content
        ]
        console.print(
            Text(f"stored twice: {copy.copy} repeats {copy.original}, {copy.bytes:,} bytes ({seen})")
        )
    for mismatch in inspection.mismatches[:20]:
        console.print(
            Text(
                f"shape: {mismatch.name}\n  Left (file):    {mismatch.left}\n  Right (config): {mismatch.right}"
            )
        )
    for title, names in (("missing", inspection.missing), ("left over", inspection.extra)):
        for name in names[:20]:
            console.print(Text(f"{title}: {name}"))
        if len(names) > 20:
            console.print(f"{title}: and {len(names) - 20:,} more")
    for line in (*(checkpoint.problems[:20] if checkpoint else ()), *inspection.notes):
        console.print(Text(f"note: {line}"))


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
    from exaone_nb.anatomy.predict import predict_checkpoint
    from exaone_nb.anatomy.schemes import SCHEMES
    from exaone_nb.errors import WorkbookError

    config = catalog.resolve(model).config()
    found: dict[str, Prediction] = {}
    refused: dict[str, str] = {}
    for name in scheme or ["BF16", *(preset for preset in SCHEMES if preset != "UNQUANTIZED")]:
        try:
            found[name] = predict_checkpoint(
                config,
                name,
                targets=targets or ("Linear",),
                ignore=("lm_head",) if ignore is None else ignore,
                kv_cache=kv_cache or None,
                untied_head=untied_head,
                max_shard_size=max_shard_size,
            )
        except WorkbookError as error:
            if scheme or error.exit_code == 2:
                raise
            refused[name] = error.got
    if not found:
        raise WorkbookError(f"No scheme fits {model}: {next(iter(refused.values()))}")
    document = {
        "model": model,
        "schemes": {name: _size_document(p) for name, p in found.items()},
        "refused": refused,
    }
    emit(as_json, document, lambda console: _show_sizes(console, model, found, refused))


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


def _show_sizes(console: Console, model: str, found: dict[str, Prediction], refused: dict[str, str]) -> None:
    first = next(iter(found.values()))
    console.print(
        Text(f"{model}: {first.parameters:,} parameters, head {'tied' if first.tied else 'stored apart'}")
    )
    table = Table("scheme", "file bytes", "of BF16", "bits/parameter", "embedding + head", "files", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, prediction in found.items():
        parts = prediction.by_component()
        tables = parts.get("embedding", 0) + parts.get("head", 0)
        table.add_row(
            name,
            f"{prediction.file_bytes:,}",
            f"{prediction.data_bytes / prediction.unquantized_bytes:.1%}",
            f"{prediction.bits_per_parameter:.2f}",
            f"{tables / prediction.data_bytes:.1%}",
            str(len(prediction.shards)),
        )
    console.print(table)
    for name, reason in refused.items():
        console.print(Text(f"{name}: {reason}"))
