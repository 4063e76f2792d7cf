"""What a server says of its own load at /metrics: answers under way and waiting, and how full its cache is.

The names are those of vLLM 0.32 (v1/metrics/loggers.py), of SGLang with `--enable-metrics`
(srt/observability/metrics_collector.py) and of llama.cpp with `--metrics` (server-context.cpp, 2026-10), which says
nothing of its cache. Ollama has no such page.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

# running, waiting, share of the cache, answers that lost their place in it.
NAMES = (
    (
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
    ),
    ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage", ""),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred", "", ""),
)


@dataclass(frozen=True)
class ServerLoad:
    """Answers under way, answers that wait, the share of the cache in use, and how often one lost its place there."""

    running: float
    waiting: float
    cache: float
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
        running, cache = (max(getattr(one, name) for one in seen) for name in ("running", "cache"))
        return cls(running, waiting, cache, seen[-1].preempted - seen[0].preempted)


def server_load(address: str, timeout: float = 5.0) -> ServerLoad | None:
    """What the server behind `address` (ending in /v1) says now; None where it says nothing that we know.

    Raises WorkbookError when it cannot be reached.
    """
    import httpx

    try:
        reply = httpx.get(re.sub(r"/v1/?$", "", address) + "/metrics", timeout=timeout)
    except httpx.HTTPError as error:
        raise WorkbookError(say("{address} cannot be reached.", address=address)) from error
    return read_load(reply.text) if reply.status_code == 200 else None


def read_load(text: str) -> ServerLoad | None:
    """The load in a page of Prometheus' text format; several engines behind one server count together."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        if match := re.match(r"([a-zA-Z_][\w:]*)(?:\{.*\})? ([0-9.eE+-]+)(?: \d+)?$", line):
            found.setdefault(match[1], []).append(float(match[2]))
    for running, waiting, cache, preempted in NAMES:
        if running in found:
            sums = [sum(found.get(name, [0.0])) for name in (running, waiting, preempted)]
            return ServerLoad(sums[0], sums[1], max(found.get(cache, [0.0])), sums[2])
    return None
