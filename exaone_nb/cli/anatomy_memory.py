"""The verbs memory, speed and note."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exaone_nb import catalog
from exaone_nb.cli.output import JsonFlag, emit, tell
from exaone_nb.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

Model = Annotated[str, typer.Argument(help="Catalog name, local folder, or hub id.")]
SchemeOption = Annotated[
    str,
    typer.Option(
        "--scheme", help="BF16 or an LLM Compressor preset, for instance W4A16; default: as stored."
    ),
]
GpuOption = Annotated[str, typer.Option("--gpu", help="A name of data/gpus.csv, for instance L4.")]
KvOption = Annotated[str, typer.Option("--kv-dtype", help="auto (16-bit) or fp8.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("memory")(memory)
    app.command("speed")(speed)
    app.command("note")(note)


def _kv_bytes(kv_dtype: str, config: dict[str, Any]) -> int:
    from exaone_nb.anatomy.as_stored import cache_dtype_bytes

    sizes = {"auto": cache_dtype_bytes(config), "bf16": 2, "fp16": 2, "fp8": 1}
    if kv_dtype.lower() not in sizes:
        raise UsageError(f"No cache type {kv_dtype!r}.", expected=", ".join(sizes))
    return sizes[kv_dtype.lower()]


def _stored(config: dict[str, Any], scheme: str) -> tuple[str, Any]:
    """(scheme, prediction): the named scheme, or what the config itself says when none is named."""
    from exaone_nb.anatomy.as_stored import predict_as_stored
    from exaone_nb.anatomy.predict import predict_checkpoint

    return (scheme, predict_checkpoint(config, scheme)) if scheme else predict_as_stored(config, loaded=True)


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB ({count / 2**30:,.2f} GiB)"


def memory(
    model: Model,
    scheme: SchemeOption = "",
    gpu: GpuOption = "L4",
    context: Annotated[
        int | None, typer.Option(help="Tokens per request; default: the model's longest.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 1,
    engine: Annotated[str, typer.Option(help="vllm, transformers or sglang.")] = "vllm",
    tensor_parallel: Annotated[int, typer.Option(help="GPUs that share the model.")] = 1,
    kv_dtype: KvOption = "auto",
    batched_tokens: Annotated[
        int | None, typer.Option(help="vLLM's --max-num-batched-tokens; default: its own for this GPU.")
    ] = None,
    utilization: Annotated[float, typer.Option(help="Share of the memory the engine may use.")] = 0.92,
    as_json: JsonFlag = False,
) -> None:
    """Weights, KV cache, overhead, what fits on a GPU, and the longest context."""
    from exaone_nb.anatomy.memory import plan_memory

    config = catalog.resolve(model).config()
    scheme, prediction = _stored(config, scheme)
    plan = plan_memory(
        config,
        scheme,
        gpu,
        engine=engine,
        context=context,
        concurrency=concurrency,
        tensor_parallel=tensor_parallel,
        kv_dtype_bytes=_kv_bytes(kv_dtype, config),
        batched_tokens=batched_tokens,
        utilization=utilization,
        prediction=prediction,
    )
    document = {
        "model": model,
        "scheme": scheme,
        "gpu": plan.gpu.name,
        "engine": plan.engine,
        "tensor_parallel": plan.tensor_parallel,
        "runs": plan.support.runs,
        "reason": plan.support.reason,
        "context": plan.context,
        "concurrency": plan.concurrency,
        "memory_bytes": plan.gpu.memory_bytes,
        "budget_bytes": plan.budget,
        "weight_bytes": plan.weights,
        "overheads": [
            {"name": part.name, "bytes": part.bytes, "basis": part.basis, "estimate": True}
            for part in plan.overheads
        ],
        "left_for_cache_bytes": plan.left_for_cache,
        "cache": {
            "bytes_per_request": plan.kv.bytes_per_request,
            "bytes_needed": plan.cache_needed,
            "without_windows_bytes": plan.kv.without_windows,
            "bytes_per_token_every_layer": plan.kv.every_token_every_layer,
            "times_less_than_multi_head": plan.kv.if_multi_head / plan.kv.every_token_every_layer,
            "block_size": plan.kv.block_size,
            "blocks": plan.kv.num_blocks(plan.left_for_cache),
            "capacity_tokens": plan.kv.capacity_tokens(plan.left_for_cache),
            "how": plan.kv.how,
        },
        "fits": plan.fits,
        "longest_context": plan.longest,
        "longest_context_one_request": plan.longest_for_one,
        "largest_concurrency": plan.largest_concurrency,
        "advice": plan.advice(),
    }
    emit(as_json, document, lambda console: _show_memory(console, plan, model, scheme))


def _show_memory(console: Console, plan: Any, model: str, scheme: str) -> None:
    from rich.table import Table

    shared = f", one of {plan.tensor_parallel} GPUs" if plan.tensor_parallel > 1 else ""
    table = Table(
        title=f"{model} in {scheme} on {plan.gpu.name}, {plan.engine}{shared}", title_justify="left"
    )
    table.add_column("part")
    table.add_column("bytes", justify="right")
    table.add_column("how it is known", overflow="fold")
    table.add_row("memory of the card", _size(plan.gpu.memory_bytes), "as the driver reports it")
    table.add_row("budget", _size(plan.budget), "the share the engine may use")
    table.add_row("weights", _size(plan.weights), "exact")
    for part in plan.overheads:
        table.add_row(part.name, _size(part.bytes), f"estimate: {part.basis}")
    table.add_row("left for the cache", _size(plan.left_for_cache), "")
    requests = "1 request" if plan.concurrency == 1 else f"{plan.concurrency} requests"
    table.add_row(f"{requests} of {plan.context:,} tokens", _size(plan.cache_needed), plan.kv.how)
    console.print(table)
    if not plan.support.runs:
        console.print(f"This scheme does not run here: {plan.support.reason}.", markup=False)
    console.print(
        f"{'Fits' if plan.fits else 'Does not fit'}. Longest context: {plan.longest:,} tokens for {requests}, "
        f"{plan.longest_for_one:,} for one. At {plan.context:,} tokens: {plan.largest_concurrency} at once.",
        markup=False,
    )
    saved = plan.kv.if_multi_head / plan.kv.every_token_every_layer
    console.print(f"Sharing key/value heads makes the cache {saved:g} times smaller.", markup=False)
    for tip in plan.advice():
        console.print(f"- {tip}", markup=False)


def speed(
    model: Model,
    scheme: SchemeOption = "",
    gpu: GpuOption = "L4",
    batch: Annotated[int, typer.Option(help="Requests decoded together.")] = 1,
    context: Annotated[int, typer.Option(help="Tokens in the cache while decoding.")] = 1024,
    prompt: Annotated[int, typer.Option(help="Prompt tokens of the prefill.")] = 1024,
    kv_dtype: KvOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Roofline: prefill seconds, decode tokens per second, what bounds them, and the kernel that would run."""
    from exaone_nb.anatomy.roofline import compute_bound_batch, decode, prefill
    from exaone_nb.anatomy.work import work_of

    config = catalog.resolve(model).config()
    scheme, prediction = _stored(config, scheme)
    work = work_of(config, scheme, prediction=prediction)
    size = _kv_bytes(kv_dtype, config)
    writing = decode(config, scheme, gpu, batch=batch, context=context, kv_dtype_bytes=size, work=work)
    reading = prefill(config, scheme, gpu, batch=batch, tokens=prompt, kv_dtype_bytes=size, work=work)
    turning = compute_bound_batch(config, scheme, gpu, context=context, work=work) if writing.runs else None
    document = {
        "model": model,
        "scheme": scheme,
        "gpu": writing.gpu,
        "runs": writing.runs,
        "reason": writing.reason,
        "kernel": writing.support.kernel,
        "compute": writing.support.compute,
        "remark": writing.support.reason,
        "batch": batch,
        "decode": {
            "context": context,
            "seconds_per_step": writing.seconds,
            "tokens_per_second": writing.tokens_per_second,
            "bound": writing.bound,
            "weight_bytes_read": writing.weight_bytes if writing.runs else None,
            "cache_bytes_read": writing.bytes_moved - writing.weight_bytes if writing.runs else None,
            "operations_per_byte": writing.intensity,
            "compute_bound_from_batch": turning,
        },
        "prefill": {"tokens": prompt, "seconds": reading.seconds, "bound": reading.bound},
        "kind": "upper bound by arithmetic, not measured",
    }
    emit(as_json, document, lambda console: _show_speed(console, writing, reading, turning, model, scheme))


def _show_speed(
    console: Console, writing: Any, reading: Any, turning: int | None, model: str, scheme: str
) -> None:
    if not writing.runs:
        console.print(f"{model} in {scheme} on {writing.gpu}: no number, {writing.reason}.", markup=False)
        return
    from rich.table import Table

    table = Table(title=f"{model} in {scheme} on {writing.gpu}, batch {writing.batch}", title_justify="left")
    for name in ("pass", "at best", "bound by", "reads"):
        table.add_column(name)
    table.add_row(
        f"prefill, {reading.tokens:,} tokens",
        f"{reading.seconds * 1e3:,.2f} ms",
        reading.bound,
        _size(reading.bytes_moved),
    )
    table.add_row(
        f"decode at {writing.tokens:,} tokens",
        f"{writing.tokens_per_second:,.0f} tokens/s ({writing.seconds * 1e3:,.3f} ms a step)",
        writing.bound,
        f"weights {_size(writing.weight_bytes)}, cache {_size(writing.bytes_moved - writing.weight_bytes)}",
    )
    console.print(table)
    when = (
        f"from a batch of {turning:,} on"
        if turning
        else "at no batch: every request brings its own cache to read"
    )
    console.print(f"Kernel: {writing.support.kernel}, computes in {writing.support.compute}.", markup=False)
    console.print(f"Decoding is bound by compute {when}.", markup=False)
    if writing.support.reason:
        console.print(writing.support.reason, markup=False)
    console.print("Bounds by arithmetic, not measured; chapter 06 measures how much of them is reached.")


def note(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="Write the note to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """The one-page model note, in Markdown."""
    from exaone_nb.anatomy.note import model_note
    from exaone_nb.files import write_text

    text = model_note(model)
    if out is not None:
        write_text(out, text)
    document = {"model": model, "markdown": text, "file": str(out) if out else None}
    emit(as_json, document, lambda console: tell(f"Wrote {out}" if out else text, sys.stdout))
