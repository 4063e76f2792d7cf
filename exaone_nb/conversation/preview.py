"""The exact string and tokens the model sees, and what is wrong with them.

Most strange answers, and most lost evaluation nights, are strange prompts: no chat template, two beginning-of-text
tokens, a think block that is missing or that nobody asked for, thoughts of earlier turns left in the history, a prompt
longer than the context. One set of checks serves a conversation, a task of lm-eval and the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exaone_nb.conversation.answers import THINK_CLOSE, THINK_OPEN, Message, Mode, check_mode
from exaone_nb.conversation.template import prompt_text
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

OPENS_NOTHING = say("Reasoning was asked for, but the prompt does not open a think block.")
# A thought is hundreds of tokens long; an answer limit below this cuts most of them.
ROOM_FOR_THOUGHT = 1024


@dataclass(frozen=True)
class PromptCheck:
    """One thing that was checked: whether it is as it should be, and what was seen."""

    ok: bool
    text: str

    @property
    def line(self) -> str:
        """The check as a line of text."""
        return say("[OK]   {text}", text=self.text) if self.ok else say("[FAIL] {text}", text=self.text)


@dataclass(frozen=True)
class Preview:
    """`text` as the model sees it, its `token_ids` with their `pieces`, and the `checks` it went through."""

    text: str
    token_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    checks: tuple[PromptCheck, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, most damaging first; empty for a good prompt."""
        return tuple(check.text for check in self.checks if not check.ok)

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
) -> Preview:
    """Render a conversation, or take a string as it is (the mistake this exists for), and check it.

    Raises WorkbookError when the template refuses the conversation.
    """
    thinking = check_mode(mode)
    templated = not isinstance(messages, str) and has_template(tokenizer)
    if templated:
        text = _render(tokenizer, messages, tools, thinking)
    elif isinstance(messages, str):
        text = messages
    else:
        text = "\n".join(str(message.get("content", "")) for message in messages)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    checks = check_prompt(tokenizer, text, ids, thinking=thinking, templated=templated)
    if not isinstance(messages, str):
        checks += check_history(messages, text)
    return Preview(text, tuple(ids), tuple(tokenizer.decode([i]) for i in ids), tuple(checks))


def has_template(tokenizer: Any) -> bool:
    """True when the tokenizer comes with a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def check_prompt(
    tokenizer: Any, text: str, ids: Sequence[int], *, thinking: bool, templated: bool
) -> list[PromptCheck]:
    """Template, beginning and think block of one prompt: its `text` and its token `ids`."""
    if templated:
        checks = [PromptCheck(True, say("The chat template is applied."))]
    elif has_template(tokenizer):
        checks = [_wrong(say("No chat template was applied: the model does not know that it is asked."))]
    else:
        checks = [_wrong(say("The tokenizer has no chat template: the model goes on writing bare text."))]
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and list(ids[:2]) == [bos, bos]:
        doubled = say("Two beginning-of-text tokens: the template wrote one and the tokenizer added another.")
        checks.append(_wrong(doubled))
    return [*checks, _think_block(tokenizer, text, thinking)] if templated else checks


def check_history(messages: Sequence[Message], text: str) -> list[PromptCheck]:
    """What is wrong with the earlier turns of a conversation that was rendered as `text`."""
    thoughts = [_thought(message) for message in messages if message.get("role") == "assistant"]
    if not any(thoughts):
        return []
    passed_on = any(thought and thought in text for thought in thoughts)
    if passed_on:
        return [_wrong(say("An earlier answer still carries its thoughts; and the template passes them on."))]
    return [
        _wrong(say("An earlier answer still carries its thoughts; this template drops them, others do not."))
    ]


def check_room(longest: int, answer: int, context: int, *, thinking: bool) -> list[PromptCheck]:
    """Whether the longest prompt and its answer (tokens) fit the context, and a thought the answer.

    `answer` is 0 where nothing is written.
    """
    checks = []
    if thinking and 0 < answer < ROOM_FOR_THOUGHT:
        checks.append(
            _wrong(say("Thinking with {n} tokens will cut most answers; allow thousands.", n=answer))
        )
    fits = longest + answer <= context
    counts = {"longest": longest, "answer": answer, "context": context}
    room = say(
        "Longest prompt {longest} + answer {answer} tokens fit into max_model_len {context}.", **counts
    )
    if not fits:
        room = say(
            "Longest prompt {longest} + answer {answer} tokens do not fit into max_model_len {context}.",
            **counts,
        )
    return [*checks, PromptCheck(fits, room)]


def _wrong(text: str) -> PromptCheck:
    return PromptCheck(False, text)


def _think_block(tokenizer: Any, text: str, thinking: bool) -> PromptCheck:
    knows = "enable_thinking" in tokenizer.chat_template
    end = text.rstrip()
    opened, closed = end.endswith(THINK_OPEN), end.endswith(THINK_CLOSE)
    if thinking and not knows:
        return _wrong(say("Reasoning was asked for, but the template does not know enable_thinking."))
    if thinking and opened:
        return PromptCheck(True, say("Reasoning is on; the prompt opens a think block."))
    if thinking and _model_opens_block(tokenizer):
        return PromptCheck(True, say("Reasoning is on; the model opens its think block itself."))
    if thinking:
        return _wrong(OPENS_NOTHING)
    if opened:
        return _wrong(say("The prompt opens a think block although reasoning is off."))
    if knows and not closed:
        return _wrong(say("Reasoning is off, but the prompt does not close an empty think block."))
    return PromptCheck(True, say("Reasoning is off, and the prompt leaves no think block open."))


def _model_opens_block(tokenizer: Any) -> bool:
    """Qwen3's way: with thinking on the template writes nothing, and "off" closes an empty block after that prompt."""
    question = [{"role": "user", "content": "?"}]
    on, off = (_render(tokenizer, question, None, thinking) for thinking in (True, False))
    writes_nothing = not on.rstrip().endswith(THINK_OPEN)
    return writes_nothing and off.startswith(on) and off.rstrip().endswith(THINK_CLOSE)


def _render(tokenizer: Any, messages: Sequence[Message], tools: Any, thinking: bool) -> str:
    try:
        return prompt_text(tokenizer, messages, thinking, tools)
    except Exception as error:  # jinja raises its own kinds, and templates raise text
        raise WorkbookError(
            say("The chat template refuses the conversation: {reason}", reason=str(error)),
            expected=say("roles and fields the template knows (system, user, assistant, tool)."),
        ) from error


def _thought(message: Message) -> str:
    content = str(message.get("content") or "")
    if THINK_CLOSE in content:
        return content.split(THINK_CLOSE)[0].replace(THINK_OPEN, "").strip()
    return str(message.get("reasoning_content") or message.get("reasoning") or "").strip()
