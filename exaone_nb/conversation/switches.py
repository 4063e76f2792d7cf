"""Thinking on or off: decided by the template, as in EXAONE 4.0, or by a word in the message, which Qwen3 knows too.

Qwen3's `enable_thinking=False` closes an empty think block in the prompt. With True its template writes nothing: the
model opens the block itself, and `/think` or `/no_think` in a message decides what it puts there. EXAONE 4.0's
template opens or closes the block either way, so to it such a word is only text.
"""

from __future__ import annotations

from typing import Any

from exaone_nb.conversation.answers import THINK_OPEN, with_soft_switch

# How Qwen3's template renders turns without tools or system prompt (its model card and notes on it, 2026-02).
QWEN3_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


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
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,
        )
        opened = text.rstrip().endswith(THINK_OPEN)
        own = "it thinks: the block is open, the word is only text" if opened else closed
        rows.append({"case": case, "the exact string": repr(text), "what the model does": then or own})
    return rows
