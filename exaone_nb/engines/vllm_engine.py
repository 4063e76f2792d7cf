"""vLLM inside this process: the engine the chapters measure with.

Without worker processes a tiny model starts in a few seconds on a CPU; on a GPU the same code runs with other
parameters. One engine at a time: `close` gives the memory back before the next one is opened.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb.conversation.answers import Answer, Engine, Message, Mode, Sampling, check_mode, split_thought
from exaone_nb.conversation.template import opens_thought, prompt_ids
from exaone_nb.conversation.tool_text import with_tool_calls
from exaone_nb.engines.environment import has_gpu, prepare_process, require_vllm
from exaone_nb.engines.failures import explain, messages_of
from exaone_nb.engines.kernels import Log, captured_log
from exaone_nb.engines.parallel import check_sizes
from exaone_nb.engines.quiet import quiet
from exaone_nb.errors import UsageError, WorkbookError

_open: list[VllmEngine] = []


class VllmEngine(Engine):
    """One loaded model. `start_seconds` is the time to load it (imports apart), `log` what vLLM said meanwhile."""

    name = "vllm"

    def __init__(
        self,
        folder: str | Path,
        *,
        dtype: str = "bfloat16",
        max_model_len: int = 2048,
        max_num_seqs: int = 256,
        gpu_memory_utilization: float = 0.85,
        kv_cache_gib: float = 1.0,
        threads: int = 0,
        eager: bool | None = None,
        dummy_weights: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        data_parallel_size: int = 1,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        """Load the model in `folder`. `kv_cache_gib` holds on a CPU, `gpu_memory_utilization` on a GPU.

        `dummy_weights` fills the tensors of config.json with small random numbers: no weights and no tokenizer
        are read. `eager` None means: compile graphs on a GPU, not on a CPU. `options` go to vllm.LLM.
        `tensor_parallel_size` GPUs share the model; copies of it (`data_parallel_size`) only the server can hold.
        Raises WorkbookError with vLLM's reason when it cannot load and for more than one copy, UsageError while
        another engine is open.
        """
        check_sizes(tensor_parallel_size, data_parallel_size)
        if data_parallel_size > 1:
            raise WorkbookError(
                f"data_parallel_size is {data_parallel_size}, and vLLM inside one process holds one copy of a model.",
                expected="data_parallel_size 1 in process.",
                remedy="Use the server for several copies: Server(folder, data_parallel_size=N).",
            )
        if _open:
            raise UsageError(
                "Another in-process engine is still open.",
                expected="one at a time, so that memory and timings are its own.",
                remedy="Close it first, or use `with open_engine(...) as engine:`.",
            )
        require_vllm()
        self.remarks = prepare_process(threads, verbose=verbose)
        self.folder = Path(folder)
        with quiet(verbose):
            from vllm import LLM
        gpu = has_gpu()
        arguments: dict[str, Any] = {
            "model": str(folder),
            "dtype": dtype,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "tensor_parallel_size": tensor_parallel_size,
            "enforce_eager": (not gpu) if eager is None else eager,
            "enable_prefix_caching": False,  # a repeated prompt must be read again, or prefill times are fiction
            "disable_log_stats": False,  # per-request times come with the answers
            "trust_remote_code": trust_remote_code,
            "use_tqdm_on_load": verbose,
            "seed": 0,
        }
        if gpu:
            arguments["gpu_memory_utilization"] = gpu_memory_utilization
        else:
            arguments["kv_cache_memory_bytes"] = int(kv_cache_gib * 2**30)
            if os.environ.pop("VLLM_CPU_KVCACHE_SPACE", ""):
                self.remarks.append(
                    f"VLLM_CPU_KVCACHE_SPACE was set and would win over kv_cache_gib={kv_cache_gib:g}: it is dropped."
                )
        if dummy_weights:
            arguments |= {"load_format": "dummy", "skip_tokenizer_init": True}
        self.arguments = arguments | options
        self.has_tokenizer = not dummy_weights
        self.log = Log()
        started = time.perf_counter()
        self._llm: Any = None
        self._closed = "The engine is closed."
        try:
            with quiet(verbose), captured_log() as self.log:
                self._llm = LLM(**self.arguments)
        except KeyboardInterrupt:
            _release()
            raise
        except SystemExit as error:
            _release()
            raise explain(self.log.text(), self.folder.name) from error
        except Exception as error:
            # In process the exception carries the reason; the log holds harmless "not supported" remarks too.
            reason = messages_of(error)
            _release()
            raise explain(reason, self.folder.name) from error
        # The times stay with the answers; Prometheus counters that nobody reads take 1 % of a small model's step.
        with contextlib.suppress(AttributeError):
            self._llm.llm_engine.logger_manager = None
        self.start_seconds = time.perf_counter() - started
        self.kernel = self.log.kernel()
        _open.append(self)

    def chat_all(
        self,
        conversations: Sequence[Sequence[Message]],
        mode: Mode = "non-reasoning",
        sampling: Sampling | None = None,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> list[Answer]:
        """Answer many conversations as one batch, in order. Raises UsageError when one is empty."""
        return self._chat_all(conversations, check_mode(mode), sampling or Sampling(), tools or ())

    def _chat(
        self, messages: Sequence[Message], thinking: bool, sampling: Sampling, tools: Sequence[dict[str, Any]]
    ) -> Answer:
        return self._chat_all([messages], thinking, sampling, tools)[0]

    def _chat_all(
        self, conversations: Sequence[Sequence[Message]], thinking: bool, sampling: Sampling, tools: Any
    ) -> list[Answer]:
        if not conversations or not all(conversations):
            raise UsageError("There is nothing to answer.", expected="at least one message per conversation.")
        tokenizer = self.tokenizer()
        prompts = [prompt_ids(tokenizer, messages, thinking, tools) for messages in conversations]
        answers = self._run(prompts, sampling)
        return [with_tool_calls(answer) for answer in answers] if tools else answers

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids, all as one batch. Ctrl-C while it runs closes the engine."""
        return self._run(prompts, sampling or Sampling())

    def prompt_tokens(
        self, messages: Sequence[Message], mode: Mode = "non-reasoning", tools: Any = None
    ) -> list[int]:
        """Token ids of a conversation as the model sees it, generation prompt included."""
        return prompt_ids(self.tokenizer(), messages, check_mode(mode), tools)

    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises UsageError for dummy weights, which have none, and after `close`."""
        if self._llm is None:
            raise UsageError(self._closed, remedy="Open it again.")
        if not self.has_tokenizer:
            raise UsageError(
                "An engine with dummy weights has no tokenizer.", expected="token ids: generate()."
            )
        return self._llm.get_tokenizer()

    def close(self) -> None:
        """Give back the memory, also the GPU's. Closing twice is fine."""
        if self._llm is None:
            return
        with contextlib.suppress(Exception):
            self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        if self in _open:
            _open.remove(self)
        _release()

    def _run(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        if self._llm is None:
            raise UsageError(self._closed, remedy="Open it again.")
        limit = self.arguments["max_model_len"]
        longest = max((len(prompt) for prompt in prompts), default=0)
        if longest == 0:
            raise UsageError("A prompt has no tokens.", expected="at least one token per prompt.")
        if longest >= limit:
            raise UsageError(
                f"A prompt has {longest:,} tokens; max_model_len is {limit:,}.",
                expected="room for the prompt and at least one token.",
                remedy="Shorten the conversation, or open the engine with a larger max_model_len.",
            )
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(prompt)} for prompt in prompts],
                _parameters(sampling, self),
                use_tqdm=False,
            )
        except KeyboardInterrupt:
            # vLLM would finish the interrupted requests in the next call and return their answers first.
            self.close()
            self._closed = "The engine was interrupted, and closed with what was half done in it."
            raise
        queued = min((o.metrics.queued_ts for o in outputs if o.metrics is not None), default=0.0)
        words = self._llm.get_tokenizer() if self.has_tokenizer else None
        return [_answer(output, opens_thought(words, output.prompt_token_ids), queued) for output in outputs]


def _parameters(sampling: Sampling, engine: VllmEngine) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    schema = sampling.json_schema
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        presence_penalty=sampling.presence_penalty,
        seed=sampling.seed,
        ignore_eos=sampling.ignore_eos,
        logprobs=sampling.logprobs,
        detokenize=engine.has_tokenizer,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
    )


def _answer(output: Any, opened: bool, batch_queued: float) -> Answer:
    made, times = output.outputs[0], output.metrics
    thought, text = split_thought(made.text, opened=opened)
    first = last = None
    if times is not None and times.last_token_ts:
        first, last = times.first_token_ts - times.queued_ts, times.last_token_ts - times.queued_ts
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
        top_logprobs=tuple(
            _top(step, token) for step, token in zip(made.logprobs or (), made.token_ids, strict=False)
        ),
    )


def _top(step: dict[int, Any], chosen: int) -> dict[int, float]:
    ordered = sorted(step.items(), key=lambda item: (item[0] != chosen, -item[1].logprob))
    return {token: float(entry.logprob) for token, entry in ordered}


def _release() -> None:
    """Free what a dead or closed engine leaves behind: process groups, cached blocks, Python cycles."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    gc.collect()
    with contextlib.suppress(Exception):
        cleanup_dist_env_and_memory()
    gc.collect()
