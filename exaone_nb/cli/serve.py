"""Verbs of the serve wing: `bench`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from exaone_nb.cli.output import JsonFlag, emit
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.show.terminal import drawn

if TYPE_CHECKING:
    from exaone_nb.serve.bench import Bench


def bench(
    model: Annotated[str, typer.Argument(help="Catalog name, local folder, or hub id.")] = "nano",
    weights: Annotated[
        str, typer.Option(help="real, or dummy: random numbers of the right shapes.")
    ] = "real",
    scheme: Annotated[str, typer.Option(help="With dummy weights: the scheme to measure, as W4A16.")] = "",
    layers: Annotated[int, typer.Option(help="With dummy weights: only that many layers; 0 is all.")] = 0,
    batch: Annotated[
        list[int] | None, typer.Option(help="Requests at once; may be given again. Default 1 and 8.")
    ] = None,
    prompt: Annotated[int, typer.Option(help="Prompt tokens of the fixed-length measurement.")] = 128,
    output: Annotated[int, typer.Option(help="Output tokens of the fixed-length measurement.")] = 64,
    repeats: Annotated[int, typer.Option(help="Repeats after the warm-up.")] = 5,
    questions: Annotated[int, typer.Option(help="Questions for the time per token; 0 leaves it out.")] = 64,
    mode: Annotated[str, typer.Option(help="non-reasoning or reasoning.")] = "non-reasoning",
    max_gen_toks: Annotated[
        int, typer.Option(help="Longest answer; the hackathon's server allows 16384.")
    ] = 16384,
    max_model_len: Annotated[
        int,
        typer.Option(
            help="Prompt and answer together; 0: what the longest answer needs and the cache holds."
        ),
    ] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 chooses: one for tiny models, else all.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="auto, bfloat16, float16 or float32; auto is what the engine allows here.")
    ] = "auto",
    kv_cache_gib: Annotated[float, typer.Option(help="KV cache on a CPU, in GiB.")] = 1.0,
    tensor_parallel_size: Annotated[int, typer.Option(help="GPUs that share the model.")] = 1,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compiled/--eager", help="Compile graphs; default: on a GPU, not on a CPU (start takes longer)."
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Any other argument of vllm.LLM, as gpu_memory_utilization=0.8."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write the results into.")] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="Name in the run folder. Default: baseline; for dummy weights the shape and scheme."
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure prefill, decode, time per token as the hackathon counts it, and the length tail."""
    from exaone_nb.results import RunFolder
    from exaone_nb.serve.bench import BenchOptions
    from exaone_nb.serve.bench import bench as measure
    from exaone_nb.serve.checkpoints import record

    arguments = {"tensor_parallel_size": tensor_parallel_size, **_engine_options(engine or [])}
    if compiled is not None:
        arguments["eager"] = not compiled
    options = BenchOptions(
        scheme=scheme,
        weights=weights,
        batches=batch or (1, 8),
        prompt_tokens=prompt,
        output_tokens=output,
        repeats=repeats,
        max_questions=questions,
        mode=mode,
        max_gen_toks=max_gen_toks,
        max_model_len=max_model_len,
        layers=layers,
        threads=threads,
        kv_cache_gib=kv_cache_gib,
        dtype=dtype,
        engine=arguments,
    )
    if out is not None:
        _require_folder(RunFolder.at(out).results)
    found = measure(model, options)
    if out is not None:
        record(RunFolder.at(out), recipe or found.label, found)
    emit(as_json, found.document(), lambda console: _show(console, found))


def _engine_options(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE words; a value that reads as JSON is what it reads as, else text. Raises UsageError."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(
                f"--engine {word} names no value.",
                expected="--engine NAME=VALUE, as --engine max_num_seqs=64.",
            )
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _require_folder(folder: Path) -> None:
    """Raise UsageError now when the results could not be written later, after minutes of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"Results cannot be written to {folder}: {error.strerror}.", remedy="Choose another --out."
        ) from error


def _show(console: Console, found: Bench) -> None:
    from exaone_nb.serve import tables

    rows = tables.speed_rows([found])
    title = say(
        "{bench.scheme}, {bench.weights} weights, {bench.layers} layers, {bench.dtype} ({why})",
        bench=found,
        why=found.parameters["dtype_reason"],
    )
    console.print(drawn(replace(tables.speed_table(rows), caption=title)))
    if found.per_token is not None:
        console.print(drawn(tables.per_token_table({found.model: found.per_token})))
    for line in tables.bench_notes(found, rows):
        console.print(line, markup=False)


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
    app.command()(bench)
