"""A record of one card: speed, memory at the start and GPTQ's time, for the shapes of models, against what was predicted.

    exaone-nb record --out l4.json          # on a machine with that card; about an hour, no weights are needed

The weights are random numbers: speed depends on shapes and kernels, not on values. Every model and scheme is measured in
rounds, each with a freshly started engine, and every second round goes backwards: a machine changes its speed, and repeats
within one engine do not show it.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.layouts import linear_tensors
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.roofline import decode, prefill
from exaone_nb.catalog import resolve
from exaone_nb.compress.llmcompressor_adapter import library_codes
from exaone_nb.engines.dummy import shape_config
from exaone_nb.engines.environment import has_gpu, machine, machine_sentence
from exaone_nb.engines.options import GIB, MEMORY_SHARE
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import whole
from exaone_nb.gpus import GPUS, Gpu
from exaone_nb.hardware import this_gpu, this_machine
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import find_scheme
from exaone_nb.serve.bench import Bench, BenchOptions, bench, in_turns, versions
from exaone_nb.serve.speed import Decode, measure_decode

KIND = "card"
CALIBRATION_TOKENS = 2048  # rows of the inputs that GPTQ's Hessian is made of
SHARE = 0.9  # of the memory that weights may take before a model is left out


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """What is measured. `layers` 0 takes all; a smaller number is for trying, and the record says it."""

    models: Sequence[str] = ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B")
    schemes: Sequence[str] = ("BF16", "W8A8", "FP8_DYNAMIC", "W4A16")
    batches: Sequence[int] = (1, 8, 32)
    contexts: Sequence[int] = (128, 1024)
    output_tokens: int = 32
    repeats: int = 3
    rounds: int = 3
    layers: int = 0

    def __post_init__(self) -> None:
        whole("rounds", self.rounds)
        for name in ("models", "schemes", "batches", "contexts"):
            for value in getattr(self, name) or [0]:
                whole(name, value) if name in ("batches", "contexts") else (
                    resolve if name == "models" else find_scheme
                )(value)


@dataclass
class _Measured:
    """One model in one scheme: a list per round of each (batch, context), and what the first start said of memory."""

    last: Bench | None = None
    rounds: dict[tuple[int, int], list[Decode]] | None = None
    memory: dict[str, Any] | None = None


def measure_card(
    options: RecordOptions, report: Callable[[str], None] = lambda words: None
) -> dict[str, Any]:
    """The record as JSON. `report` gets a line per start, and one for whatever is left out.

    Raises WorkbookError when nothing at all could be measured.
    """
    found: dict[tuple[str, str], _Measured] = {}
    left_out = []
    for model in options.models:
        for scheme in options.schemes:
            if why := _impossible(model, scheme, options.layers):
                left_out.append({"model": model, "scheme": scheme, "why": why})
                report(say("{model}, {scheme}: left out. {why}", model=model, scheme=scheme, why=why))
            else:
                found[model, scheme] = _Measured(rounds={})
    for number, (model, scheme) in in_turns(found, options.rounds):
        fields = {"model": model, "scheme": scheme, "round": number + 1, "rounds": options.rounds}
        report(say("{model}, {scheme}: round {round} of {rounds}", **fields))
        try:
            _round(model, scheme, options, found[model, scheme])
        except WorkbookError as error:
            left_out.append({"model": model, "scheme": scheme, "why": error.got})
            report(say("{model}, {scheme}: left out. {why}", model=model, scheme=scheme, why=error.got))
            del found[model, scheme]
    if not found:
        raise WorkbookError(
            say("Nothing could be measured here."), remedy=left_out[0]["why"] if left_out else ""
        )
    gpu = this_gpu()
    return {
        "kind": KIND,
        "what": say("speed, memory at the start and GPTQ of models' shapes, random weights"),
        "date": time.strftime("%Y-%m-%d"),
        "card": gpu.name if gpu else "CPU",
        "machine": machine(),
        "machine_in_words": machine_sentence(),
        "how": say(
            "vLLM in process, {o.rounds} rounds with a fresh start each, every second one backwards, {o.repeats} repeats "
            "after a warm-up, {o.output_tokens} tokens written; random weights.",
            o=options,
        ),
        "options": asdict(options),
        "versions": versions(),
        "speed": [row for key, one in found.items() for row in _speed_rows(key, one, options)],
        "memory": [{"model": m, "scheme": s} | one.memory for (m, s), one in found.items()],
        "gptq": [row for model in dict.fromkeys(m for m, _ in found) for row in _gptq(model, report)],
        "left_out": left_out,
    }  # fmt: skip


def card_of(name: str) -> Gpu | None:
    """The entry of data/gpus.csv for the name that a driver gives, "NVIDIA L4"; None for a card that has none."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z0-9]+", text.lower()))

    # A driver does not say "SXM" of an H100.
    fits = [gpu for gpu in GPUS.values() if words(gpu.name) - {"sxm"} <= words(name)]
    return max(fits, key=lambda gpu: len(words(gpu.name) & words(name)), default=None)


def _impossible(model: str, scheme: str, layers: int) -> str:
    """Why a scheme cannot be tried here: its weights do not fit the memory, or the shape. "" when it can."""
    try:
        size = predict_checkpoint(shape_config(resolve(model).config(), layers=layers), scheme).data_bytes
    except WorkbookError as error:
        return error.got
    memory = this_machine().memory_bytes
    if size > SHARE * memory:
        return say(
            "{size:.1f} GB of weights, {memory:.1f} GB of memory.", size=size / 1e9, memory=memory / 1e9
        )
    return ""


def _round(model: str, scheme: str, options: RecordOptions, into: _Measured) -> None:
    first, *others = options.contexts
    made: dict[tuple[int, int], Decode] = {}
    longest = max(options.contexts)
    settings = BenchOptions(
        weights="dummy",
        scheme=scheme,
        layers=options.layers,
        batches=tuple(options.batches),
        prompt_tokens=first,
        output_tokens=options.output_tokens,
        repeats=options.repeats,
        max_questions=0,
        max_model_len=longest + options.output_tokens,
        # All prompts of a batch in one step, or the reading of the last ones would count as writing.
        engine={"max_num_batched_tokens": max(2048, max(options.batches) * longest)},
    )

    def look(engine: VllmEngine) -> None:
        if into.memory is None:
            into.memory = _memory(engine, model, scheme, settings)
        for context in others:
            for batch in options.batches:
                made[batch, context] = measure_decode(
                    engine,
                    batch=batch,
                    prompt_tokens=context,
                    output_tokens=options.output_tokens,
                    repeats=options.repeats,
                )

    into.last = bench(model, settings, first=look)
    made |= {(d.batch, first): d for d in into.last.decodes}
    for key, one in made.items():
        into.rounds.setdefault(key, []).append(one)


def _memory(engine: VllmEngine, model: str, scheme: str, settings: BenchOptions) -> dict[str, Any]:
    """What the engine says of its memory after the start, and what `memory` predicts for it."""
    config = shape_config(resolve(model).config(), layers=settings.layers)
    tokens = settings.engine["max_num_batched_tokens"]
    asked = {"context": settings.max_model_len, "batched_tokens": tokens}
    measured = {"kv_tokens": engine.cache_report()["capacity_tokens"], "weight_bytes": None}
    predicted: dict[str, Any] = {"kv_tokens": None, "weight_bytes": None}
    gpu = this_gpu()
    card = card_of(gpu.name) if gpu else None
    if card is not None:
        import torch

        plan = plan_memory(
            config, scheme, replace(card, memory_bytes=gpu.memory_bytes), utilization=MEMORY_SHARE, **asked
        )
        cache = engine.cache_report()["num_blocks"] * plan.kv.bytes_per_block
        measured["weight_bytes"] = torch.cuda.memory_allocated() - cache
        predicted = {"kv_tokens": plan.kv.capacity_tokens(plan.left_for_cache), "weight_bytes": plan.weights}
    elif gpu is None:  # on a CPU the cache has the size that was asked for
        pages = {"block_size": engine.cache_report()["block_size"], "max_num_batched_tokens": tokens}
        cache = kv_cache(config, max_model_len=settings.max_model_len, **pages)
        predicted["kv_tokens"] = cache.capacity_tokens(int(settings.kv_cache_gib * GIB))
    return {"measured": measured, "predicted": predicted}


def _speed_rows(key: tuple[str, str], one: _Measured, options: RecordOptions) -> list[dict[str, Any]]:
    """A row per phase, batch and context: measured seconds with their interval, and the best that is possible."""
    (model, scheme), last = key, one.last
    config = shape_config(resolve(model).config(), layers=options.layers)
    here = Gpu("this machine", "", 0.0, 0, last.roof.bandwidth, dict(last.roof.operations), "measured here")
    gpu = this_gpu()
    sheet = card_of(gpu.name) if gpu else None
    rows = []
    for (batch, context), rounds in sorted(one.rounds.items()):
        pooled = Decode.pooled(rounds) if len(rounds) > 1 else rounds[0]
        for phase, seconds in (("prefill", pooled.first_token), ("decode", pooled.per_token)):
            best = {
                name: _best(
                    phase,
                    config,
                    scheme,
                    card,
                    batch,
                    context if phase == "prefill" else pooled.context,
                    last,
                )
                for name, card in (("roofline", here), ("data_sheet", sheet))
            }
            rows.append(
                {
                    "model": model, "scheme": scheme, "runs_as": last.runs_as, "layers": last.layers, "dtype": last.dtype,
                    "kernel": last.kernel, "phase": phase, "batch": batch, "context": context,
                    "seconds": seconds.document(),
                    "roofline_seconds": best["roofline"],
                    "share_of_roofline": best["roofline"] and best["roofline"] / seconds.value,
                    "data_sheet_seconds": best["data_sheet"],
                }
            )  # fmt: skip
    return rows


def _best(
    phase: str, config: dict[str, Any], scheme: str, card: Gpu | None, batch: int, tokens: int, last: Bench
) -> float | None:
    if card is None:
        return None
    support = last.roof.support(scheme)
    if phase == "prefill":
        return prefill(config, scheme, card, batch=batch, tokens=tokens, support=support).seconds
    return decode(config, scheme, card, batch=batch, context=tokens, support=support).seconds


def _gptq(model: str, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Seconds of llm-compressor's GPTQ for each matrix of one layer, its Hessian of random inputs included."""
    import torch

    device = "cuda" if has_gpu() else "cpu"
    report(say("{model}: GPTQ of one layer", model=model))
    specs = [s for s in linear_tensors(resolve(model).config()) if s.kind == "linear" and s.layer == 0]
    torch.manual_seed(0)
    rows = []
    for spec in specs:
        rows_out, columns = spec.shape
        if columns % 128 or (device == "cpu" and columns > 8192):
            continue
        weight = torch.randn(rows_out, columns, device=device)
        inputs = torch.randn(CALIBRATION_TOKENS, columns, device=device)
        seconds = []
        for _ in range(2):  # the first warms up
            started = time.perf_counter()
            library_codes(weight, 2 * inputs.T @ inputs / len(inputs), 4, 128)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        rows.append(
            {"model": model, "module": spec.module, "shape": list(spec.shape), "seconds": seconds[-1]}
        )
    return rows
