"""Models that lm-eval can ask, opened and closed: in vLLM, transformers or llama.cpp, or behind an endpoint."""

import gc
import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exaone_nb import catalog
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.environment import capability, has_gpu
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
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
    in_process = {"vllm": _open_vllm, "hf": _open_hf}
    opening, unanswered = in_process.get(settings.backend), ()
    if opening is None:
        opening = _open_llamacpp if settings.backend == "llama.cpp" else _open_server
        import aiohttp
        import requests

        # Requests that failed beside the one that is told here: asyncio would print each, whenever it is cleared away.
        logging.getLogger("asyncio").addFilter(_is_news)
        unanswered = (aiohttp.ClientError, requests.RequestException, TimeoutError, json.JSONDecodeError)
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
        raise _unanswered(error, settings) from error
    finally:
        if settings.backend == "llama.cpp":
            lm.engine.close()
        if settings.backend == "vllm":
            engine, lm.model = lm.model, None
            if hasattr(engine, "llm_engine"):  # several copies live in Ray's workers, and end there
                vllm_adapter.end(engine)
                vllm_adapter.release()


def _is_news(record: logging.LogRecord) -> bool:
    """False for asyncio's word on the failure of a request that nobody waited for any more."""
    import aiohttp

    return not (
        record.exc_info and isinstance(record.exc_info[1], aiohttp.ClientError | OSError | WorkbookError)
    )


def _unanswered(error: Exception, settings: Settings) -> WorkbookError:
    """What a server that did not answer, three times, leaves to do."""
    import requests

    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, TimeoutError | requests.Timeout):
        return WorkbookError(
            say("The server at {a.base_url} gave no answer within {a.timeout} s, three times.", a=settings),
            remedy=say("Give it more time (--timeout) or fewer requests at once (--concurrency)."),
        )
    if status == 429:
        return WorkbookError(
            say("The server at {a.base_url} refused three times: too many requests (429).", a=settings),
            remedy=say("Send fewer at once (--concurrency), or wait until its limit is over."),
        )
    if isinstance(error, json.JSONDecodeError) or (status and status < 400):
        return WorkbookError(
            say("What the server at {a.base_url} sends is no OpenAI-compatible answer: {error}", a=settings,
                error=_said(error)),
            remedy=say("Check the address: it usually ends in /v1."),
        )  # fmt: skip
    if status:
        return WorkbookError(
            say("The server at {a.base_url} refused three times: {status} {reason}.", a=settings, status=status,
                reason=getattr(error, "message", "")),
            remedy=say(
                "Check the model's name, the length of prompt and answer, and the key in {a.key_variable}.", a=settings
            ),
        )  # fmt: skip
    return WorkbookError(
        say("The server at {a.base_url} cannot be reached: {error}", a=settings, error=_said(error)),
        remedy=say("Check that it runs, and the address."),
    )


def generation_config(model: str | Path, settings: Settings) -> dict[str, Any]:
    """How the model's generation_config.json was used: `used` in words, and what it asks for and was `not_applied`.

    The tokens that end an answer count; sampling and penalties are the task's and the user's alone, in both engines alike.
    """
    if settings.backend.startswith("server"):
        return {"used": say("as the server decides"), "not_applied": {}}
    path = Path(model) / "generation_config.json"
    stored = catalog.read_config(path) if path.is_file() else {}
    about_itself = ("transformers_version", "_from_model_config", "use_cache")
    ignored = {n: v for n, v in stored.items() if not n.endswith("token_id") and n not in about_itself}
    if not ignored.get("do_sample", True):
        del ignored["do_sample"]  # greedy, as without it
    return {"used": say("for the tokens that end an answer"), "not_applied": ignored}


def _open_vllm(model: str, settings: Settings) -> Any:
    if settings.data_parallel_size > 1:
        _require_gpus(settings)
    made = lm_eval_adapter.vllm_class()
    arguments, _ = vllm_arguments(
        _config(model),
        capability(),
        dtype=settings.dtype,
        gpu_memory_utilization=settings.gpu_memory_utilization,
    )
    same = ("max_model_len", "seed", "tensor_parallel_size", "data_parallel_size")
    arguments |= {name: getattr(settings, name) for name in same}
    # vLLM batches by itself; one chunk holds everything, and a number keeps its progress bars off.
    arguments |= {"batch_size": 1_000_000, "disable_log_stats": True, "use_tqdm_on_load": False}
    return made(pretrained=model, **_asked(settings), **(arguments | settings.engine))


def suited(model: str | Path, settings: Settings) -> Settings:
    """The settings for one model: a GGUF file is asked in llama.cpp, whatever else is."""
    here = settings.backend in ("vllm", "hf") and not isinstance(model, str)
    return replace(settings, backend="llama.cpp") if here and catalog.gguf_in(model) else settings


def _open_llamacpp(model: str, settings: Settings) -> Any:
    """llama.cpp answers through its server, which lm-eval asks with token ids as it asks any other."""
    same = {"max_model_len": settings.max_model_len, **settings.engine}
    engine = LlamacppEngine(model, **same)
    try:
        lm = _server(
            engine.server.name, engine.server.address + "/v1", engine.server.key, False, model, settings
        )
    except BaseException:
        engine.close()
        raise
    lm.engine = engine
    return lm


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
    key = os.environ.get(settings.key_variable, "")
    return _server(model, address, key, settings.backend == "server-chat", settings.tokenizer, settings)


def _server(model: str, address: str, key: str, chat: bool, tokenizer: str, settings: Settings) -> Any:
    options = _limit(settings)
    if not chat:
        # Prompts are sent as token ids, so that the server adds and removes nothing.
        options |= {"tokenizer": tokenizer}
    elif settings.think_end_token:
        options |= {"think_end_token": settings.think_end_token}
    made = lm_eval_adapter.server_class(chat, key, settings.thinking)
    return made(
        model=model,
        base_url=address + ("/chat/completions" if chat else "/completions"),
        num_concurrent=settings.concurrency,
        max_length=settings.max_model_len,
        max_retries=3,
        timeout=settings.timeout,
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
            remedy=say("exaone-nb install --ray, or score with data_parallel_size 1."),
        )
    needed = settings.tensor_parallel_size * settings.data_parallel_size
    if (there := torch.cuda.device_count()) < needed and "RAY_ADDRESS" not in os.environ:
        raise WorkbookError(
            say("That many copies need {needed} GPUs; this machine has {there}.", needed=needed, there=there),
            expected=say("as many GPUs, or RAY_ADDRESS naming a cluster that has them."),
            remedy=say("Score with data_parallel_size 1."),
        )
