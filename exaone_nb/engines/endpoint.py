"""Any OpenAI-compatible server by address, through the `openai` client: ours, or one that runs already.

Servers differ (`exaone_nb.engines.dialects`); the client asks the server which one it is and speaks as it does. A server
started by somebody else may split thought from answer wrongly, or not at all, and leave a tool call in the text: what
came is set right by what was asked for. A prompt that the server cut is noticed where a tokenizer is given. What goes
wrong on the way (no server, a wrong key, too many requests, a web page instead of JSON) is said in one sentence.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.pool import ThreadPool
from typing import Any, Self
from urllib.parse import urlsplit

from exaone_nb.conversation.answers import (
    Answer,
    Engine,
    Message,
    Mode,
    Sampling,
    ToolCall,
    check_mode,
    split_thought,
)
from exaone_nb.conversation.prompt import prompt_ids
from exaone_nb.conversation.tools import with_tool_calls
from exaone_nb.engines.dialects import Dialect, ServedModel, ServerLoad, dialect_of, is_ready, server_load
from exaone_nb.engines.refusals import explained
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say

# Prompts of one `generate` that are under way together; a server holds about as many in a batch.
AT_ONCE = 32


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer: `seconds` since the request, and text or thought."""

    seconds: float
    text: str = ""
    thought: str = ""


class EndpointEngine(Engine):
    """Talks to `address` (ending in /v1). An empty `model` takes the first that the server names.

    With the model's `tokenizer` the prompts are counted here too: a server that read less than it was sent has cut the
    prompt, which is an error then.
    """

    name = "endpoint"

    def __init__(
        self,
        address: str,
        key: str = "",
        *,
        model: str = "",
        timeout: float = 120.0,
        retries: int = 0,
        tokenizer: Any = None,
    ) -> None:
        try:
            parts = urlsplit(str(address))
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a bracket that is not closed, a port that is no number
            good = False
        if not good:
            got = say("The address is {address!r}.", address=address)
            raise UsageError(got, expected="http://HOST:PORT/v1.")
        from openai import OpenAI

        self.address = address
        # A local server without a key still wants the header to be something.
        self._client = OpenAI(base_url=address, api_key=key or "none", timeout=timeout, max_retries=retries)
        self._key, self._model, self._tokenizer = key, model, tokenizer

    @property
    def model(self) -> str:
        if not self._model:
            names = [served.name for served in self.models()]
            if not names:
                raise WorkbookError(say("{address} serves no model.", address=self.address))
            self._model = names[0]
        return self._model

    def models(self) -> list[ServedModel]:
        """The models that the server offers, with the context it gives them."""
        with explained(self.address):
            return [ServedModel.of(entry.model_dump()) for entry in self._client.models.list().data]

    @cached_property
    def dialect(self) -> Dialect:
        """How this server is spoken to, by what it says of its models."""
        try:
            owners = [served.owner for served in self.models()]
        except (
            WorkbookError
        ):  # it does not list them; a server that is not there will say so when it is asked
            owners = []
        return dialect_of(owners[0] if owners else "")

    def load(self) -> ServerLoad | None:
        """What the server says of its load now; None where it says nothing."""
        return server_load(self.address, self._key)

    def wait(self, seconds: float = 300.0) -> Self:
        """Wait until the server answers. Raises WorkbookError when it does not within `seconds`."""
        last = time.monotonic() + seconds
        while not is_ready(self.address, self._key):
            if time.monotonic() > last:
                got = say("{address} did not answer within {s:g} s.", address=self.address, s=seconds)
                raise WorkbookError(got, remedy="Look at its log; a large model takes minutes to load.")
            time.sleep(0.5)
        return self

    def _chat(
        self, messages: Sequence[Message], thinking: bool, sampling: Sampling, tools: Sequence[dict[str, Any]]
    ) -> Answer:
        started = time.perf_counter()
        with explained(self.address):
            reply = self._client.chat.completions.create(**self._request(messages, thinking, sampling, tools))
            answer = self._chat_answer(reply, thinking, time.perf_counter() - started, bool(tools))
        return self._uncut(answer, messages, thinking, tools)

    def stream(
        self, messages: Sequence[Message], mode: Mode = "non-reasoning", sampling: Sampling | None = None
    ) -> Iterator[Piece]:
        """The answer piece by piece as it is written."""
        for seconds, chunk in self._chunks(messages, mode, sampling):
            for choice in chunk.choices:
                text, thought = choice.delta.content or "", _thought(choice.delta)
                if text or thought:
                    yield Piece(seconds, text, thought)

    def timed(
        self, messages: Sequence[Message], mode: Mode = "non-reasoning", sampling: Sampling | None = None
    ) -> Answer:
        """The answer with the time of its first token, as a user sees it: streamed.

        Its tokens are those that the server counts; a server that does not count them is taken to send one a piece.
        """
        text, thought, reason, first, last, pieces, used = "", "", "", None, 0.0, 0, None
        for seconds, chunk in self._chunks(messages, mode, sampling):
            used = getattr(chunk, "usage", None) or used
            for choice in chunk.choices:
                written, considered = choice.delta.content or "", _thought(choice.delta)
                text, thought, reason = text + written, thought + considered, choice.finish_reason or reason
                if written or considered:
                    first, last, pieces = first or seconds, seconds, pieces + 1
        count = {"prompt_tokens": used.prompt_tokens} if used else {}
        tokens = used.completion_tokens if used else pieces
        answer = Answer(text.strip(), thought.strip(), thought + text, reason, output_tokens=tokens, **count)
        answer = replace(answer, first_token_seconds=first, seconds=last)
        return self._uncut(answer, messages, check_mode(mode), ())

    def _uncut(self, answer: Answer, messages: Any, thinking: bool, tools: Any) -> Answer:
        """The answer, if the server read the whole prompt as far as can be told. Raises WorkbookError if it did not."""
        if self._tokenizer is None or not answer.prompt_tokens:
            return answer
        sent = len(prompt_ids(self._tokenizer, messages, thinking, tools))
        # Templates of the same model differ by a few tokens from server to server.
        if answer.prompt_tokens >= 0.9 * sent - 8:
            return answer
        fields = {"address": self.address, "read": answer.prompt_tokens, "sent": sent}
        raise WorkbookError(
            say("{address} cut the prompt: it read {read:,} of {sent:,} tokens.", **fields),
            remedy="Start the server with a longer context, or shorten the conversation.",
        )

    def _chunks(self, messages: Any, mode: Mode, sampling: Sampling | None) -> Iterator[tuple[float, Any]]:
        """What a streamed answer is sent in, each with its seconds since the request; the usage comes last."""
        request = self._request(messages, check_mode(mode), sampling or Sampling(), ())
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        started = time.perf_counter()
        with explained(self.address):
            for chunk in self._client.chat.completions.create(**request):
                yield time.perf_counter() - started, chunk

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids through /v1/completions, many at once; the server makes them a batch.

        Every prompt is a request of its own, because a server counts the tokens of a whole request only. A thought that
        the prompt opened is not told apart: a token id does not say what it stands for here. Raises UsageError for
        log-probabilities and a schema, which are only asked for in `chat`.
        """
        sampling = sampling or Sampling()
        if sampling.logprobs is not None or sampling.json_schema:
            raise UsageError(
                "generate() of an endpoint has no log-probabilities and no JSON schema.",
                expected="chat(), which has both.",
            )
        model = self.model

        def work(task: tuple[int, Sequence[int]]) -> tuple[int, Answer]:
            return task[0], self._complete(model, task[1], sampling)

        # Its threads are daemons: after Ctrl-C, or a failure, no request in flight keeps the program from ending.
        with ThreadPool(max(min(AT_ONCE, len(prompts)), 1)) as pool:
            found = dict(pool.imap_unordered(work, enumerate(prompts)))
        return [found[number] for number in range(len(prompts))]

    def _complete(self, model: str, prompt: Sequence[int], sampling: Sampling) -> Answer:
        started = time.perf_counter()
        with explained(self.address):
            options = _options(sampling, **dict(self.dialect.always))
            reply = self._client.completions.create(model=model, prompt=list(prompt), **options)
            seconds, (choice,) = time.perf_counter() - started, reply.choices
            return _answer(reply, seconds, *reversed(split_thought(choice.text, opened=False)), choice.text)

    def close(self) -> None:
        self._client.close()

    def _request(self, messages: Any, thinking: bool, sampling: Sampling, tools: Any) -> dict[str, Any]:
        request = {"model": self.model, "messages": list(messages)}
        request |= _options(sampling, **dict(self.dialect.always), **self.dialect.switch(thinking))
        if sampling.logprobs is not None:
            request |= {"logprobs": True, "top_logprobs": sampling.logprobs}
        if tools:
            request["tools"] = list(tools)
        if sampling.json_schema:
            schema = {"name": "answer", "schema": sampling.json_schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _chat_answer(self, reply: Any, thinking: bool, seconds: float, tools: bool) -> Answer:
        if not getattr(reply, "choices", None):
            got = say(
                "{address} answered with something that is not a chat completion: {reply!r}",
                address=self.address,
                reply=str(reply)[:120],
            )
            raise WorkbookError(got, expected="an OpenAI-compatible server; the address usually ends in /v1.")
        choice = reply.choices[0]
        message = choice.message
        thought, content = _thought(message), message.content or ""
        raw = content or thought
        if not thought:
            # Without a parser the thought comes as content, and one that was cut off has no closing tag.
            thought, content = split_thought(content, opened=thinking and choice.finish_reason == "length")
        elif not thinking and not content.strip() and not message.tool_calls:
            # The parser trap: an answer without a think block was taken for thought, and a tool call in it unread.
            thought, content = split_thought(thought, opened=False)
        calls = message.tool_calls or ()
        answer = replace(
            _answer(reply, seconds, content.strip(), thought.strip(), raw),
            tool_calls=tuple(ToolCall(c.function.name, c.function.arguments, c.id) for c in calls),
            text_logprobs=_named(choice.logprobs),
        )
        # A server without a tool parser leaves the call in the text.
        return with_tool_calls(answer) if tools and not calls else answer


def _options(sampling: Sampling, **extra: Any) -> dict[str, Any]:
    """What both of OpenAI's interfaces call alike, and in `extra_body` what vLLM and SGLang know beside that."""
    extra |= {name: value for name in ("top_k", "ignore_eos") if (value := getattr(sampling, name))}
    same = ("max_tokens", "temperature", "top_p", "presence_penalty", "seed")
    return {**{name: getattr(sampling, name) for name in same}, "extra_body": extra}


def _thought(message: Any) -> str:
    """The thought in a message or a piece of one, under either of the names that servers give it."""
    return getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None) or ""


def _answer(reply: Any, seconds: float, text: str, thought: str, raw: str) -> Answer:
    """What both of OpenAI's interfaces tell alike of an answer."""
    answer = Answer(text, thought, raw, reply.choices[0].finish_reason or "", seconds=seconds)
    if (used := reply.usage) is None:
        return answer
    return replace(answer, prompt_tokens=used.prompt_tokens, output_tokens=used.completion_tokens)


def _named(logprobs: Any) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Per token the chosen one and its alternatives as (text, log-probability): a server gives no token ids."""
    steps = []
    for entry in getattr(logprobs, "content", None) or ():
        chosen = (entry.token, entry.logprob)
        others = [(other.token, other.logprob) for other in entry.top_logprobs or ()]
        if chosen in others:
            others.remove(chosen)
        steps.append((chosen, *others))
    return tuple(steps)
