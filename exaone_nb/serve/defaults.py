"""Defaults that depend on the model's size: threads, the longest answer, and the context that holds it.

A chapter's parameter of 0 (THREADS, ANSWER_TOKENS, MAX_MODEL_LEN) asks for these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone_nb import catalog
from exaone_nb.engines.environment import core_count, has_gpu
from exaone_nb.engines.options import context_limit
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import whole

# Below this many parameters a step is bound by overhead; a second thread then waits more than it works.
TINY_BELOW = 50_000_000
# nano's thoughts take a line. Those of a real model take pages, and on a CPU pages take minutes.
TINY_ANSWER, CPU_ANSWER, GPU_ANSWER = 160, 512, 4096
# The longest prompt of the chapter: two tool schemas, a call and its result.
PROMPT_ROOM = 1024


def is_tiny(config: dict[str, Any]) -> bool:
    """Whether a model is one whose steps wait for Python rather than for memory; False where its layers are unknown."""
    from exaone_nb.anatomy.layouts import expected_tensors

    plain = {name: value for name, value in config.items() if name != "quantization_config"}
    try:
        return sum(spec.elements for spec in expected_tensors(plain)) < TINY_BELOW
    except WorkbookError:
        return False


def threads_for(config: dict[str, Any], threads: int = 0) -> int:
    """`threads`, or for 0 one for a tiny model and every core for others."""
    return threads or (1 if is_tiny(config) else core_count())


@dataclass(frozen=True)
class Sizes:
    """What the engines of one chapter are opened with; `max_model_len` holds prompt and answer."""

    threads: int
    answer_tokens: int
    max_model_len: int


def sizes_for(model: str, *, threads: int = 0, answer_tokens: int = 0, max_model_len: int = 0) -> Sizes:
    """Sizes for `model`, 0 meaning what suits it. An answer never takes more than the room its prompt leaves.

    Raises UsageError for numbers below 0, and for a context longer than the model's.
    """
    given = {"threads": threads, "answer_tokens": answer_tokens, "max_model_len": max_model_len}
    for name, value in given.items():
        whole(name, value, least=0)
    config = catalog.read_config(catalog.weights_folder(model) / "config.json")
    held = context_limit(config, max_model_len)
    by_size = TINY_ANSWER if is_tiny(config) else GPU_ANSWER if has_gpu() else CPU_ANSWER
    wanted = answer_tokens or by_size
    room = max_model_len or min(max(2048, wanted + PROMPT_ROOM), held)
    return Sizes(threads_for(config, threads), min(wanted, max(room - PROMPT_ROOM, room // 2)), room)
