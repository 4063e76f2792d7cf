"""Does it fit? Weights, KV cache and what the engine itself needs, against the memory of one GPU.

    budget = utilization * memory                 vLLM's --gpu-memory-utilization, 0.92 by default
    left   = budget - weights - overheads         what the KV cache may take

Weights are exact (the tensors that will be stored, and what vLLM pads of them: `on_card`), the KV cache follows the
engine's own arithmetic (`kv`), the overheads are estimates, and each says on what it rests: vLLM measures them when it
starts.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.kv import Engine, KVCache, kv_cache, longest_context
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.logical import cache_dtype_bytes
from exaone_nb.anatomy.on_card import card_bytes, file_share, unsplittable
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.errors import UsageError
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import Support, on_gpu
from exaone_nb.quantization.schemes import Scheme

MIB = 2**20
CONTEXT_BYTES = 500 * MIB
GRAPH_BYTES_PER_LAYER = 18 * MIB


@dataclass(frozen=True)
class Overhead:
    """Memory that is neither weights nor cache: an estimate, with what it rests on."""

    name: str
    bytes: int
    basis: str


@dataclass(frozen=True)
class MemoryPlan:
    """One GPU's memory (of `tensor_parallel`), in bytes. `kv` is for one request of `context` tokens."""

    gpu: Gpu
    engine: Engine
    support: Support
    context: int
    concurrency: int
    tensor_parallel: int
    batched_tokens: int
    budget: int
    weights: int  # on the card
    in_file: int  # this GPU's share of the file
    overheads: tuple[Overhead, ...]
    kv: KVCache
    cache_options: dict[str, Any] = field(compare=False, repr=False)  # those of `kv_cache`
    asked: dict[str, Any] = field(compare=False, repr=False)  # the arguments of `plan_memory`

    @cached_property
    def longest(self) -> int:
        """The longest context at which all requests fit at once, in tokens."""
        return self._longest(self.concurrency)

    @cached_property
    def longest_for_one(self) -> int:
        """The longest context at which one request fits."""
        return self._longest(1)

    def _longest(self, requests: int) -> int:
        return longest_context(
            self.asked["config"], self.left_for_cache, concurrency=requests, **self.cache_options
        )

    @property
    def overhead(self) -> int:
        """Sum of the estimates."""
        return sum(part.bytes for part in self.overheads)

    @property
    def left_for_cache(self) -> int:
        """Bytes the KV cache may take; negative when the weights alone are too much."""
        return self.budget - self.weights - self.overhead

    @property
    def cache_needed(self) -> int:
        """Bytes of `concurrency` requests of full length at once."""
        return self.kv.bytes_per_request * self.concurrency

    @property
    def fits(self) -> bool:
        """Whether it runs at all, and all requests fit at once at full length (vLLM would otherwise let some wait)."""
        return self.support.answer != "no" and self.cache_needed <= self.left_for_cache

    @property
    def largest_concurrency(self) -> int:
        """Requests of `context` tokens that fit at once."""
        return int(self.kv.concurrency(self.left_for_cache))


def overheads(
    config: dict[str, Any],
    engine: Engine,
    *,
    batched_tokens: int,
    sequences: int,
    tensor_parallel: int = 1,
) -> tuple[Overhead, ...]:
    """Estimates of what is neither weights nor cache: CUDA's context, activations, logits, CUDA graphs."""
    text = text_config(config)
    hidden, vocabulary = fields.size(text, "hidden_size"), fields.size(text, "vocab_size")
    inner = max(
        fields.size(text, name) for name in ("intermediate_size", "intermediate_size_mlp") if text.get(name)
    )
    context = say("300 to 600 MiB is usual; depends on driver and libraries")
    found = [
        Overhead(say("CUDA context"), CONTEXT_BYTES, context),
        Overhead(
            say("activations"),
            2 * batched_tokens * (4 * hidden + 3 * math.ceil(inner / tensor_parallel)),
            say(
                "{tokens:,} tokens x (4 x hidden + 3 x intermediate) x 2 bytes: residual, norms, gate, up, product",
                tokens=batched_tokens,
            ),
        ),
        Overhead(
            say("logits"),
            sequences * vocabulary * 10,
            say(
                "{sequences:,} sequences x vocabulary x (2 + 4 + 4) bytes: logits, their float copy, probabilities",
                sequences=sequences,
            ),
        ),
    ]
    if engine != "transformers":
        graphs = say(
            '{mib} MiB per layer; the log line "Graph capturing finished" has yours',
            mib=GRAPH_BYTES_PER_LAYER // MIB,
        )
        found.append(Overhead(say("CUDA graphs"), fields.layers(text) * GRAPH_BYTES_PER_LAYER, graphs))
    return tuple(found)


def plan_memory(
    config: dict[str, Any],
    scheme: str | Scheme = "BF16",
    gpu: str | Gpu = "L4",
    *,
    engine: Engine = "vllm",
    context: int | None = None,
    concurrency: int = 1,
    tensor_parallel: int = 1,
    kv_dtype_bytes: int | None = None,
    batched_tokens: int | None = None,
    utilization: float = 0.92,
    prediction: Prediction | None = None,
    in_file: Prediction | None = None,
) -> MemoryPlan:
    """Weights, overheads, KV cache and what fits on `gpu`.

    `context` defaults to the model's longest, `batched_tokens` to what vLLM 0.32 chooses on that card (offline use; with
    async scheduling two batches are in flight), `kv_dtype_bytes` to 2 or to what vLLM makes of the config's
    kv_cache_scheme. `prediction` are the tensors as loaded, `in_file` as stored, where these are others. `utilization`
    counts for vLLM and SGLang; transformers may use all of the memory. Raises UsageError for arguments out of range.
    """
    asked = dict(locals())
    card = find_gpu(gpu) if isinstance(gpu, str) else gpu
    if not isinstance(utilization, int | float) or not 0 < utilization <= 1:
        got = say("The memory utilization is {utilization!r}.", utilization=utilization)
        raise UsageError(got, expected="above 0 and at most 1.")
    fields.whole(say("The concurrency"), concurrency)
    if context is not None:
        context_limit(config, context, "context")
    prediction = prediction or predict_checkpoint(config, scheme)
    tokens = tokens_at_once = batched_tokens or card.batched_tokens()
    options: dict[str, Any] = {
        "engine": engine,
        "max_num_batched_tokens": tokens,
        "concurrent_batches": 2,
        "dtype_bytes": kv_dtype_bytes or (cache_dtype_bytes(config) if engine == "vllm" else 2),
        "tensor_parallel": tensor_parallel,
    }
    cache = kv_cache(config, max_model_len=context, **options)
    sequences = 1024 if card.is_large else 256
    share = utilization
    if engine == "transformers":
        tokens_at_once, sequences, share = min(cache.max_model_len, tokens), concurrency, 1.0
    parts = overheads(
        config,
        engine,
        batched_tokens=tokens_at_once,
        sequences=sequences,
        tensor_parallel=tensor_parallel,
    )
    support = on_gpu(scheme, card)
    in_file = weights = file_share(config, in_file or prediction, tensor_parallel)
    if engine == "vllm":
        weights = card_bytes(config, prediction, support.kernel, tensor_parallel)
        if problem := unsplittable(config, scheme, tensor_parallel):
            support = replace(support, answer="no", reason=problem)
    return MemoryPlan(
        gpu=card,
        engine=engine,
        support=support,
        context=cache.max_model_len,
        concurrency=concurrency,
        tensor_parallel=tensor_parallel,
        batched_tokens=tokens,
        budget=math.ceil(card.memory_bytes * share),
        weights=weights,
        in_file=in_file,
        overheads=parts,
        kv=cache,
        cache_options=options,
        asked=asked | {"prediction": prediction},
    )
