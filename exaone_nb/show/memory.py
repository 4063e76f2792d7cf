"""The tables of parameters, bytes and caches, of what fits where, and of how fast it can be where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exaone_nb.anatomy.kv import ENGINES, kv_cache
from exaone_nb.anatomy.layouts import count_parameters, is_tied
from exaone_nb.anatomy.memory import MemoryPlan, plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.roofline import Pass, decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import on_gpu
from exaone_nb.show.table import Column, Table, columns


def parameter_table(configs: Mapping[str, dict[str, Any]], caption: str = "") -> Table:
    """One line per model: parameters, without embedding and head, active per token, share by component."""
    rows, parts = [], {}
    for model, config in configs.items():
        count = count_parameters(config)
        shares = {part: size / count.total for part, size in count.by_component.items()}
        parts |= shares
        tied = {"head": say("tied")} if is_tied(config) else {}
        sums = {"parameters": count.total, "inside": count.non_embedding, "active": count.active}
        rows.append({"model": model, **sums, **shares, **tied})
    heads = [
        Column("model", code=True),
        Column("parameters", form=","),
        Column("inside", say("without embedding and head"), ","),
        Column("active", say("active per token"), ","),
    ]
    return Table([*heads, *columns(dict.fromkeys([*parts, "head"]), ".1%")], rows, caption)


def files_table(rows: Sequence[dict[str, Any]], caption: str = "", *, measured: bool = True) -> Table:
    """Predicted sizes against real files, in bytes; `measured` is False for recorded ones, which show their source."""
    heads = [
        Column("file"),
        Column("scheme", code=True),
        Column("predicted", form=","),
        Column("real", form=","),
        Column("off", say("off by"), "+,d"),
        Column("origin", say("real size from")),
    ]
    return Table([h for h in heads if measured or h.name != "predicted"], rows, caption)


def cache_table(
    config: dict[str, Any], caption: str = "", in_flight: Sequence[int] = (2048, 8192, 16384)
) -> Table:
    """One request of the longest context in every engine; vLLM once per number of tokens in flight."""
    caches = [
        (say("vLLM, {tokens:,} tokens in flight", tokens=n), kv_cache(config, max_num_batched_tokens=n))
        for n in in_flight
    ]
    caches.append((say("vLLM, hybrid cache manager off"), kv_cache(config, hybrid_manager=False)))
    caches += [(engine, kv_cache(config, engine)) for engine in ENGINES if engine != "vllm"]
    heads = [
        Column("engine"),
        Column("bytes", form=","),
        Column("gib", "GiB", ",.2f", 2**-30, of="bytes"),
        Column("how"),
    ]
    rows = [{"engine": name, "bytes": cache.bytes_per_request, "how": cache.how} for name, cache in caches]
    return Table(heads, rows, caption)


def memory_table(plan: MemoryPlan, caption: str = "") -> Table:
    """What one GPU's memory goes into, line by line, and how each figure is known."""
    lines = [
        (say("memory of the card"), plan.gpu.memory_bytes, say("as the driver reports it")),
        (say("budget"), plan.budget, say("the share the engine may use")),
        (say("weights"), plan.weights, say("exact")),
        *((part.name, part.bytes, say("estimate: {basis}", basis=part.basis)) for part in plan.overheads),
        (say("left for the cache"), plan.left_for_cache, ""),
        (
            say("{requests} x {context:,} tokens", requests=plan.concurrency, context=plan.context),
            plan.cache_needed,
            plan.kv.how,
        ),
    ]
    heads = [
        Column("part"),
        Column("bytes", "GB", ",.2f", 1e-9),
        Column("gib", "GiB", ",.2f", 2**-30, of="bytes"),
        Column("how", say("how it is known")),
    ]
    return Table(heads, [dict(zip(("part", "bytes", "how"), line, strict=True)) for line in lines], caption)


def verdict(plan: MemoryPlan) -> str:
    """A plan in a few words: why not, or how many requests and how long."""
    if not plan.support.runs:
        return say("no kernel")
    if plan.left_for_cache <= 0:
        return say("weights too large")
    if plan.fits:
        return say("fits, up to {most:,} at once", most=plan.largest_concurrency)
    if plan.largest_concurrency:
        return say("{most:,} at once, the rest wait", most=plan.largest_concurrency)
    if plan.longest_for_one:
        return say("only up to {longest:,} tokens", longest=plan.longest_for_one)
    return say("no room for a cache")


def outlook(plan: MemoryPlan) -> list[str]:
    """The plan in sentences: does it fit, how long may a context be, what does sharing heads save, what to try."""
    found = (
        []
        if plan.support.runs
        else [say("This scheme does not run here: {reason}.", reason=plan.support.reason)]
    )
    found += [
        say("Fits.") if plan.fits else say("Does not fit."),
        say(
            "Longest context: {plan.longest:,} tokens for {plan.concurrency} at once, {plan.longest_for_one:,} for one. "
            "At {plan.context:,} tokens: {plan.largest_concurrency} at once.",
            plan=plan,
        ),
        say(
            "Sharing key/value heads makes the cache {times:g} times smaller.",
            times=plan.kv.if_multi_head / plan.kv.every_token_every_layer,
        ),
    ]
    return found + [say("Try: {tip}", tip=tip) for tip in plan.advice()]


def fit_table(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpus: Sequence[str],
    caption: str = "",
    *,
    context: int,
    concurrency: int,
    **options: Any,
) -> Table:
    """One line per GPU, one column per scheme, each cell a `verdict`. `options` go to `plan_memory`."""
    predictions = {scheme: predict_checkpoint(config, scheme) for scheme in schemes}
    rows = []
    for card in map(find_gpu, gpus):
        row: dict[str, Any] = {"gpu": card.name, "memory": card.memory_bytes}
        for scheme, prediction in predictions.items():
            plan = plan_memory(
                config,
                scheme,
                card,
                context=context,
                concurrency=concurrency,
                prediction=prediction,
                **options,
            )
            row[scheme] = verdict(plan)
        rows.append(row)
    return Table([*_card_columns(), *columns(schemes)], rows, caption)


def _card_columns() -> list[Column]:
    return [Column("gpu", "GPU", code=True), Column("memory", "GiB", ".0f", 2**-30)]


def kernel_table(schemes: Sequence[str], gpus: Sequence[str], caption: str = "") -> Table:
    """One line per GPU: what each scheme is computed in under vLLM 0.32, "no kernel" where it does not run."""
    rows = []
    for card in map(find_gpu, gpus):
        found = {scheme: on_gpu(scheme, card) for scheme in schemes}
        cells = {
            scheme: [support.compute, support.kernel] if support.runs else say("no kernel")
            for scheme, support in found.items()
        }
        rows.append({"gpu": card.name, "card": [card.architecture, card.compute_capability], **cells})
    heads = [Column("gpu", "GPU", code=True), Column("card", say("architecture"), join=" ")]
    return Table([*heads, *columns(schemes)], rows, caption)


def speed_table(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpu: str,
    caption: str = "",
    *,
    batch: int = 1,
    context: int = 1024,
) -> Table:
    """One line per scheme: decode and prefill at best on one GPU, what binds them, or why there is no number."""
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
                "rate": step.tokens_per_second,
                "step": step.seconds,
                "step_bound": step.bound,
                "prefill": prompt.seconds,
                "prefill_bound": prompt.bound,
                "remark": step.support.reason,
            }
        )
    heads = [
        Column("scheme", code=True),
        Column("rate", say("decode, tokens/s"), ",.0f"),
        Column("step", say("ms per step"), ",.2f", 1e3),
        Column("step_bound", say("decode bound by")),
        Column("prefill", say("prefill of {context:,}, ms", context=context), ",.1f", 1e3),
        Column("prefill_bound", say("prefill bound by")),
        Column("remark"),
    ]
    return Table(heads, rows, caption).without_empty()


def passes_table(passes: Iterable[Pass], caption: str = "") -> Table:
    """One line per pass on one GPU: time, rate, what binds it, and what it has to read."""
    rows = [
        {
            "pass": one.phase,
            "tokens": one.tokens,
            "seconds": one.seconds,
            "rate": one.tokens_per_second,
            "bound": one.bound,
            "weights": one.weight_bytes,
            "cache": one.bytes_moved - one.weight_bytes,
        }
        for one in passes
    ]
    heads = [
        Column("pass"),
        Column("tokens", say("tokens in the cache or prompt"), ","),
        Column("seconds", "ms", ",.3f", 1e3),
        Column("rate", say("tokens/s"), ",.0f"),
        Column("bound", say("bound by")),
        Column("weights", say("weights, GB"), ",.3f", 1e-9),
        Column("cache", say("cache, GB"), ",.3f", 1e-9),
    ]
    return Table(heads, rows, caption)


def rate_table(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpus: Sequence[str],
    caption: str = "",
    *,
    batch: int,
    context: int,
) -> Table:
    """One line per GPU, one column per scheme: decode tokens per second at best, or why there is no number."""
    works = {scheme: work_of(config, scheme) for scheme in schemes}
    rows = []
    for card in map(find_gpu, gpus):
        steps = {
            scheme: decode(config, scheme, card, batch=batch, context=context, work=work)
            for scheme, work in works.items()
        }
        missing = {True: say("does not fit"), False: say("no kernel")}
        cells = {
            s: step.tokens_per_second if step.runs else missing[step.support.runs]
            for s, step in steps.items()
        }
        bounds = list(dict.fromkeys(step.bound for step in steps.values() if step.runs))
        rows.append({"gpu": card.name, **cells, "bound": bounds})
    heads = [Column("gpu", "GPU", code=True), *columns(schemes, ",.0f"), Column("bound", say("bound by"))]
    return Table(heads, rows, caption)
