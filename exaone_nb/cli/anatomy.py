"""Verbs of the anatomy wing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from exaone_nb import catalog
from exaone_nb.cli.output import JsonFlag, counted, emit, lines, tell
from exaone_nb.errors import UsageError
from exaone_nb.library_types import Console
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.predict import Prediction

Model = Annotated[str, Argument(help="Catalog name, local folder or file, http(s) address, or hub id.")]
SchemeOption = Annotated[str, Option(help="BF16 or a preset, for instance W4A16; default: as stored.")]
GpuOption = Annotated[str, Option(help="A name of data/gpus.csv, for instance L4.")]
KvOption = Annotated[str, Option(help="auto (16-bit) or fp8.")]


def _emit(as_json: bool, document: dict[str, Any], view: str, *shown: Any) -> None:
    """`emit` with a function of anatomy_views, which --json need not wait for; the document's notes come last."""

    def human(console: Console) -> None:
        from exaone_nb.cli import anatomy_views

        getattr(anatomy_views, view)(console, *shown)
        lines(console, document.get("notes", ()))

    emit(as_json, document, human)


def inspect(
    model: Model,
    revision: Annotated[str | None, Option(help="Branch, tag or commit of a hub model.")] = None,
    tensors: Annotated[bool, Option("--tensors", help="List every tensor.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Every byte of a checkpoint or GGUF file explained from its headers. Exits with 1 when it does not fit its config."""
    from exaone_nb.anatomy.gguf.inspection import inspect_gguf, is_gguf, require_consistent
    from exaone_nb.anatomy.inspection import inspect_model, require_sound

    place = catalog.resolve(model)
    if is_gguf(place):
        inspection, require = inspect_gguf(place), require_consistent
    else:
        progress = None if as_json else counted(say("header"))
        inspection, require = inspect_model(place, revision, progress), require_sound

    _emit(as_json, inspection.document() if as_json else {}, "show_inspection", inspection, tensors)
    require(inspection)


def size(
    model: Model,
    scheme: Annotated[list[str] | None, Option(help="BF16 or a preset; repeatable. Default: all.")] = None,
    gguf: Annotated[
        list[str] | None, Option(help="Type of a GGUF file instead, for instance Q4_K_M, or all; repeatable.")
    ] = None,
    ignore: Annotated[list[str] | None, Option(help="Name, class, re: pattern. Default: lm_head.")] = None,
    targets: Annotated[list[str] | None, Option(help="What is quantized. Default: Linear.")] = None,
    kv_cache: Annotated[str, Option(help="fp8: add scales for an fp8 KV cache.")] = "",
    untied_head: Annotated[
        bool, Option("--untied-head", help="Store a tied head twice, as LLM Compressor before 0.13.")
    ] = False,
    max_shard_size: Annotated[int, Option(help="Bytes per file at most.")] = 20_000_000_000,
    as_json: JsonFlag = False,
) -> None:
    """The exact bytes of a checkpoint per quantization scheme, or of a GGUF file, before anything is quantized."""
    if gguf:
        if scheme or ignore or targets or kv_cache:
            raise UsageError(
                say("--gguf stands beside an option for schemes."),
                expected=say(
                    "--gguf alone, or with --untied-head: llama.cpp's rule decides which tensor gets what."
                ),
            )
        from exaone_nb.cli.gguf import show_gguf_sizes

        return show_gguf_sizes(model, gguf, untied_head, as_json)
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

    _emit(as_json, document, "show_sizes", model, found, refused)


def _size_document(prediction: Prediction) -> dict[str, object]:
    names = ("file_bytes", "data_bytes", "unquantized_bytes", "parameters", "tied")
    return {name: getattr(prediction, name) for name in names} | {
        "bits_per_parameter": round(prediction.bits_per_parameter, 4),
        "tensors": len(prediction.tensors),
        "by_component": prediction.by_component(),
        "files": [{"name": shard.name, "file_bytes": shard.file_bytes} for shard in prediction.shards],
    }


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
    context: Annotated[int | None, Option(help="Tokens per request; default: the model's longest.")] = None,
    concurrency: Annotated[int, Option(help="Requests at once.")] = 1,
    engine: Annotated[str, Option(help="vllm, transformers or sglang.")] = "vllm",
    tensor_parallel: Annotated[int, Option(help="GPUs that share the model.")] = 1,
    kv_dtype: KvOption = "auto",
    batched_tokens: Annotated[int | None, Option(help="vLLM's --max-num-batched-tokens.")] = None,
    utilization: Annotated[float, Option(help="Share of the memory the engine may use.")] = 0.92,
    as_json: JsonFlag = False,
) -> None:
    """Weights, KV cache, overhead and the longest context on a GPU. Exits with 1 when what was asked for does not fit."""
    given = locals()
    from exaone_nb.anatomy.layouts import layout_notes
    from exaone_nb.anatomy.logical import predict_as_stored
    from exaone_nb.anatomy.memory import plan_memory
    from exaone_nb.anatomy.preflight import offers
    from exaone_nb.fields import model_dtype
    from exaone_nb.gpus import remark_on_name

    config = catalog.resolve(model).config()
    as_stored, wide = not scheme, model_dtype(config) not in ("BF16", "F16")
    scheme, prediction = _stored(config, scheme)
    same = ("engine", "tensor_parallel", "context", "concurrency")
    plan = plan_memory(
        config,
        scheme,
        gpu,
        kv_dtype_bytes=_kv_bytes(kv_dtype, config),
        prediction=prediction,
        in_file=predict_as_stored(config)[1] if as_stored and wide else None,
        **{name: given[name] for name in (*same, "batched_tokens", "utilization")},
    )
    document = {name: getattr(plan, name) for name in (*same, "fits", "largest_concurrency")} | {
        "model": model,
        "scheme": scheme,
        "gpu": plan.gpu.name,
        "gpu_remark": remark_on_name(gpu, plan.gpu),
        "runs": plan.support.runs,
        "reason": plan.support.reason,
        "memory_bytes": plan.gpu.memory_bytes,
        "budget_bytes": plan.budget,
        "weight_bytes": plan.weights,
        "weight_bytes_in_file": plan.in_file,
        "overheads": [vars(part) | {"estimate": True} for part in plan.overheads],
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
        "longest_context": plan.longest,
        "longest_context_one_request": plan.longest_for_one,
        "would_fit": [vars(offer) for offer in offers(plan)] if as_json else [],  # the table says it in words
        "notes": layout_notes(config),
    }

    _emit(as_json, document, "show_memory", plan, model, scheme, document["gpu_remark"])
    if not plan.fits:
        raise Exit(1)


def speed(
    model: Model,
    scheme: SchemeOption = "",
    gpu: GpuOption = "L4",
    batch: Annotated[int, Option(help="Requests decoded together.")] = 1,
    context: Annotated[int | None, Option(help="Tokens in the cache while decoding; default 1,024.")] = None,
    prompt: Annotated[int | None, Option(help="Prompt tokens of the prefill; default 1,024.")] = None,
    kv_dtype: KvOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Roofline: prefill seconds, decode tokens per second, what bounds them, and the kernel that would run."""
    from exaone_nb.anatomy.attention import context_limit
    from exaone_nb.anatomy.layouts import layout_notes
    from exaone_nb.anatomy.roofline import compute_bound_batch, decode, prefill
    from exaone_nb.anatomy.work import work_of
    from exaone_nb.gpus import find_gpu, remark_on_name

    config = catalog.resolve(model).config()
    for what, tokens in (("context", context), ("prompt", prompt)):
        held = context_limit(config, tokens or 0, what)
    context, prompt = (min(1024, held) if tokens is None else tokens for tokens in (context, prompt))
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

    _emit(as_json, document, "show_speed", writing, reading, turning, model, scheme, document["gpu_remark"])


def note(
    model: Model,
    out: Annotated[Path | None, Option(help="Write the note to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """The one-page model note, in Markdown."""
    from exaone_nb.files import write_text
    from exaone_nb.show.note import model_note

    text = model_note(model)
    if out is not None:
        write_text(out, text)
    document = {"model": model, "markdown": text, "file": str(out) if out else None}
    emit(
        as_json,
        document,
        lambda console: tell(say("Wrote {out}.", out=str(out)) if out else text, sys.stdout),
    )
