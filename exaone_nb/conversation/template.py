"""The model's chat template, applied the one way that all engines and the preview share, and the switches of thinking.

Thinking is turned on or off by the template, as in EXAONE 4.0, or by a word in the message, which Qwen3 knows too.
Qwen3's `enable_thinking=False` closes an empty think block in the prompt. With True its template writes nothing: the
model opens the block itself, and `/think` or `/no_think` in a message decides what it puts there. EXAONE 4.0's
template opens or closes the block either way, so to it such a word is only text.
"""

from collections.abc import Sequence
from typing import Any

from exaone_nb.conversation.answers import THINK_OPEN, Message
from exaone_nb.errors import UsageError

# How Qwen3's template renders turns without tools or system prompt (its model card and notes on it, 2026-02).
QWEN3_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


def prompt_text(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> str:
    """A conversation as the string the model sees, generation prompt included."""
    return _applied(tokenizer, messages, thinking, tools, tokenize=False)


def prompt_ids(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> list[int]:
    """A conversation as the token ids the model sees, generation prompt included."""
    return list(_applied(tokenizer, messages, thinking, tools, tokenize=True, return_dict=True)["input_ids"])


def _applied(
    tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None, **form: Any
) -> Any:
    return tokenizer.apply_chat_template(
        list(messages),
        tools=list(tools) if tools else None,
        add_generation_prompt=True,
        enable_thinking=thinking,
        **form,
    )


def opens_thought(tokenizer: Any, prompt: Sequence[int]) -> bool:
    """True when the prompt ends in an open think block: what follows is thought until the block is closed."""
    # The tag and the line break after it are two tokens of EXAONE's, and eight bytes for a tokenizer of bytes.
    return tokenizer is not None and tokenizer.decode(list(prompt[-12:])).rstrip().endswith(THINK_OPEN)


def with_soft_switch(messages: Sequence[Message], thinking: bool) -> list[Message]:
    """Qwen3's switch inside a conversation: the last user message ends in `/think` or `/no_think`.

    It works only while the template's enable_thinking is true, and the last one wins.
    """
    changed = [dict(message) for message in messages]
    for message in reversed(changed):
        if message.get("role") == "user":
            message["content"] = f"{message.get('content', '')} {'/think' if thinking else '/no_think'}"
            return changed
    raise UsageError("The conversation has no user message to put the switch in.")


def switch_rows(tokenizer: Any, question: str) -> list[dict[str, str]]:
    """Qwen3's hard and soft switch with the string each makes, and the soft one under `tokenizer`'s own template."""
    plain = [{"role": "user", "content": question}]
    no_think, think = with_soft_switch(plain, thinking=False), with_soft_switch(plain, thinking=True)
    closed = "no thought: the prompt closed the block"
    cases = [
        ("Qwen3, enable_thinking=True", plain, True, QWEN3_TURNS, "it opens a block itself and thinks"),
        ("Qwen3, enable_thinking=False", plain, False, QWEN3_TURNS, closed),
        ("Qwen3, True and /no_think", no_think, True, QWEN3_TURNS, "it writes an empty block itself"),
        ("Qwen3, False and /think", think, False, QWEN3_TURNS, f"{closed}, and the word changes nothing"),
        ("this model, reasoning on and /no_think", no_think, True, None, ""),
    ]
    rows = []
    for case, messages, thinking, template, then in cases:
        text = _applied(tokenizer, messages, thinking, tokenize=False, chat_template=template)
        opened = text.rstrip().endswith(THINK_OPEN)
        own = "it thinks: the block is open, the word is only text" if opened else closed
        rows.append({"case": case, "the exact string": repr(text), "what the model does": then or own})
    return rows
