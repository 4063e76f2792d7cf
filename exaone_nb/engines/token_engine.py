"""What engines share that are asked in token ids: the prompt is rendered here, the same for all of them."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb.conversation.answers import MODES, Answer, Engine, Message, Mode, Sampling, check_mode
from exaone_nb.conversation.prompt import prompt_ids
from exaone_nb.conversation.tools import with_tool_calls
from exaone_nb.errors import UsageError
from exaone_nb.messages import say


class TokenEngine(Engine):
    """One loaded model that answers batches of token ids.

    `arguments` is what it was opened with, `max_model_len` among it; `start_seconds` the time to load it (imports apart),
    `dtype` its number format and `dtype_reason` why, `kernel` what its layers multiply with, `int8_activations` whether
    4-bit weights meet activations in 8 bits there although the scheme says 16, `remarks` what a reader should know.
    """

    folder: Path
    arguments: dict[str, Any]
    start_seconds: float
    dtype: str
    dtype_reason: str
    kernel: str
    int8_activations: bool = False
    remarks: Sequence[str] = ()

    @abstractmethod
    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises UsageError where there is none, and after `close`."""

    @abstractmethod
    def _complete(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        """Continue prompts that fit, all as one batch."""

    def prompt_tokens(
        self, messages: Sequence[Message], mode: Mode = "non-reasoning", tools: Any = None
    ) -> list[int]:
        """Token ids of a conversation as the model sees it, generation prompt included."""
        return prompt_ids(self.tokenizer(), messages, check_mode(mode), tools)

    def chat_all(
        self,
        conversations: Sequence[Sequence[Message]],
        mode: Mode = "non-reasoning",
        sampling: Sampling | None = None,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> list[Answer]:
        """Answer many conversations as one batch, in order. Raises UsageError when one is empty."""
        check_mode(mode)
        if not conversations or not all(conversations):
            raise UsageError("There is nothing to answer.", expected="at least one message per conversation.")
        prompts = [self.prompt_tokens(messages, mode, tools) for messages in conversations]
        answers = self.generate(prompts, sampling)
        return [with_tool_calls(answer) for answer in answers] if tools else answers

    def _chat(
        self, messages: Sequence[Message], thinking: bool, sampling: Sampling, tools: Sequence[dict[str, Any]]
    ) -> Answer:
        return self.chat_all([messages], MODES[thinking], sampling, tools)[0]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids, all as one batch. Raises UsageError for a prompt without tokens or without room."""
        limit = self.arguments["max_model_len"]
        longest = max((len(prompt) for prompt in prompts), default=0)
        if longest == 0 or not all(map(len, prompts)):
            raise UsageError("A prompt has no tokens.", expected="at least one token per prompt.")
        if longest >= limit:
            got = say(
                "A prompt has {longest:,} tokens; max_model_len is {limit:,}.", longest=longest, limit=limit
            )
            raise UsageError(
                got,
                expected="room for the prompt and at least one token.",
                remedy="Shorten the conversation, or open the engine with a larger max_model_len.",
            )
        return self._complete(prompts, sampling or Sampling())
