"""The prompt: the chat template, applied the one way that all engines and previews share, and what is wrong with it.

Most strange answers, and most lost evaluation nights, are strange prompts: no chat template, two beginning-of-text
tokens, a think block that is missing or that nobody asked for, thoughts of earlier turns left in the history, a prompt
longer than the context. One set of checks serves a conversation, a task of lm-eval and the command line.

Thinking is turned on or off by the template, as in EXAONE 4.0, or by a word in the message, which Qwen3 knows too.
Qwen3's `enable_thinking=False` closes an empty think block in the prompt. With True its template writes nothing: the
model opens the block itself, and `/think` or `/no_think` in a message decides what it puts there. EXAONE 4.0's
template opens or closes the block either way, so to it such a word is only text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.conversation.answers import THINK_CLOSE, THINK_OPEN, Message, Mode, check_mode
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say

OPENS_NOTHING = say("Reasoning was asked for, but the prompt does not open a think block.")
OPENS_ITSELF = say("it opens a block itself and thinks")
# A thought is hundreds of tokens long; an answer limit below this cuts most of them.
ROOM_FOR_THOUGHT = 1024
# How Qwen3's template renders a user's turns without tools; tests/conversation/test_switches.py holds it against the real one.
QWEN3_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)


def open_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a model folder. Raises WorkbookError when transformers cannot load it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the library raises many kinds
        raise WorkbookError(
            say(
                "The tokenizer of {name} cannot be loaded: {why}",
                name=Path(folder).name,
                why=str(error)[:300],
            ),
            remedy=say("Copy the original model's tokenizer files into the folder."),
        ) from error


def prompt_ids(tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None) -> list[int]:
    """A conversation as the token ids the model sees, generation prompt included."""
    return list(applied(tokenizer, messages, thinking, tools, tokenize=True, return_dict=True)["input_ids"])


def applied(
    tokenizer: Any, messages: Sequence[Message], thinking: bool, tools: Any = None, **form: Any
) -> Any:
    """A conversation as the model sees it, generation prompt included; `form` are options of `apply_chat_template`."""
    options = {"tools": list(tools) if tools else None, "add_generation_prompt": True} | form
    return tokenizer.apply_chat_template(list(messages), enable_thinking=thinking, **options)


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


def switch_rows(tokenizer: Any, question: str) -> list[dict[str, Any]]:
    """Qwen3's hard and soft switch with the string each makes, and the soft one under `tokenizer`'s own template."""
    plain = [{"role": "user", "content": question}]
    no_think, think = with_soft_switch(plain, thinking=False), with_soft_switch(plain, thinking=True)
    closed = say("no thought: the prompt closed the block")
    cases = [
        ("Qwen3, enable_thinking=True", plain, True, QWEN3_TURNS, OPENS_ITSELF),
        ("Qwen3, enable_thinking=False", plain, False, QWEN3_TURNS, closed),
        (
            say("Qwen3, True and /no_think"),
            no_think,
            True,
            QWEN3_TURNS,
            say("it writes an empty block itself"),
        ),
        (
            say("Qwen3, False and /think"),
            think,
            False,
            QWEN3_TURNS,
            say("{closed}, and the word changes nothing", closed=closed),
        ),
        (say("this model, reasoning on and /no_think"), no_think, True, None, ""),
    ]
    rows = []
    for case, messages, thinking, template, then in cases:
        text = applied(tokenizer, messages, thinking, tokenize=False, chat_template=template)
        opened = text.rstrip().endswith(THINK_OPEN)
        if opened:
            own = say("it thinks: the block is open, the word is only text")
        elif text.rstrip().endswith(THINK_CLOSE):
            own = closed
        elif _model_opens_block(tokenizer):
            own = say("it opens a block itself; a model trained as Qwen3 leaves it empty")
        else:
            own = say("the template knows no switch: the word is only text")
        does = {"thinks": opened or then == OPENS_ITSELF, "does": then or own}
        rows.append({"case": case, "prompt": repr(text)} | does)
    return rows


@dataclass(frozen=True)
class PromptCheck:
    """One thing that was checked: whether it is as it should be, and what was seen.

    `stops`: with this an evaluation would measure something else, so it does not start. What else is wrong may be meant.
    """

    ok: bool
    text: str
    stops: bool = False

    @property
    def line(self) -> str:
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
    text = messages
    if templated:
        text = _render(tokenizer, messages, tools, thinking)
    elif not isinstance(messages, str):
        text = "\n".join(str(message.get("content", "")) for message in messages)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    checks = check_prompt(tokenizer, text, ids, thinking=thinking, templated=templated)
    if not isinstance(messages, str):
        checks += check_history(messages, text)
    return Preview(text, tuple(ids), tuple(tokenizer.decode([i]) for i in ids), tuple(checks))


def has_template(tokenizer: Any) -> bool:
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
    if any(thought and thought in text for thought in thoughts):
        return [_wrong(say("An earlier answer still carries its thoughts, and the template passes them on."))]
    return [
        _wrong(say("An earlier answer still carries its thoughts; this template drops them, not all do."))
    ]


def check_room(longest: int, answer: int, context: int, *, thinking: bool) -> list[PromptCheck]:
    """Whether the longest prompt and its answer (tokens) fit the context, and a thought the answer.

    `answer` is 0 where nothing is written.
    """
    checks = []
    if thinking and 0 < answer < ROOM_FOR_THOUGHT:
        checks.append(_wrong(say("Thinking with {n} tokens will cut most answers; allow more.", n=answer)))
    fits, counts = longest + answer <= context, {"longest": longest, "answer": answer, "most": context}
    room = say("Longest prompt {longest} + answer {answer} tokens fit into max_model_len {most}.", **counts)
    if not fits:
        room = say(
            "Longest prompt {longest} + answer {answer} tokens do not fit into max_model_len {most}.",
            **counts,
        )
    return [*checks, PromptCheck(fits, room, stops=not fits)]


def _wrong(text: str) -> PromptCheck:
    return PromptCheck(False, text)


def _think_block(tokenizer: Any, text: str, thinking: bool) -> PromptCheck:
    knows, end = "enable_thinking" in tokenizer.chat_template, text.rstrip()
    opened = end.endswith(THINK_OPEN)
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
    if knows and not end.endswith(THINK_CLOSE):
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
        return applied(tokenizer, messages, thinking, tools, tokenize=False)
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
