"""A checkpoint opened in transformers: on the GPU where there is one, and without a word on the terminal."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.library_types import device

# The libraries that log through loguru while a quantized checkpoint is opened.
LOGURU_LIBRARIES = ("llmcompressor", "compressed_tensors")


def best_device() -> device:
    """Where models are judged: the first NVIDIA GPU that torch can use, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_model(
    folder: str | Path, *, dtype: str = "auto", trust_remote_code: bool = False, **more: Any
) -> Any:
    """The checkpoint for evaluation on `best_device`. `more` goes to transformers' `from_pretrained`."""
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM

        where = best_device()
        if where.type != "cpu":
            more = {"device_map": {"": where}} | more
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=trust_remote_code, **more
        )
        model.eval()
        with torch.inference_mode():
            # Packed weights are unpacked, with progress bars, on the first pass.
            model(torch.tensor([[0]], device=model.device))
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep logs, warnings and progress bars of transformers and compressed-tensors off the terminal."""
    from loguru import logger
    from transformers.utils import logging as transformers_logging

    tracer = logging.getLogger("torch.fx._symbolic_trace")
    level, bars = tracer.level, transformers_logging.is_progress_bar_enabled()
    tracer.setLevel(logging.ERROR)
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
            for name in LOGURU_LIBRARIES:
                logger.enable(name)
            if bars:
                transformers_logging.enable_progress_bar()
