"""Transformers as an engine, where there is no vLLM: the same interface, one request after the other.

It is for reading answers, not for timing them: `generate` of Transformers pays Python's overhead for every token,
which says nothing about a server.
"""

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Answer, Engine, Message, Sampling, split_thought
from exaone_nb.conversation.prompt import opens_thought, prompt_ids
from exaone_nb.conversation.tools import with_tool_calls
from exaone_nb.engines.environment import capability, has_gpu
from exaone_nb.engines.options import choose_dtype
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say


class TransformersEngine(Engine):
    """One loaded model. `start_seconds` is the time to load it."""

    name = "transformers"

    def __init__(
        self, folder: str | Path, *, dtype: str = "auto", trust_remote_code: bool = False, **_: Any
    ) -> None:
        """Load config, tokenizer and safetensors of `folder`; options of other engines are ignored.

        Raises WorkbookError when the folder cannot be loaded, UsageError for a dtype that cannot be used.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        started = time.perf_counter()
        config = catalog.read_config(Path(folder) / "config.json")
        self.dtype, self.dtype_reason = choose_dtype(config, capability(), dtype)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
            self._model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=self.dtype, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        except Exception as error:  # the library raises many kinds; the first line says what matters
            got = say(
                "Transformers could not load {folder}: {reason}",
                folder=Path(folder).name,
                reason=str(error).splitlines()[0][:300],
            )
            raise WorkbookError(
                got, expected="a folder with config.json, tokenizer and safetensors."
            ) from error
        self._model.to("cuda" if has_gpu() else "cpu").eval()
        self.start_seconds = time.perf_counter() - started

    def tokenizer(self) -> Any:
        return self._tokenizer

    def _chat(
        self, messages: Sequence[Message], thinking: bool, sampling: Sampling, tools: Sequence[dict[str, Any]]
    ) -> Answer:
        answer = self._one(prompt_ids(self._tokenizer, messages, thinking, tools), sampling)
        return with_tool_calls(answer) if tools else answer

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids, one prompt after the other."""
        return [self._one(prompt, sampling or Sampling()) for prompt in prompts]

    def close(self) -> None:
        """Give back the memory. Closing twice is fine."""
        import torch

        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _one(self, prompt: Sequence[int], sampling: Sampling) -> Answer:
        import torch
        from transformers import LogitsProcessorList

        if self._model is None:
            raise UsageError("The engine is closed.", remedy="Open it again.")
        if sampling.json_schema or sampling.logprobs:
            raise UsageError("The transformers engine has no structured output and no log-probabilities.")
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        sampled = sampling.temperature > 0
        options: dict[str, Any] = {"max_new_tokens": sampling.max_tokens, "do_sample": sampled}
        if sampled:
            options |= {name: getattr(sampling, name) for name in ("temperature", "top_p", "top_k")}
        if sampling.ignore_eos:
            options["min_new_tokens"] = sampling.max_tokens
        if sampling.presence_penalty:
            penalty = _presence_penalty(sampling.presence_penalty, len(prompt))
            options["logits_processor"] = LogitsProcessorList([penalty])
        ids = torch.tensor([list(prompt)], device=self._model.device)
        started = time.perf_counter()
        options |= {
            "attention_mask": torch.ones_like(ids),
            "pad_token_id": self._model.config.pad_token_id or 0,
        }
        with torch.no_grad():
            made = self._model.generate(ids, **options)[0, len(prompt) :].tolist()
        seconds = time.perf_counter() - started
        ends = self._model.generation_config.eos_token_id
        stopped = bool(made) and made[-1] in (ends if isinstance(ends, list) else [ends])
        raw = self._tokenizer.decode(made[:-1] if stopped else made, skip_special_tokens=True)
        thought, text = split_thought(raw, opened=opens_thought(self._tokenizer, prompt))
        return Answer(
            text=text,
            thought=thought,
            raw=raw,
            finish_reason="stop" if stopped else "length",
            prompt_tokens=len(prompt),
            token_ids=tuple(made),
            output_tokens=len(made),
            seconds=seconds,
        )


def _presence_penalty(penalty: float, prompt_tokens: int) -> Callable[[Any, Any], Any]:
    """Take `penalty` from the logit of every token written so far, as vLLM does; Transformers has no such option."""

    def processor(ids: Any, scores: Any) -> Any:
        """ids: [batch, tokens], scores: [batch, vocabulary]"""
        written = scores.new_zeros(scores.shape).scatter_(1, ids[:, prompt_tokens:], 1.0)
        return scores - penalty * written

    return processor
