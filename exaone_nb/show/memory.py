"""The tables of parameters, bytes and caches, of what fits where, and of how fast it can be where."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from exaone_nb.anatomy.kv import ENGINES, kv_cache
from exaone_nb.anatomy.layouts import count_parameters
from exaone_nb.anatomy.memory import MemoryPlan, plan_memory
from exaone_nb.anatomy.on_card import padding_words
from exaone_nb.anatomy.predict import fitted_schemes, predict_checkpoint
from exaone_nb.anatomy.preflight import words
from exaone_nb.anatomy.roofline import Pass, decode
from exaone_nb.anatomy.work import work_of
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.messages import joined, say
from exaone_nb.quantization.kernels import on_gpu
from exaone_nb.show.table import Column, Table, columns

# What one meets most; every other preset is one line away with `exaone-nb memory`.
OFFERED = ("BF16", "W8A8", "FP8_DYNAMIC", "W4A16", "W8A16", "NVFP4A16", "MXFP4A16")
GIB = Column("gib", "GiB", ",.2f", 2**-30, of="bytes")


def parameter_table(configs: Mapping[str, dict[str, Any]]) -> Table:
    """One line per model: parameters, those without embedding and head, those active per token, the tables' share."""
    rows = []
    for model, config in configs.items():
        count = count_parameters(config)
        sums = {"parameters": count.total, "inside": count.non_embedding, "active": count.active}
        rows.append({"model": model, **sums, "tables": 1 - count.non_embedding / count.total})
    heads = [
        Column("model", code=True),
        Column("parameters", form=","),
        Column("inside", say("without embedding and head"), ","),
        Column("active", say("active per token"), ","),
        Column("tables", say("embedding and head"), ".1%"),
    ]
    return Table(heads, rows)


def files_table(rows: Sequence[dict[str, Any]], *, measured: bool = True) -> Table:
    """Predicted sizes against real files, in bytes; `measured` is False for recorded ones, which show their source."""
    heads = [
        Column("file"),
        Column("scheme", code=True),
        Column("predicted", form=","),
        Column("real", say("real size"), ","),
        Column("off", say("off by"), "+,d"),
        Column("origin", say("real size from")),
    ]
    return Table([h for h in heads if measured or h.name != "predicted"], rows)


def cache_table(config: dict[str, Any]) -> Table:
    """One request of the longest context in every engine; vLLM once per number of tokens in flight."""
    caches = [
        (say("vLLM, {tokens:,} tokens in flight", tokens=n), kv_cache(config, max_num_batched_tokens=n))
        for n in (2048, 8192, 16384)
    ]
    caches.append((say("vLLM, hybrid cache manager off"), kv_cache(config, hybrid_manager=False)))
    caches += [(engine, kv_cache(config, engine)) for engine in ENGINES if engine != "vllm"]
    heads = [
        Column("engine"),
        Column("bytes", form=","),
        GIB,
        Column("how"),
    ]
    rows = [{"engine": name, "bytes": cache.bytes_per_request, "how": cache.how} for name, cache in caches]
    return Table(heads, rows)


def memory_table(plan: MemoryPlan, caption: str = "") -> Table:
    """What one GPU's memory goes into, line by line, and how each figure is known."""
    needed = say("{requests} x {context:,} tokens", requests=plan.concurrency, context=plan.context)
    lines = [
        (say("memory of the card"), plan.gpu.memory_bytes, say("as the driver reports it")),
        (say("budget"), plan.budget, say("the share the engine may use")),
        (say("weights in the file"), plan.in_file, say("exact")),
        (say("weights on the card"), plan.weights, padding_words(plan.in_file, plan.weights)),
        *((part.name, part.bytes, say("estimate: {basis}", basis=part.basis)) for part in plan.overheads),
        (say("left for the cache"), plan.left_for_cache, ""),
        (needed, plan.cache_needed, plan.kv.how),
    ]
    heads = [
        Column("part"),
        Column("bytes", "GB", ",.2f", 1e-9),
        GIB,
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
    """The plan in sentences: does it fit, what would, how long may a context be, what does sharing heads save."""
    told = {
        "no": say("This does not run here: {s.reason}.", s=plan.support),
        "unknown": say("Whether this scheme runs here is not known: {s.reason}.", s=plan.support),
    }
    return [
        *([told[plan.support.answer]] if plan.support.answer in told else []),
        *([say("Fits.")] if plan.fits else []),
        *([] if plan.fits or plan.support.answer == "no" else [say("Does not fit.")]),
        *([] if plan.fits else [words(plan)]),
        _room(plan),
        say(
            "Sharing key/value heads makes the cache {times:g} times smaller.",
            times=plan.kv.if_multi_head / plan.kv.every_token_every_layer,
        ),
    ]


def _room(plan: MemoryPlan) -> str:
    """How long a context may be, and how many of the length that was asked for fit."""
    if not plan.longest_for_one:
        return say("No request fits, however short.")
    if plan.concurrency == 1:
        longest = say("Longest context: {plan.longest:,} tokens.", plan=plan)
    elif plan.longest:
        longest = say(
            "Longest context: {plan.longest:,} tokens for {plan.concurrency} at once, {plan.longest_for_one:,} for one.",
            plan=plan,
        )
    else:
        longest = say(
            "Longest context: {plan.longest_for_one:,} tokens for one; {plan.concurrency} at once do not fit, however "
            "short.",
            plan=plan,
        )
    if not plan.largest_concurrency:
        return longest
    return joined(
        [longest, say("At {plan.context:,} tokens: {plan.largest_concurrency} at once.", plan=plan)], " "
    )


def card_table(
    schemes: Iterable[str],
    gpus: Iterable[str],
    cell: Callable[[str, Gpu], Any],
    form: str = "",
) -> Table:
    """One line per GPU, one column per scheme; `cell(scheme, card)` gives what stands there."""
    chosen = list(schemes)
    rows = [
        vars(card) | {"is": [card.architecture, card.compute_capability]} | {s: cell(s, card) for s in chosen}
        for card in map(find_gpu, gpus)
    ]
    heads = [
        Column("name", say("GPU"), code=True),
        Column("is", say("architecture"), join=" "),
        Column("memory_bytes", "GiB", ".1f", 2**-30),
    ]
    return Table([*heads, *columns(chosen, form)], rows)


def fit_table(config: dict[str, Any], schemes: Sequence[str], gpus: Sequence[str], **options: Any) -> Table:
    """A `verdict` per GPU and scheme. `options` (context, concurrency, …) go to `plan_memory`."""
    chosen = fitted_schemes(config, schemes)
    predictions = {label: predict_checkpoint(config, scheme) for label, scheme in chosen.items()}

    def cell(label: str, card: Gpu) -> str:
        return verdict(plan_memory(config, chosen[label], card, prediction=predictions[label], **options))

    return card_table(chosen, gpus, cell)


def kernel_table(schemes: Sequence[str], gpus: Sequence[str]) -> Table:
    """What each scheme is computed in under vLLM 0.32 and by which kernel; "no kernel" where it does not run."""
    rows = []
    for name in gpus:
        found = {scheme: on_gpu(scheme, find_gpu(name)) for scheme in schemes}
        row = {scheme: [s.compute, s.kernel] if s.runs else say("no kernel") for scheme, s in found.items()}
        row["remark"] = [
            say("{label}: {why}", label=scheme, why=s.reason)
            for scheme, s in found.items()
            if s.runs and s.reason
        ]
        rows.append({"name": name} | row)
    remark = Column("remark", say("remark"), join="; ")
    return Table([Column("name", say("GPU"), code=True), *columns(schemes), remark], rows).without_empty()


def rate_table(config: dict[str, Any], schemes: Sequence[str], gpus: Sequence[str], **options: Any) -> Table:
    """Decode tokens per second at best per GPU and scheme, or why there is no number; `options` go to `decode`."""
    chosen = fitted_schemes(config, schemes)
    works = {label: work_of(config, scheme) for label, scheme in chosen.items()}
    bounds: dict[str, dict[str, None]] = {}

    def cell(label: str, card: Gpu) -> Any:
        step = decode(config, chosen[label], card, work=works[label], **options)
        bounds.setdefault(card.name, {})[step.bound] = None
        if step.runs:
            return step.tokens_per_second
        return say("does not fit") if step.support.runs else say("no kernel")

    table = card_table(chosen, gpus, cell, ",.0f")
    rows = [row | {"bound": [bound for bound in bounds[row["name"]] if bound]} for row in table.rows]
    return Table([*table.columns, Column("bound", say("bound by"), ours=True)], rows)


def speed_table(passes: Mapping[str, tuple[Pass, Pass]], caption: str = "") -> Table:
    """One line per scheme with its (decode, prefill) on one GPU: time, rate, what binds, or why there is no number."""
    rows = []
    for scheme, (step, prompt) in passes.items():
        row = {"scheme": scheme, "remark": step.support.reason if step.runs else step.reason}
        if step.runs:
            row |= {
                "rate": step.tokens_per_second,
                "step": step.seconds,
                "step_bound": step.bound,
                "weights": step.weight_bytes,
                "cache": step.bytes_moved - step.weight_bytes,
                "prefill": prompt.seconds,
                "prefill_bound": prompt.bound,
            }
        rows.append(row)
    heads = [
        Column("scheme", code=True),
        Column("rate", say("decode, tokens/s"), ",.0f"),
        Column("step", say("ms per step"), ",.2f", 1e3),
        Column("step_bound", say("decode bound by"), ours=True),
        Column("weights", say("weights read, GB"), ",.3f", 1e-9),
        Column("cache", say("cache read, GB"), ",.3f", 1e-9),
        Column("prefill", say("prefill, ms"), ",.1f", 1e3),
        Column("prefill_bound", say("prefill bound by"), ours=True),
        Column("remark"),
    ]
    return Table(heads, rows, caption).without_empty()
