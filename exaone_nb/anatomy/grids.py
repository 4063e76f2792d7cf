"""Chapter 02's tables as plain rows: what fits where, how fast it can be where. The explorer and the reports share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exaone_nb.anatomy.gpus import find_gpu
from exaone_nb.anatomy.kernels import on_gpu
from exaone_nb.anatomy.memory import MemoryPlan, plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.roofline import decode
from exaone_nb.anatomy.work import work_of
from exaone_nb.errors import WorkbookError


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


def scheme_rows(config: dict[str, Any], schemes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per scheme: predicted file bytes, share of the embedding and the head, bits per parameter.

    A scheme whose groups do not divide the model's matrices has its reason in place of bytes.
    """
    rows: list[dict[str, Any]] = []
    for scheme in schemes:
        try:
            prediction = predict_checkpoint(config, scheme)
        except WorkbookError as error:
            rows.append({"scheme": scheme, "file bytes": None, "remark": error.got})
            continue
        parts = prediction.by_component()
        table = parts.get("embedding", 0) + parts.get("head", 0)
        rows.append(
            {
                "scheme": scheme,
                "file bytes": prediction.file_bytes,
                "GB": prediction.file_bytes / 1e9,
                "GiB": prediction.file_bytes / 2**30,
                "embedding and head": table / prediction.data_bytes,
                "bits per parameter": prediction.bits_per_parameter,
                "remark": "",
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
