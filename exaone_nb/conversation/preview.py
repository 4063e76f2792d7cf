"""The exact string and tokens the model sees, and what is wrong with them.

Most strange answers are strange prompts: no chat template, two beginning-of-text tokens, a think block that is
missing or that nobody asked for, thoughts of earlier turns left in the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exaone_nb.conversation.answers import THINK_CLOSE, THINK_OPEN, Message, Mode, check_mode
from exaone_nb.conversation.template import prompt_text
from exaone_nb.errors import WorkbookError

OPENS_NOTHING = "Reasoning was asked for, but the prompt does not open a think block."


@dataclass(frozen=True)
class Preview:
    """`text` as the model sees it, its `token_ids` with their `pieces`, and `problems` in plain words."""

    text: str
    token_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The tokens one by one, `id:text`; a part of a letter has an id only."""
        return " ".join(
            f"{token}" if "\ufffd" in piece or not piece else f"{token}:{piece!r}"
            for token, piece in zip(self.token_ids, self.pieces, strict=True)
        )


def preview(
    tokenizer: Any,
    messages: Sequence[Message] | str,
    mode: Mode = "non-reasoning",
    tools: Sequence[dict[str, Any]] | None = None,
    *,
    add_special_tokens: bool = False,
) -> Preview:
    """Render a conversation, or take a string as it is (the mistake this exists for), and check it.

    `add_special_tokens` tokenizes the rendered text as many a script does, adding the tokenizer's own beginning.
    Raises WorkbookError when the template refuses the conversation.
    """
    thinking = check_mode(mode)
    has_template = bool(getattr(tokenizer, "chat_template", None))
    plain = isinstance(messages, str)
    if plain or not has_template:
        text = messages if plain else "\n".join(str(message.get("content", "")) for message in messages)
    else:
        text = _render(tokenizer, messages, tools, thinking)
    ids = tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
    problems = find_problems(tokenizer, text, ids, [] if plain else messages, thinking, plain, has_template)
    if OPENS_NOTHING in problems:
        # Qwen3 opens its block itself; its template says "off" by closing an empty one after the same prompt.
        off = _render(tokenizer, messages, tools, False)
        if off.startswith(text) and off.rstrip().endswith(THINK_CLOSE):
            problems.remove(OPENS_NOTHING)
    return Preview(text, tuple(ids), tuple(tokenizer.decode([i]) for i in ids), tuple(problems))


def _render(tokenizer: Any, messages: Sequence[Message], tools: Any, thinking: bool) -> str:
    try:
        return prompt_text(tokenizer, messages, thinking, tools)
    except Exception as error:  # jinja raises its own kinds, and templates raise text
        raise WorkbookError(
            f"The chat template refuses the conversation: {error}",
            expected="roles and fields the template knows (system, user, assistant, tool).",
        ) from error


def find_problems(
    tokenizer: Any,
    text: str,
    ids: Sequence[int],
    messages: Sequence[Message],
    thinking: bool,
    plain: bool,
    has_template: bool,
) -> list[str]:
    """What is wrong with a prompt, most damaging first; an empty list for a good one."""
    problems = []
    if not has_template:
        problems.append(
            "The tokenizer has no chat template: the model sees bare text and goes on writing it."
        )
    elif plain:
        problems.append("No chat template was applied: the model does not know that it is being asked.")
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:
        problems.append(
            "Two beginning-of-text tokens: the template wrote one and the tokenizer added another."
        )
    if has_template and not plain:
        knows = "enable_thinking" in tokenizer.chat_template
        last = text.rstrip()
        opened = last.endswith(THINK_OPEN)
        if thinking and knows and not opened:
            problems.append(OPENS_NOTHING)
        if thinking and not knows:
            problems.append("Reasoning was asked for, but the template does not know enable_thinking.")
        if not thinking and opened:
            problems.append("The prompt opens a think block although reasoning is off.")
        if not thinking and knows and not last.endswith(THINK_CLOSE):
            problems.append("Reasoning is off, but the prompt does not close an empty think block.")
    if any(_has_thought(message) for message in messages):
        kept = any(
            thought and thought in text
            for thought in (_thought(message) for message in messages if message.get("role") == "assistant")
        )
        problems.append(
            "An earlier answer still carries its thoughts, and the template passes them on."
            if kept
            else "An earlier answer still carries its thoughts; this template drops them, others do not."
        )
    return problems


def _thought(message: Message) -> str:
    content = str(message.get("content") or "")
    if THINK_CLOSE in content:
        return content.split(THINK_CLOSE)[0].replace(THINK_OPEN, "").strip()
    return str(message.get("reasoning_content") or message.get("reasoning") or "").strip()


def _has_thought(message: Message) -> bool:
    return message.get("role") == "assistant" and bool(_thought(message))
