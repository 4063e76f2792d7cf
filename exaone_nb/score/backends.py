"""Models that lm-eval can ask, opened and closed in one process: in vLLM, in transformers, or behind an endpoint."""

import gc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exaone_nb import catalog
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.environment import capability, has_gpu
from exaone_nb.engines.options import choose_dtype, vllm_arguments
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.hardware import this_machine
from exaone_nb.messages import say
from exaone_nb.quantization import kernels
from exaone_nb.quantization.config import presets_of, read_quantization
from exaone_nb.score import lm_eval_adapter
from exaone_nb.score.settings import Settings


@contextmanager
def opened(model: str | Path, settings: Settings) -> Iterator[Any]:
    """Yield an lm-eval LM for `model` (a folder, or the name a server knows it by) and free it afterwards.

    Raises WorkbookError when the engine does not start or the server does not answer, then or inside the block.
    """
    opening, unanswered = {"vllm": _open_vllm, "hf": _open_hf}.get(settings.backend, _open_server), ()
    if opening is _open_server:
        import aiohttp
        import requests

        unanswered = (aiohttp.ClientError, requests.RequestException, TimeoutError)
    gc.collect()  # an earlier model may hang in a cycle of references
    try:
        lm = opening(str(model), settings)
    except WorkbookError:
        raise
    except Exception as error:  # engines raise many kinds; the reader needs which model and what to try
        fields = {"name": Path(model).name, "backend": settings.backend, "error": _said(error)}
        raise WorkbookError(
            say("{name} does not start with backend {backend!r}: {error}", **fields),
            remedy=say("Check the folder with `exaone-nb inspect`; try --backend hf; see the log above."),
        ) from error
    try:
        yield lm
    except unanswered as error:
        raise WorkbookError(
            say("The server at {a.base_url} failed three times: {error}", a=settings, error=_said(error)),
            remedy=say("Check that it runs, the model's name, and the key in {a.key_variable}.", a=settings),
        ) from error
    finally:
        if settings.backend == "vllm":
            engine, lm.model = lm.model, None
            if hasattr(engine, "llm_engine"):  # several copies live in Ray's workers, and end there
                vllm_adapter.end(engine)
                vllm_adapter.release()


def _open_vllm(model: str, settings: Settings) -> Any:
    if settings.data_parallel_size > 1:
        _require_gpus(settings)
    made = lm_eval_adapter.vllm_class()
    arguments, _ = vllm_arguments(_config(model), capability(), dtype=settings.dtype)
    same = ("max_model_len", "seed", "tensor_parallel_size", "data_parallel_size")
    arguments |= {name: getattr(settings, name) for name in same}
    # vLLM batches by itself; one chunk holds everything, and a number keeps its progress bars off.
    arguments |= {"batch_size": 1_000_000, "disable_log_stats": True, "use_tqdm_on_load": False}
    return made(pretrained=model, **_asked(settings), **(arguments | settings.engine))


def _open_hf(model: str, settings: Settings) -> Any:
    made = lm_eval_adapter.hf_class()
    arguments = {
        "max_length": settings.max_model_len,
        "dtype": choose_dtype(_config(model), capability(), settings.dtype)[0],
        "batch_size": settings.batch_size,
        **({} if has_gpu() else {"device": "cpu"}),
    }
    return made(pretrained=model, **_asked(settings), **(arguments | settings.engine))


def _config(model: str) -> dict[str, Any]:
    return catalog.read_config(Path(model) / "config.json")


def runs_as(model: str | Path, settings: Settings) -> str:
    """The scheme that vLLM makes of a quantized model on this machine, where it is another than the file's; else ""."""
    if settings.backend != "vllm":
        return ""
    quantization = read_quantization(_config(str(model)))
    stored = ", ".join(dict.fromkeys(name for name, _ in presets_of(quantization) if name))
    found = kernels.runs_as(stored, this_machine())
    return found if found != stored else ""


def _open_server(model: str, settings: Settings) -> Any:
    address = settings.base_url.rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(
            say("The server address {address!r} is not an http(s) address.", address=settings.base_url),
            remedy=say("Name an OpenAI-compatible server: --base-url http://127.0.0.1:8000/v1"),
        )
    chat, options = settings.backend == "server-chat", _limit(settings)
    if not chat:
        # Prompts are sent as token ids, so that the server adds and removes nothing.
        options |= {"tokenizer": settings.tokenizer}
    elif settings.think_end_token:
        options |= {"think_end_token": settings.think_end_token}
    made = lm_eval_adapter.server_class(chat, os.environ.get(settings.key_variable, ""), settings.thinking)
    return made(
        model=model,
        base_url=address + ("/chat/completions" if chat else "/completions"),
        num_concurrent=settings.concurrency,
        max_length=settings.max_model_len,
        max_retries=3,
        seed=settings.seed,
        tokenized_requests=not chat,
        tokenizer_backend=None if chat else "huggingface",
        **options,
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"


def _limit(settings: Settings) -> dict[str, Any]:
    return {"max_gen_toks": settings.max_gen_toks} if settings.max_gen_toks else {}


def _asked(settings: Settings) -> dict[str, Any]:
    thinking = {"enable_thinking": settings.thinking, "think_end_token": settings.think_end_token}
    return thinking | _limit(settings)


def _require_gpus(settings: Settings) -> None:
    """Several copies are lm-eval's Ray tasks, which wait for ever for GPUs that are not there."""
    import torch

    if importlib.util.find_spec("ray") is None:
        raise WorkbookError(
            say("lm-eval holds {n} copies of a model in Ray's workers.", n=settings.data_parallel_size),
            remedy=say("make install-ray, or score with data_parallel_size 1."),
        )
    needed = settings.tensor_parallel_size * settings.data_parallel_size
    if (there := torch.cuda.device_count()) < needed and "RAY_ADDRESS" not in os.environ:
        raise WorkbookError(
            say("That many copies need {needed} GPUs; this machine has {there}.", needed=needed, there=there),
            expected=say("as many GPUs, or RAY_ADDRESS naming a cluster that has them."),
            remedy=say("Score with data_parallel_size 1."),
        )
