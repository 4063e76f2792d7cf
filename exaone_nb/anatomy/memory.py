"""Does it fit? Weights, KV cache and what the engine itself needs, against the memory of one GPU.

    budget = utilization * memory                 vLLM's --gpu-memory-utilization, 0.92 by default
    left   = budget - weights - overheads         what the KV cache may take

Weights are exact (the tensors that will be stored), the KV cache follows the engine's own arithmetic (`kv`), the
overheads are estimates, and each says on what it rests: vLLM measures them when it starts.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.kv import Engine, KVCache, kv_cache, longest_context
from exaone_nb.anatomy.layouts import expected_tensors, text_config
from exaone_nb.anatomy.logical import cache_dtype_bytes
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.errors import UsageError
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.config import read_quantization
from exaone_nb.quantization.kernels import Support, on_gpu, split_problem
from exaone_nb.quantization.schemes import find_scheme

MIB = 2**20
# Components that tensor parallelism divides. vLLM divides the matrices named so by inputs and adds the parts up, all
# others by outputs.
SPLIT = {"attention", "mlp", "experts", "shared_experts", "embedding", "head"}
BY_INPUTS = ("o_proj", "down_proj", "out_proj", "c_proj")
CONTEXT_BYTES = 500 * MIB
GRAPH_BYTES_PER_LAYER = 18 * MIB
SMALL_BATCH = 2048
ACTIVATIONS = "activations"


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
    weights: int
    overheads: tuple[Overhead, ...]
    kv: KVCache
    longest: int = 0
    longest_for_one: int = 0

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

    def advice(self) -> list[str]:
        """What to try when it does not fit, most effective first; empty when it fits, or does not run at any size."""
        if self.fits or self.support.answer == "no":
            return []
        tips = []
        if self.left_for_cache <= 0:
            tips.append(
                say("The weights do not fit: choose a scheme with fewer bits, a larger GPU, or more GPUs.")
            )
        else:
            if self.longest:
                tips.append(say("Shorten the context to {longest:,} tokens.", longest=self.longest))
            if self.largest_concurrency:
                tips.append(
                    say("Serve {n} of these requests at once; the others wait.", n=self.largest_concurrency)
                )
            activations = next(part.bytes for part in self.overheads if part.name == ACTIVATIONS)
            spare = activations * (1 - SMALL_BATCH / self.batched_tokens)
            if self.engine == "vllm" and spare > 0:
                tips.append(
                    say(
                        "Batch fewer tokens (--max-num-batched-tokens {tokens}): about {gib:.1f} GiB of activations "
                        "less, and smaller windows in flight.",
                        tokens=SMALL_BATCH,
                        gib=spare / 2**30,
                    )
                )
            if self.kv.dtype_bytes > 1:
                tips.append(say("Keep the cache in FP8: half the bytes (--kv-cache-dtype fp8)."))
        if self.kv.windows_ignored:
            tips.append(say("vLLM drops what is outside the window; see --engine vllm."))
        return tips


def weights_per_gpu(prediction: Prediction, tensor_parallel: int = 1) -> int:
    """Bytes of weights on each of `tensor_parallel` GPUs: matrices are split, norms and routers are copied."""
    split = sum(size for name, size in prediction.by_component().items() if name in SPLIT)
    return math.ceil(split / tensor_parallel) + prediction.data_bytes - split


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
        Overhead("CUDA context", CONTEXT_BYTES, context),
        Overhead(
            ACTIVATIONS,
            2 * batched_tokens * (4 * hidden + 3 * math.ceil(inner / tensor_parallel)),
            say(
                "{tokens:,} tokens x (4 x hidden + 3 x intermediate) x 2 bytes: residual, norms, gate, up, product",
                tokens=batched_tokens,
            ),
        ),
        Overhead(
            "logits",
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
        found.append(Overhead("CUDA graphs", fields.layers(text) * GRAPH_BYTES_PER_LAYER, graphs))
    return tuple(found)


def _unsplittable(config: dict[str, Any], scheme: str, tensor_parallel: int) -> str:
    """Why vLLM refuses to divide the matrices over the GPUs without cutting what shares a scale; "" when it can.

    A config that is quantized already decides for itself; otherwise all Linear modules have `scheme`, the head none.
    """
    if tensor_parallel == 1:
        return ""
    stored, named = read_quantization(config), find_scheme(scheme)
    for spec in expected_tensors(config):
        if spec.kind != "linear" or len(spec.shape) != 2:
            continue
        given = stored.scheme_for(spec.module, spec.kind) if stored else named
        if given is not None:
            by_inputs = spec.module.endswith(BY_INPUTS)
            if problem := split_problem(spec.module, spec.shape, given, tensor_parallel, by_inputs):
                return problem
    return ""


def plan_memory(
    config: dict[str, Any],
    scheme: str = "BF16",
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
) -> MemoryPlan:
    """Weights, overheads, KV cache and what fits on `gpu`.

    `context` defaults to the model's longest, `batched_tokens` to what vLLM 0.32 chooses on that card (offline use; with
    async scheduling two batches are in flight), `kv_dtype_bytes` to 2 or to what vLLM makes of the config's
    kv_cache_scheme. `utilization` counts for vLLM and SGLang; transformers may use all of the memory. Raises UsageError
    for arguments out of range.
    """
    card = find_gpu(gpu) if isinstance(gpu, str) else gpu
    if not isinstance(utilization, int | float) or not 0 < utilization <= 1:
        raise UsageError(f"The memory utilization is {utilization!r}.", expected="above 0 and at most 1.")
    fields.whole("The concurrency", concurrency)
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
    if problem := _unsplittable(config, scheme, tensor_parallel):
        support = replace(support, answer="no", reason=problem)
    plan = MemoryPlan(
        gpu=card,
        engine=engine,
        support=support,
        context=cache.max_model_len,
        concurrency=concurrency,
        tensor_parallel=tensor_parallel,
        batched_tokens=tokens,
        budget=math.ceil(card.memory_bytes * share),
        weights=weights_per_gpu(prediction, tensor_parallel),
        overheads=parts,
        kv=cache,
    )
    left = plan.left_for_cache
    return replace(
        plan,
        longest=longest_context(config, left, concurrency=concurrency, **options),
        longest_for_one=longest_context(config, left, **options),
    )
