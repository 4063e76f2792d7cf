"""What goes into an engine and what comes out, the same for every engine: modes, answers, and sampling with the advice
of each model's makers (data/models.yaml)."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from exaone_nb import catalog
from exaone_nb.errors import UsageError
from exaone_nb.messages import say

Mode = Literal["non-reasoning", "reasoning"]
MODES: tuple[Mode, ...] = ("non-reasoning", "reasoning")
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
Message = dict[str, Any]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. `temperature` 0 is greedy; `logprobs` asks for that many alternatives.

    `ignore_eos` makes every answer exactly `max_tokens` long, which is what a speed measurement wants.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    seed: int | None = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            got = say("max_tokens is {max_tokens}.", max_tokens=self.max_tokens)
            raise UsageError(got, expected="a whole number of at least 1.")
        if self.temperature < 0:
            got = say("The temperature is {temperature}.", temperature=self.temperature)
            raise UsageError(got, expected="0 (greedy) or more.")
        if not 0 < self.top_p <= 1:
            raise UsageError(say("top_p is {top_p}.", top_p=self.top_p), expected="above 0 and at most 1.")


@dataclass(frozen=True)
class ToolCall:
    """One call the model asked for. `arguments` is the JSON text as it came, which may be malformed."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer. Times are seconds from the start of the request; None where the engine does not say.

    `queued_seconds` is when the request was queued, after the first one of its batch.

    `text` is what the reader sees, `thought` what stood in the think block, `raw` both as they came.
    `finish_reason` is "stop" (the model ended its turn), "length" (it was cut off) or "tool_calls".
    `top_logprobs` holds per output token a dict of token id -> log-probability, the chosen token first: several tokens can
    have the same text (parts of a Korean letter have none of their own), never the same id. A server names tokens by their
    text only; its pairs of text and log-probability stand in `text_logprobs`.
    """

    text: str
    thought: str = ""
    raw: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    token_ids: Sequence[int] = ()
    output_tokens: int = 0
    first_token_seconds: float | None = None
    seconds: float | None = None
    queued_seconds: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    top_logprobs: tuple[dict[int, float], ...] = field(default=(), repr=False)
    text_logprobs: tuple[tuple[tuple[str, float], ...], ...] = field(default=(), repr=False)


class Engine(AbstractContextManager):
    """What every engine offers: the chapter does not care which one answers. Use it in a `with` block."""

    name: str

    def chat(
        self,
        messages: Sequence[Message],
        mode: Mode = "non-reasoning",
        sampling: Sampling | None = None,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> Answer:
        """Answer one conversation through the model's chat template.

        Raises UsageError for an unknown mode, WorkbookError with the reason when there is no answer.
        """
        return self._chat(messages, check_mode(mode), sampling or Sampling(), tools or ())

    @abstractmethod
    def _chat(
        self,
        messages: Sequence[Message],
        thinking: bool,
        sampling: Sampling,
        tools: Sequence[dict[str, Any]],
    ) -> Answer:
        """`chat` with the mode checked and the defaults filled in."""

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids, all prompts as one batch where the engine can."""

    @abstractmethod
    def close(self) -> None:
        """Give back memory, processes and ports. Closing twice is fine."""

    def __exit__(self, *_: object) -> None:
        self.close()


def check_mode(mode: str) -> bool:
    """True for reasoning, the template's `enable_thinking`. Raises UsageError for a mode nobody knows."""
    if mode not in MODES:
        raise UsageError(say("The mode is {mode!r}.", mode=mode), expected=" or ".join(MODES) + ".")
    return mode == "reasoning"


def split_thought(raw: str, *, opened: bool) -> tuple[str, str]:
    """(thought, text) of what a model wrote. `opened`: the prompt had already opened the think block.

    A block that never closes is all thought: the answer was cut off, and there is no text to score. Text before
    an opening tag that the model wrote itself belongs to the answer.
    """
    before, tag, inside = raw.partition(THINK_OPEN)
    # A closing tag without an opening one: some templates open the block in the prompt.
    if not (opened or tag or THINK_CLOSE in raw):
        return "", raw.strip()
    if not tag or (opened and before.strip()):
        before, inside = "", raw
    thought, _, text = inside.partition(THINK_CLOSE)
    return thought.strip(), (before + text).strip()


@dataclass(frozen=True)
class Advice:
    """A Sampling with what it comes from: the temperature as published ("below 0.6"), the remarks, and the source.

    `against_loops` is the presence penalty that the makers name for answers that repeat themselves; of a range it is
    the middle, and None where they name none.
    """

    sampling: Sampling
    as_written: str
    remark: str
    source: str
    against_loops: float | None = None


def recommended(
    model: str, mode: Mode = "non-reasoning", *, max_tokens: int = 256, korean: bool = False
) -> Advice:
    """What to sample with. A folder counts as the catalog's model of the same config, whatever it is called; a model
    outside the catalog, or one without advice, is sampled greedily.

    "below 0.6" becomes greedy: it is the one choice below 0.6 that repeats itself exactly. `korean` takes the
    temperature for conversation in Korean, where the makers give one.
    """
    check_mode(mode)
    greedy = Sampling(max_tokens=max_tokens)
    try:
        record = catalog.record(model)
    except UsageError:
        return Advice(greedy, say("0 (greedy)"), "", say("not in the catalog: greedy"))
    for setting in record.sampling["settings"]:
        if setting["mode"] not in (mode, "both"):
            continue
        sampling, temperature = greedy, float(setting.get("temperature", 0))
        if korean:
            temperature = setting.get("temperature_in_korean", temperature)
        if temperature:
            others = {"top_p": float(setting.get("top_p", 1.0)), "top_k": int(setting.get("top_k", 0))}
            sampling = replace(greedy, temperature=temperature, **others)
        penalty = setting.get("presence_penalty_if_repeating")
        if isinstance(penalty, list):
            penalty = sum(penalty) / len(penalty)
        return Advice(sampling, *catalog.sampling_in_words(setting), record.sampling["source"], penalty)
    return Advice(greedy, say("0 (greedy)"), "", say("the catalog has no advice for this mode: greedy"))


def against_repetition(advice: Advice) -> Advice:
    """The same with the presence penalty the makers name, for answers that go round in circles."""
    if advice.against_loops is None:
        return advice
    return replace(advice, sampling=replace(advice.sampling, presence_penalty=advice.against_loops))


def in_words(sampling: Sampling) -> str:
    """How the next token is drawn, for a table."""
    if sampling.temperature:
        parts = [say("temperature {value:g}", value=sampling.temperature)]
        parts += [say("top_p {value:g}", value=sampling.top_p)] if sampling.top_p < 1 else []
        parts += [say("top_k {value}", value=sampling.top_k)] if sampling.top_k else []
    else:
        parts = [say("greedy")]
    if sampling.presence_penalty:
        parts.append(say("presence penalty {value:g}", value=sampling.presence_penalty))
    return ", ".join(parts)


def goes_round(text: str, longest: int = 200) -> bool:
    """True for a text whose end says the same again and again: at least four times, and for 40 letters."""
    return any(
        text.endswith(text[-length:] * max(4, -(-40 // length)))
        for length in range(1, min(longest, len(text) // 4) + 1)
    )
