"""What differs between servers that all call themselves OpenAI-compatible.

How thinking is switched on and off, which of our options they do not know, what becomes of a prompt that is too long, and
what they say of their own load. A server is recognised by what it writes as the owner of its models (`owned_by` in
/v1/models). What stands here of vLLM and llama.cpp was tried against the servers themselves; the others were read, some in excerpts, at the
version in `source`, and never run here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say


@dataclass(frozen=True)
class Dialect:
    """One kind of server. `owner` is how it is recognised; `effort`: thinking is a `reasoning_effort` there, not an
    argument of the chat template.

    `always` are fields that every request needs, because the server's own defaults would leave out tokens that our
    sampling keeps. `ignores` names options of `Sampling` that have no effect there. `too_long` says what becomes of a
    prompt that does not fit. `load` are the names under which /metrics tells of answers under way, answers that wait, the
    share of the cache in use, and answers that lost their place in it; "" where it does not.
    """

    name: str
    owner: str
    source: str
    too_long: str
    effort: bool = False
    always: tuple[tuple[str, Any], ...] = ()
    ignores: tuple[str, ...] = ()
    load: tuple[str, str, str, str] | None = None

    def switch(self, thinking: bool) -> dict[str, Any]:
        """The fields of a request that switch thinking on or off."""
        if self.effort:
            return {"reasoning_effort": "medium" if thinking else "none"}
        return {"chat_template_kwargs": {"enable_thinking": thinking}}


REFUSED = say("refused, with the two lengths")
UNKNOWN = Dialect("unknown", "", "taken to be like vLLM", "not known")
DIALECTS = (
    Dialect(
        "vLLM",
        "vllm",
        "0.32.0, tried",
        REFUSED,
        always=(("top_k", 0), ("min_p", 0.0)),
        load=(
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "vllm:kv_cache_usage_perc",
            "vllm:num_preemptions_total",
        ),
    ),
    Dialect(
        "llama.cpp",
        "llamacpp",
        "xllamacpp 2026.10, tried",
        REFUSED,
        always=(("top_k", 0), ("min_p", 0.0)),
        load=("llamacpp:requests_processing", "llamacpp:requests_deferred", "", ""),
    ),
    Dialect(
        "SGLang",
        "sglang",
        "0.5.23, srt/entrypoints/openai and srt/observability; in part from search excerpts",
        "refused, or cut where it was started with --allow-auto-truncate",
        load=("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage", ""),
    ),
    Dialect(
        "TensorRT-LLM",
        "tensorrt_llm",
        "1.2, serve/openai_protocol.py, read",
        "not known",
    ),
    Dialect(
        "Ollama",
        "library",
        "docs.ollama.com/api/openai-compatibility and context-length, 2026-11, search excerpts",
        "cut without a word to the context it was started with (OLLAMA_CONTEXT_LENGTH)",
        effort=True,
        ignores=("top_k", "ignore_eos"),
    ),
)


def dialect_of(owner: str) -> Dialect:
    """The dialect of a server by the owner that it writes beside its models; `UNKNOWN` for any other."""
    return next((one for one in DIALECTS if one.owner == owner), UNKNOWN)


@dataclass(frozen=True)
class ServedModel:
    """A model that a server offers. `context` is the longest prompt with its answer in tokens, None where it is not said."""

    name: str
    owner: str
    context: int | None

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """An entry of /v1/models: vLLM and SGLang say `max_model_len`, llama.cpp `meta.n_ctx`."""
        meta = entry.get("meta")
        context = entry.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
        known = context if isinstance(context, int) else None
        return cls(str(entry.get("id", "")), str(entry.get("owned_by", "")), known)


@dataclass(frozen=True)
class ServerLoad:
    """Answers under way, answers that wait, the share of the cache in use (None: not said), and lost places in it."""

    running: float
    waiting: float
    cache: float | None = None
    preempted: float = 0.0

    @classmethod
    def worst(cls, seen: Iterable[Self]) -> Self | None:
        """The most under way, the fullest cache, and as many waiting as a quarter of the looks saw; None without looks.

        Every answer waits for a moment until the next step begins: only a queue that lasts counts. Preemptions are those
        since the first look.
        """
        seen = list(seen)
        if not seen:
            return None
        waiting = sorted(one.waiting for one in seen)[int(0.75 * len(seen))]
        cache = max((one.cache for one in seen if one.cache is not None), default=None)
        running = max(one.running for one in seen)
        return cls(running, waiting, cache, seen[-1].preempted - seen[0].preempted)


def root(address: str) -> str:
    """The address without the /v1 at its end."""
    return re.sub(r"/v1/?$", "", address)


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key or 'none'}"}


def is_ready(address: str, key: str = "", timeout: float = 2.0) -> bool:
    """Whether the server at `address` (ending in /v1) answers: its /health, or its list of models where it has none.

    llama.cpp's /health says 503 while it loads.
    """
    import httpx

    try:
        reply = httpx.get(root(address) + "/health", timeout=timeout)
        if reply.status_code in (404, 405):
            reply = httpx.get(address.rstrip("/") + "/models", headers=_bearer(key), timeout=timeout)
        return reply.status_code == 200
    except httpx.HTTPError:  # it is not listening yet
        return False


def server_load(address: str, key: str = "", timeout: float = 5.0) -> ServerLoad | None:
    """What the server behind `address` (ending in /v1) says now; None where it says nothing that we know.

    Raises WorkbookError when it cannot be reached.
    """
    import httpx

    try:
        # llama.cpp wants its key here too.
        reply = httpx.get(root(address) + "/metrics", headers=_bearer(key), timeout=timeout)
    except httpx.HTTPError as error:
        raise WorkbookError(say("{address} cannot be reached.", address=address)) from error
    return read_load(reply.text) if reply.status_code == 200 else None


def read_load(text: str) -> ServerLoad | None:
    """The load in a page of Prometheus' text format; several engines behind one server count together."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        if match := re.match(r"([a-zA-Z_][\w:]*)(?:\{.*\})? ([0-9.eE+-]+)(?: \d+)?$", line):
            found.setdefault(match[1], []).append(float(match[2]))
    for dialect in DIALECTS:
        if dialect.load and dialect.load[0] in found:
            running, waiting, cache, preempted = (found.get(name, []) for name in dialect.load)
            return ServerLoad(sum(running), sum(waiting), max(cache, default=None), sum(preempted))
    return None
