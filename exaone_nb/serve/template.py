"""The model's chat template, applied the one way that all engines and the preview share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exaone_nb.serve.answers import Message


def prompt_text(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> str:
    """A conversation as the string the model sees, generation prompt included."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, **_options(thinking, tools))


def prompt_ids(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> list[int]:
    """A conversation as the token ids the model sees, generation prompt included."""
    found = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, **_options(thinking, tools)
    )
    return list(found["input_ids"])


def _options(thinking: bool, tools: Any) -> dict[str, Any]:
    return {
        "tools": list(tools) if tools else None,
        "add_generation_prompt": True,
        "enable_thinking": thinking,
    }
