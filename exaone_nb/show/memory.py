"""Chapter 02's tables as plain rows: parameters, bytes, caches, what fits where, how fast it can be where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exaone_nb.anatomy.kv import ENGINES, kv_cache
from exaone_nb.anatomy.layouts import count_parameters, is_tied
from exaone_nb.anatomy.memory import MemoryPlan, plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.roofline import decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.quantization.kernels import on_gpu


def parameter_rows(configs: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """One row per (name, config): parameters, without embedding and head, active per token, share by component."""
    rows = []
    for name, config in configs.items():
        count = count_parameters(config)
        row = {
            "model": name,
            "parameters": f"{count.total:,}",
            "without embedding and head": f"{count.non_embedding:,}",
            "active per token": f"{count.active:,}",
        }
        row |= {part: f"{size / count.total:.1%}" for part, size in count.by_component.items()}
        rows.append(row | ({"head": "tied"} if is_tied(config) else {}))
    return rows


def cache_rows(
    config: dict[str, Any], in_flight: Sequence[int] = (2048, 8192, 16384)
) -> list[dict[str, str]]:
    """One request of the longest context in every engine; vLLM once per number of tokens in flight."""
    caches = [
        (f"vLLM, {tokens:,} tokens in flight", kv_cache(config, max_num_batched_tokens=tokens))
        for tokens in in_flight
    ]
    caches.append(("vLLM, hybrid cache manager off", kv_cache(config, hybrid_manager=False)))
    caches += [(engine, kv_cache(config, engine)) for engine in ENGINES if engine != "vllm"]
    return [
        {
            "engine": label,
            "bytes": f"{cache.bytes_per_request:,}",
            "GiB": f"{cache.bytes_per_request / 2**30:,.2f}",
            "how": cache.how,
        }
        for label, cache in caches
    ]


def speed_rows(
    config: dict[str, Any], schemes: Sequence[str], gpu: str, *, batch: int = 1, context: int = 1024
) -> list[dict[str, str]]:
    """One row per scheme: decode and prefill at best on one GPU, what binds them, or why there is no number."""
    rows = []
    for scheme in schemes:
        work = work_of(config, scheme)
        step = decode(config, scheme, gpu, batch=batch, context=context, work=work)
        prompt = prefill(config, scheme, gpu, batch=batch, tokens=context, work=work)
        if not step.runs:
            rows.append({"scheme": scheme, "remark": step.reason})
            continue
        rows.append(
            {
                "scheme": scheme,
                "decode, tokens/s": f"{step.tokens_per_second:,.0f}",
                "ms per step": f"{1e3 * step.seconds:.2f}",
                "decode bound by": step.bound,
                f"prefill of {context:,}, ms": f"{1e3 * prompt.seconds:.1f}",
                "prefill bound by": prompt.bound,
                "remark": step.support.reason,
            }
        )
    return rows


def verdict(plan: MemoryPlan) -> str:
    """A plan in a few words: why not, or how many requests and how long."""
    if not plan.support.runs:
        return "no kernel"
    if plan.left_for_cache <= 0:
        return "weights too large"
    if plan.fits:
        return f"fits, up to {plan.largest_concurrency} at once"
    if plan.largest_concurrency:
        return f"{plan.largest_concurrency} at once, the rest wait"
    return f"only up to {plan.longest_for_one:,} tokens" if plan.longest_for_one else "no room for a cache"


def fit_grid(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpus: Sequence[str],
    *,
    context: int,
    concurrency: int,
    **options: Any,
) -> list[dict[str, str]]:
    """One row per GPU, one column per scheme, each cell a `verdict`. `options` go to `plan_memory`."""
    predictions = {scheme: predict_checkpoint(config, scheme) for scheme in schemes}
    rows = []
    for gpu in gpus:
        card = find_gpu(gpu)
        row = {"GPU": f"{card.name} ({card.memory_bytes / 2**30:.0f} GiB)"}
        for scheme in schemes:
            plan = plan_memory(
                config,
                scheme,
                card,
                context=context,
                concurrency=concurrency,
                prediction=predictions[scheme],
                **options,
            )
            row[scheme] = verdict(plan)
        rows.append(row)
    return rows


def speed_grid(
    config: dict[str, Any], schemes: Sequence[str], gpus: Sequence[str], *, batch: int, context: int
) -> list[dict[str, str]]:
    """One row per GPU, one column per scheme: decode tokens per second at best, or why there is no number."""
    works = {scheme: work_of(config, scheme) for scheme in schemes}
    rows = []
    for gpu in gpus:
        card = find_gpu(gpu)
        row = {"GPU": card.name}
        for scheme in schemes:
            step = decode(config, scheme, card, batch=batch, context=context, work=works[scheme])
            if step.runs:
                row[scheme] = f"{step.tokens_per_second:,.0f} ({step.bound})"
            else:
                row[scheme] = "does not fit" if step.support.runs else "no kernel"
        rows.append(row)
    return rows


def scheme_rows(config: dict[str, Any], schemes: Sequence[str]) -> list[dict[str, str]]:
    """One row per scheme: predicted file bytes, share of the embedding and the head, bits per parameter.

    A scheme whose groups do not divide the model's matrices has its reason in place of bytes.
    """
    rows: list[dict[str, str]] = []
    for scheme in schemes:
        try:
            prediction = predict_checkpoint(config, scheme)
        except WorkbookError as error:
            rows.append({"scheme": scheme, "file bytes": "", "remark": error.got})
            continue
        parts = prediction.by_component()
        table = parts.get("embedding", 0) + parts.get("head", 0)
        rows.append(
            {
                "scheme": scheme,
                "file bytes": f"{prediction.file_bytes:,}",
                "GB": f"{prediction.file_bytes / 1e9:,.3f}",
                "GiB": f"{prediction.file_bytes / 2**30:,.3f}",
                "embedding, head": f"{table / prediction.data_bytes:.1%}",
                "bits/parameter": f"{prediction.bits_per_parameter:.2f}",
            }
        )
    return rows


def kernels_grid(schemes: Sequence[str], gpus: Sequence[str]) -> list[dict[str, str]]:
    """One row per GPU: what each scheme is computed in under vLLM 0.32, "no kernel" where it does not run."""
    rows = []
    for gpu in gpus:
        card = find_gpu(gpu)
        row = {"GPU": f"{card.name} ({card.architecture} {card.compute_capability})"}
        for scheme in schemes:
            support = on_gpu(scheme, card)
            row[scheme] = f"{support.compute}, {support.kernel}" if support.runs else "no kernel"
        rows.append(row)
    return rows
