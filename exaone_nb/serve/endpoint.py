"""Any OpenAI-compatible server by address, through the `openai` client: ours, or one that runs already.

Mode is passed as `chat_template_kwargs`, which vLLM and SGLang understand. What goes wrong on the way (no server, a
wrong key, too many requests, a web page instead of JSON) is said in one sentence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.serve.answers import (
    Answer,
    Engine,
    Message,
    Mode,
    Sampling,
    ToolCall,
    check_mode,
    split_thought,
)


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer: `seconds` since the request, and text or thought."""

    seconds: float
    text: str = ""
    thought: str = ""


class EndpointEngine(Engine):
    """Talks to `address` (ending in /v1). An empty `model` takes the first that the server names."""

    name = "endpoint"

    def __init__(
        self, address: str, key: str = "", *, model: str = "", timeout: float = 120.0, retries: int = 0
    ) -> None:
        if not address.startswith(("http://", "https://")):
            raise UsageError(f"The address is {address!r}.", expected="http://HOST:PORT/v1.")
        from openai import OpenAI

        self.address = address
        # A local server without a key still wants the header to be something.
        self._client = OpenAI(base_url=address, api_key=key or "none", timeout=timeout, max_retries=retries)
        self._model = model

    @property
    def model(self) -> str:
        if not self._model:
            with self._explained():
                names = [entry.id for entry in self._client.models.list().data]
            if not names:
                raise WorkbookError(f"{self.address} serves no model.")
            self._model = names[0]
        return self._model

    def _chat(
        self, messages: Sequence[Message], thinking: bool, sampling: Sampling, tools: Sequence[dict[str, Any]]
    ) -> Answer:
        started = time.perf_counter()
        with self._explained():
            reply = self._client.chat.completions.create(**self._request(messages, thinking, sampling, tools))
            return self._answer(reply, thinking, time.perf_counter() - started)

    def stream(
        self, messages: Sequence[Message], mode: Mode = "non-reasoning", sampling: Sampling | None = None
    ) -> Iterator[Piece]:
        """The answer piece by piece as it is written."""
        request = self._request(messages, check_mode(mode), sampling or Sampling(), ())
        started = time.perf_counter()
        with self._explained():
            for chunk in self._client.chat.completions.create(**request, stream=True):
                for choice in chunk.choices:
                    delta = choice.delta
                    thought = (
                        getattr(delta, "reasoning", None) or getattr(delta, "reasoning_content", None) or ""
                    )
                    if delta.content or thought:
                        yield Piece(time.perf_counter() - started, delta.content or "", thought)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling | None = None) -> list[Answer]:
        """Continue token ids through /v1/completions, one request holding all prompts."""
        sampling = sampling or Sampling()
        started = time.perf_counter()
        with self._explained():
            reply = self._client.completions.create(
                model=self.model,
                prompt=[list(prompt) for prompt in prompts],
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
                extra_body={"ignore_eos": True} if sampling.ignore_eos else {},
            )
            seconds = time.perf_counter() - started
            choices = sorted(reply.choices, key=lambda choice: choice.index)
            # The server counts tokens of the whole request only; with one prompt that is the answer's own count.
            count = reply.usage.completion_tokens if reply.usage and len(choices) == 1 else 0
            return [
                Answer(
                    c.text.strip(),
                    raw=c.text,
                    finish_reason=c.finish_reason or "",
                    output_tokens=count,
                    seconds=seconds,
                )
                for c in choices
            ]

    def close(self) -> None:
        self._client.close()

    def _request(self, messages: Any, thinking: bool, sampling: Sampling, tools: Any) -> dict[str, Any]:
        extra: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": thinking}}
        if sampling.top_k:
            extra["top_k"] = sampling.top_k
        request: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "seed": sampling.seed,
            "extra_body": extra,
        }
        if tools:
            request["tools"] = list(tools)
        if sampling.json_schema:
            schema = {"name": "answer", "schema": sampling.json_schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _answer(self, reply: Any, thinking: bool, seconds: float) -> Answer:
        if not getattr(reply, "choices", None):
            raise WorkbookError(
                f"{self.address} answered with something that is not a chat completion: {str(reply)[:120]!r}",
                expected="an OpenAI-compatible server; the address usually ends in /v1.",
            )
        choice = reply.choices[0]
        message = choice.message
        thought = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None) or ""
        text = message.content or ""
        if not thought:
            thought, text = split_thought(text, opened=False)
        calls = tuple(
            ToolCall(call.function.name, call.function.arguments, call.id)
            for call in message.tool_calls or ()
        )
        usage = reply.usage
        return Answer(
            text=text.strip(),
            thought=thought.strip(),
            raw=message.content or "",
            finish_reason=choice.finish_reason or "",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else 0,
            seconds=seconds,
            tool_calls=calls,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import httpx
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise WorkbookError(
                f"{self.address} did not answer in time.",
                remedy="Give it a longer timeout, or ask for fewer tokens.",
            ) from error
        except openai.APIConnectionError as error:
            raise WorkbookError(
                f"{self.address} cannot be reached, or the server ended while it was answering.",
                expected="a running server.",
                remedy="Start it, check the port, and look at its log.",
            ) from error
        except openai.APIStatusError as error:
            raise self._status(error) from error
        except (openai.OpenAIError, httpx.HTTPError, ValueError, AttributeError) as error:
            raise WorkbookError(
                f"{self.address} answered with something that is not JSON of the OpenAI kind ({type(error).__name__}).",
                expected="an OpenAI-compatible server; the address usually ends in /v1.",
            ) from error

    def _status(self, error: Any) -> WorkbookError:
        code = error.status_code
        what, remedy = {
            401: ("refused the key", "Pass the server's key; ours is server.key."),
            403: ("refused the key", "Pass a key with the right to this model."),
            404: ("knows no such path or model", "Check that the address ends in /v1, and the model's name."),
            429: ("wants fewer requests", "Wait, or raise retries=; the client then waits between tries."),
        }.get(code, ("failed", "Look at the server's log.") if code >= 500 else ("refused the request", ""))
        body = error.body if isinstance(error.body, dict) else {}
        reason = str(body.get("message") or "")[:300]
        page = "<html" in str(getattr(error.response, "text", ""))[:500].lower()
        detail = f": {reason}" if reason else " and sent a web page" if page else ""
        return WorkbookError(f"{self.address} {what} (HTTP {code}){detail}.", remedy=remedy)
