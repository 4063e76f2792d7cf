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
    from exaone_nb.anatomy.logical import cache_dtype_bytes

    sizes = {"auto": cache_dtype_bytes(config), "bf16": 2, "fp16": 2, "fp8": 1}
    if kv_dtype.lower() not in sizes:
        raise UsageError(f"No cache type {kv_dtype!r}.", expected=", ".join(sizes))
    return sizes[kv_dtype.lower()]


def _stored(config: dict[str, Any], scheme: str) -> tuple[str, Any]:
    """(scheme, prediction): the named scheme, or what the config itself says when none is named."""
    from exaone_nb.anatomy.logical import predict_as_stored
    from exaone_nb.anatomy.predict import predict_checkpoint

    return (scheme, predict_checkpoint(config, scheme)) if scheme else predict_as_stored(config, loaded=True)


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
    from exaone_nb.anatomy.layouts import layout_notes
    from exaone_nb.anatomy.memory import plan_memory
    from exaone_nb.gpus import remark_on_name

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
        "gpu_remark": remark_on_name(gpu, plan.gpu),
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
        "notes": layout_notes(config),
    }

    def human(console: Console) -> None:
        from exaone_nb.cli.anatomy_views import lines, show_memory

        show_memory(console, plan, model, scheme, document["gpu_remark"])
        lines(console, document["notes"])

    emit(as_json, document, human)


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
    from exaone_nb.anatomy.layouts import layout_notes
    from exaone_nb.anatomy.roofline import compute_bound_batch, decode, prefill
    from exaone_nb.anatomy.work import work_of
    from exaone_nb.gpus import find_gpu, remark_on_name

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
        "gpu_remark": remark_on_name(gpu, find_gpu(gpu)),
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
        "notes": layout_notes(config),
    }

    def human(console: Console) -> None:
        from exaone_nb.cli.anatomy_views import lines, show_speed

        show_speed(console, writing, reading, turning, model, scheme, document["gpu_remark"])
        lines(console, document["notes"])

    emit(as_json, document, human)


def note(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="Write the note to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """The one-page model note, in Markdown."""
    from exaone_nb.files import write_text
    from exaone_nb.show.note import model_note

    text = model_note(model)
    if out is not None:
        write_text(out, text)
    document = {"model": model, "markdown": text, "file": str(out) if out else None}
    emit(as_json, document, lambda console: tell(f"Wrote {out}" if out else text, sys.stdout))
