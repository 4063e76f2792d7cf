"""The model's chat template, applied the one way that all engines and the preview share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exaone_nb.conversation.answers import THINK_OPEN, Message


def prompt_text(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> str:
    """A conversation as the string the model sees, generation prompt included."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, **_options(thinking, tools))


def prompt_ids(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> list[int]:
    """A conversation as the token ids the model sees, generation prompt included."""
    found = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, **_options(thinking, tools)
    )
    return list(found["input_ids"])


def opens_thought(tokenizer: Any, prompt: Sequence[int]) -> bool:
    """True when the prompt ends in an open think block: what follows is thought until the block is closed."""
    # The tag and the line break after it are two tokens of EXAONE's, and eight bytes for a tokenizer of bytes.
    return tokenizer is not None and tokenizer.decode(list(prompt[-12:])).rstrip().endswith(THINK_OPEN)


def _options(thinking: bool, tools: Any) -> dict[str, Any]:
    return {
        "tools": list(tools) if tools else None,
        "add_generation_prompt": True,
        "enable_thinking": thinking,
    }
