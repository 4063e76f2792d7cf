"""The one module that imports llm-compressor: kept quiet, seeded, and with its known CPU trouble handled.

Checked with 0.14.0.1. What is private there, or is only a text, is touched here and nowhere else; each has its line in
tests/compress/test_llmcompressor_contract.py, which fails first when an upgrade changes it:

    GPTQModifier._rtn_fallback_module_names       which modules GPTQ gave up on
    modifiers.gptq.gptq_quantize.quantize_weight  GPTQ on one weight, for the chapter
    pipelines/cache.py pins memory                which torch refuses without an accelerator
    modeling.moe.linearize.linearize_moe          experts as modules of their own
    "Quantizing …" in the log                     progress; without it the run is only silent
    "DefaultCPUAllocator" in torch's error        memory that ran out on the CPU has no type of its own
"""

import contextlib
import errno
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

from exaone_nb.compress.calibration import tokenize
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE

CHECKED = "0.14.0.1"
# The libraries that log through loguru while a quantized checkpoint is opened.
LOGURU_LIBRARIES = ("llmcompressor", "compressed_tensors")
# Where the classes that a recipe can name are.
MODULES = {
    "GPTQModifier": "gptq",
    "QuantizationModifier": "quantization",
    "AWQModifier": "transform.awq",
    "SmoothQuantModifier": "transform.smoothquant",
    "AutoRoundModifier": "autoround",
}
CPU_MEMORY = "DefaultCPUAllocator"
CUDA_MEMORY = 2  # cudaErrorMemoryAllocation
Progress = Callable[[str], None]


def silent(message: str) -> None:
    """A progress callback that says nothing."""


def compress(
    source: Path, recipe: Recipe, out: Path, *, progress: Progress = silent, trust_remote_code: bool = False
) -> dict[str, Any]:
    """Load `source`, run the recipe, save the compressed model into the existing folder `out`.

    Returns {samples, tokens, threads, round_to_nearest_fallback}; the number of threads decides the order of sums, and
    with it the last bits of what GPTQ writes; the last are the modules that GPTQ could only round to nearest. Raises
    WorkbookError with llm-compressor's own words when it refuses. The model keeps its stored dtype.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with reporting(progress) as tell, _short_of_memory(recipe):
        import torch
        from llmcompressor import active_session, oneshot
        from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

        set_seed(recipe.calibration.seed)
        with _explained(
            f"{source.name} has no usable tokenizer",
            "tokenizer.json and tokenizer_config.json beside the weights.",
            "Copy them into the folder; a model without its tokenizer can be neither calibrated nor served.",
        ):
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
        data, ids = None, tokenize(recipe.calibration, tokenizer) if recipe.needs_data else []
        facts = {"samples": len(ids), "tokens": sum(map(len, ids)), "threads": torch.get_num_threads()}
        if recipe.needs_data:
            from datasets import Dataset

            names = ", ".join(source.name for source in recipe.calibration.sources)
            tell(say(
                "calibrating with {f[samples]} samples of {names}, {f[tokens]:,} tokens", f=facts, names=names,
            ))  # fmt: skip
            data = Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]})
        else:
            tell(say("no calibration text needed"))
        tell(say("loading the model"))
        with _explained(
            f"The model {source.name} cannot be loaded",
            "whole weight files, and a config.json that belongs to them.",
            f"Look at it with `exaone-nb inspect {source}`; a file that broke off must be downloaded again.",
        ):
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype="auto", trust_remote_code=trust_remote_code
            )
        with (
            _explained(
                f"llm-compressor refused the recipe {recipe.name}",
                "a recipe that fits the model.",
                "Run `exaone-nb plan` on the same model and recipe; it explains most refusals.",
                (ValueError, RuntimeError, KeyError),
            ),
            _pin_memory_without_accelerator(torch),
        ):
            steps = build(recipe)
            fallback = _fallback_names(steps)
            oneshot(
                model=model,
                processor=tokenizer,
                recipe=steps,
                dataset=data,
                max_seq_length=recipe.calibration.length,
                num_calibration_samples=max(len(ids), 1),
                # Always the same order (longest first), so that one seed gives one result.
                shuffle_calibration_samples=False,
                trust_remote_code_model=trust_remote_code,
            )
            tell(say("saving"))
            model.save_pretrained(out, save_compressed=True)
            active_session().reset()  # or it holds this model until the next one is there
    return facts | {"round_to_nearest_fallback": fallback}


def build(recipe: Recipe) -> list[Any]:
    """The recipe's modifiers, made. Each has a module of its own, and only those that are asked for are loaded."""
    import torch

    steps = []
    for name, values in recipe.modifiers():
        kind = getattr(import_module(f"llmcompressor.modifiers.{MODULES[name]}"), name)
        if name == "AutoRoundModifier":
            # Compiling its loop takes a C++ compiler and minutes, which pay on a GPU.
            kind = partial(kind, enable_torch_compile=torch.accelerator.is_available())
        steps.append(kind(**values))
    return steps


def _fallback_names(steps: list[Any]) -> list[str]:
    """The list into which GPTQ writes the modules it could only round. llm-compressor forgets it when it is done."""
    with _private("GPTQModifier._rtn_fallback_module_names"):
        for step in steps:
            if type(step).__name__ == "GPTQModifier":
                return step._rtn_fallback_module_names
    return []


def library_codes(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    group_size: int,
    actorder: str | None = "static",
    block_size: int = 128,
) -> Tensor:
    """Codes int8 [out, in] of llm-compressor's GPTQ, with the scales of round-to-nearest; one group is a channel."""
    import torch

    with reporting(silent), _private("quantize_weight"):
        from compressed_tensors.quantization import QuantizationArgs
        from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    weight = weight.to(hessian.device)
    scale = (weight.unflatten(1, (-1, group_size)).abs().amax(-1) / ((2**bits - 1) / 2)).float()
    grouped = group_size != weight.shape[1]
    strategy = {"strategy": "group", "group_size": group_size} if grouped else {"strategy": "channel"}
    arguments = QuantizationArgs(num_bits=bits, type="int", symmetric=True, actorder=actorder, **strategy)
    zero = torch.zeros_like(scale, dtype=torch.int8)
    # It works on what it is given, so it is given copies; a leading dimension because it takes several layers at once.
    given = [tensor[None].clone() for tensor in (weight.float(), hessian, scale, zero)]
    made, *_ = quantize_weight(*given, None, arguments, block_size)
    return (made[0] / scale.repeat_interleave(group_size, 1)).round().to(torch.int8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by the type of the error; torch's allocator for the CPU has only words."""
    import torch

    if isinstance(error, torch.AcceleratorError):
        return error.error_code == CUDA_MEMORY
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_MEMORY in str(error)


@contextlib.contextmanager
def _short_of_memory(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise WorkbookError(
            f"The memory ran out while running {recipe.name}.",
            remedy="Use fewer or shorter calibration samples, or a round-to-nearest recipe.",
        ) from error


@contextlib.contextmanager
def _explained(
    got: str, expected: str, remedy: str, kinds: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Say what went wrong inside a library, with its own words. Memory that ran out is explained further out."""
    try:
        yield
    except kinds as error:
        if is_out_of_memory(error):
            raise
        raise WorkbookError(
            say("{got} ({kind}: {error}).", got=got, kind=type(error).__name__, error=error),
            expected=expected,
            remedy=remedy,
        ) from error


def _private(name: str) -> AbstractContextManager[None]:
    return _explained(
        f"llm-compressor {version('llmcompressor')} has no {name}",
        f"{CHECKED}, with which this was checked.",
        COMPLETE,
        (ImportError, AttributeError),
    )


@contextlib.contextmanager
def reporting(progress: Progress) -> Iterator[Progress]:
    """Keep llm-compressor quiet, and yield a callback that still reaches the terminal.

    GPTQ's modules are reported as they are done. Its first import puts a handler of its own on the standard output; here
    that output is a buffer, so that it stays off the terminal for good. Handlers of others are left alone.
    """
    import sys

    streams = sys.stdout, sys.stderr

    def tell(message: str) -> None:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            progress(message)

    def sink(message: Any) -> None:
        if (text := str(message).strip()).startswith("Quantizing "):
            tell(text)

    with quiet():
        from llmcompressor import logger

        logger.enable("llmcompressor")
        handler = logger.add(sink, level="INFO", format="{message}", filter="llmcompressor")
        try:
            yield tell
        finally:
            logger.remove(handler)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep logs, warnings and progress bars of transformers and compressed-tensors off the terminal."""
    from loguru import logger
    from transformers.utils import logging as transformers_logging

    tracer = logging.getLogger("torch.fx._symbolic_trace")
    level, bars = tracer.level, transformers_logging.is_progress_bar_enabled()
    spoken = transformers_logging.get_verbosity()
    tracer.setLevel(logging.ERROR)
    transformers_logging.set_verbosity(logging.CRITICAL)  # what matters is in the error
    for name in LOGURU_LIBRARIES:
        logger.disable(name)
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            tracer.setLevel(level)
            transformers_logging.set_verbosity(spoken)
            for name in LOGURU_LIBRARIES:
                logger.enable(name)
            if bars:
                transformers_logging.enable_progress_bar()


def separate_experts(model: Any) -> None:
    """Turn a mixture's experts into Linear modules, which can be looked at and quantized one by one.

    transformers joins them to one tensor per layer when it loads them; llm-compressor does this itself before it starts.
    """
    if any(name.endswith(".experts") for name, _ in model.named_modules()):
        from compressed_tensors.offload import remove_dispatch
        from llmcompressor.modeling.moe.linearize import linearize_moe

        # Prepared for offloading, a weight that is set would be copied into the old one.
        remove_dispatch(linearize_moe(model), onload_tensors=True)


def _pin_memory_without_accelerator(torch: Any) -> AbstractContextManager[Any]:
    """Let AWQ run on a machine without an accelerator.

    llm-compressor 0.14.0.1 pins cached activations (`pipelines/cache.py:_pin_intermediate`), which torch refuses
    when there is nothing to pin memory for. Pinning only speeds up copies to a GPU, so without one a tensor may
    stand for its pinned copy. To be removed when llm-compressor asks first.
    """
    if torch.accelerator.is_available():
        return contextlib.nullcontext()
    return mock.patch.object(torch.Tensor, "pin_memory", lambda tensor, *_, **__: tensor)
