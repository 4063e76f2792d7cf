"""The one call into llm-compressor, kept quiet, seeded, and with its known CPU trouble handled."""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from exaone_nb.compress import calibration as calibration_text
from exaone_nb.compress import modifiers
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError

Say = Callable[[str], None]


def silent(message: str) -> None:
    """A progress callback that says nothing."""


def compress(
    source: Path, recipe: Recipe, out: Path, *, say: Say = silent, trust_remote_code: bool = False
) -> dict[str, Any]:
    """Load `source`, run the recipe, save the compressed model into the existing folder `out`.

    Returns {samples, tokens, threads, round_to_nearest_fallback}; the number of threads decides the order of sums, and
    with it the last bits of what GPTQ writes. Raises WorkbookError with llm-compressor's own words when
    it refuses. The model keeps its stored dtype.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with quiet(say) as (log, say):
        import torch
        from llmcompressor import oneshot
        from transformers import AutoModelForCausalLM, AutoTokenizer

        seed_everything(recipe.calibration.seed)
        tokenizer = _tokenizer(AutoTokenizer, source, trust_remote_code)
        with _memory_said_plainly(recipe):
            data, facts = None, {"samples": 0, "tokens": 0}
            if modifiers.needs_data(recipe):
                data, facts = _data_set(recipe, tokenizer)
                say(f"calibrating with {facts['samples']} samples, {facts['tokens']:,} tokens")
            else:
                say("no calibration text needed")
            say("loading the model")
            model = _model(AutoModelForCausalLM, source, trust_remote_code)
            try:
                with _pin_memory_without_accelerator(torch):
                    oneshot(
                        model=model,
                        processor=tokenizer,
                        recipe=modifiers.build(recipe),
                        dataset=data,
                        max_seq_length=recipe.calibration.length,
                        num_calibration_samples=max(facts["samples"], 1),
                        # Always the same order (longest first), so that one seed gives one result.
                        shuffle_calibration_samples=False,
                        trust_remote_code_model=trust_remote_code,
                    )
                say("saving")
                model.save_pretrained(out, save_compressed=True)
            except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
                if _out_of_memory(error):
                    raise
                raise WorkbookError(
                    f"llm-compressor refused the recipe {recipe.name}: {type(error).__name__}: {error}",
                    remedy="Run `exaone-nb plan` on the same model and recipe; it explains most refusals.",
                ) from error
        fallback = [line for line in log if "Hessian inversion failed" in line]
    return facts | {"threads": torch.get_num_threads(), "round_to_nearest_fallback": fallback}


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out. torch says it with a RuntimeError, for a GPU and for a CPU in different words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(w in str(error).lower() for w in words)


@contextlib.contextmanager
def _memory_said_plainly(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        raise WorkbookError(
            f"The memory ran out while running {recipe.name}.",
            remedy="Use fewer or shorter calibration samples, or a round-to-nearest recipe.",
        ) from error


def _model(auto: Any, source: Path, trust_remote_code: bool) -> Any:
    try:
        return auto.from_pretrained(source, dtype="auto", trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers, safetensors and a model's own code each raise their own kinds
        if _out_of_memory(error):
            raise
        raise WorkbookError(
            f"The model {source.name} cannot be loaded ({type(error).__name__}: {error}).",
            expected="whole weight files, and a config.json that belongs to them.",
            remedy=f"Look at it with `exaone-nb inspect {source}`; a file that broke off must be downloaded again.",
        ) from error


def _tokenizer(auto: Any, source: Path, trust_remote_code: bool) -> Any:
    try:
        return auto.from_pretrained(source, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise WorkbookError(
            f"{source.name} has no usable tokenizer ({type(error).__name__}).",
            expected="tokenizer.json and tokenizer_config.json beside the weights.",
            remedy="Copy them into the folder; a model without its tokenizer can be neither calibrated nor served.",
        ) from error


def _data_set(recipe: Recipe, tokenizer: Any) -> tuple[Any, dict[str, int]]:
    from datasets import Dataset

    ids = calibration_text.tokenize(recipe.calibration, tokenizer)
    data = Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]})
    return data, {"samples": len(ids), "tokens": sum(map(len, ids))}


@contextlib.contextmanager
def quiet(say: Say = silent) -> Iterator[tuple[list[str], Say]]:
    """Keep llm-compressor's log and progress bars off the terminal.

    Yields the log lines as a growing list, and a `say` that still reaches the terminal. GPTQ's modules are said as
    they are done.
    """
    import logging
    import sys
    import warnings

    from loguru import logger

    lines: list[str] = []
    streams = sys.stdout, sys.stderr

    def tell(message: str) -> None:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            say(message)

    def sink(message: Any) -> None:
        text = str(message).strip()
        lines.append(text)
        if text.startswith("Quantizing "):
            tell(text)

    tracer = logging.getLogger("torch.fx._symbolic_trace")
    level = tracer.level
    tracer.setLevel(logging.ERROR)
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        import llmcompressor  # noqa: F401 - its import installs its own handlers, which go next
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        logger.remove()
        handler = logger.add(sink, level="INFO", format="{message}")
        try:
            yield lines, tell
        finally:
            with contextlib.suppress(ValueError):
                logger.remove(handler)
            tracer.setLevel(level)
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def _pin_memory_without_accelerator(torch: Any) -> Iterator[None]:
    """Let AWQ run on a machine without an accelerator.

    llm-compressor 0.14.0.1 pins cached activations (`pipelines/cache.py:_pin_intermediate`), which torch refuses
    when there is nothing to pin memory for. Pinning only speeds up copies to a GPU, so without one a tensor may
    stand for its pinned copy. To be removed when llm-compressor asks first.
    """
    if torch.accelerator.is_available():
        yield
        return
    original = torch.Tensor.pin_memory
    torch.Tensor.pin_memory = lambda self, *args, **kwargs: self
    try:
        yield
    finally:
        torch.Tensor.pin_memory = original
