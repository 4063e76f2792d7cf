"""The KV cache an engine keeps for a model: bytes per request, what fits, and for how many requests at once.

vLLM cuts the cache into blocks of `block_size` tokens. One block of one layer is a page:

    page = block_size * 2 * (num_key_value_heads / tensor_parallel) * head_dim * bytes per value

Layers that look equally far back share a block table and form groups of equal size; a hybrid model such as
EXAONE 4.0 32B (48 sliding, 16 full) becomes four groups of 16. A full-attention group needs blocks for the whole
context, a sliding one for the window plus the tokens scheduled but not yet finished ("in flight"), which is why
the same model needs more cache when the scheduler may batch more tokens.

    blocks, full     ceil(M / block_size)
    blocks, sliding  ceil(min(window - 1 + in_flight, M) / block_size) + 1
    bytes/request    sum of blocks over groups * (largest group's layers * page)

Formulas follow vLLM 0.32 (`v1/core/kv_cache_utils.py`, `v1/kv_cache_interface.py`), transformers 5.17
(`cache_utils.py`) and SGLang's memory pools; a test holds the first two against the libraries themselves.
"""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from exaone_nb.anatomy.attention import CachedLayer, cached_layers
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say

Engine = Literal["vllm", "transformers", "sglang"]
ENGINES: tuple[Engine, ...] = ("vllm", "transformers", "sglang")

# SGLang gives sliding layers a smaller pool only for these; every other model keeps the whole context in every
# layer, EXAONE 4.0 included (sglang/srt/configs/model_config.py, is_hybrid_swa_model, read 2026-02).
SGLANG_SLIDING_POOL = frozenset({"Llama4ForConditionalGeneration", "GptOssForCausalLM"})
SGLANG_SLIDING_POOL_RATIO = 0.8  # --swa-full-tokens-ratio, its default


@dataclass(frozen=True)
class LayerGroup:
    """Layers that share one block table. `blocks` are what one request of full length claims from it."""

    kind: str
    window: int
    layers: int
    blocks: int


@dataclass(frozen=True)
class KVCache:
    """What one rank keeps. All sizes in bytes; `bytes_per_request` is at `max_model_len` tokens.

    `windows_ignored`: this engine makes the layers with a window keep every token.
    """

    engine: Engine
    max_model_len: int
    block_size: int
    in_flight_tokens: int
    dtype_bytes: int
    tensor_parallel: int
    bytes_per_block: int
    blocks_per_request: int
    groups: tuple[LayerGroup, ...]
    every_token_every_layer: int
    if_multi_head: int
    how: str
    windows_ignored: bool = False

    @property
    def bytes_per_request(self) -> int:
        """Bytes one request of `max_model_len` tokens claims."""
        return self.bytes_per_block * self.blocks_per_request

    @property
    def without_windows(self) -> int:
        """Bytes of the same request if every layer kept every token (what most calculators print)."""
        return self.every_token_every_layer * self.max_model_len

    def num_blocks(self, available: int) -> int:
        """Blocks an engine makes of `available` bytes (vLLM sets one aside, the null block)."""
        return max(0, available) // self.bytes_per_block

    def concurrency(self, available: int) -> float:
        """Requests of full length that fit at once: vLLM's "Maximum concurrency" line."""
        return self.num_blocks(available) / self.blocks_per_request

    def capacity_tokens(self, available: int) -> int:
        """vLLM's "KV cache size: N tokens" line. For hybrid models it depends on `max_model_len`."""
        return int(self.concurrency(available) * self.max_model_len)


def kv_cache(
    config: dict[str, Any],
    engine: Engine = "vllm",
    *,
    max_model_len: int | None = None,
    block_size: int = 16,
    max_num_batched_tokens: int = 8192,
    concurrent_batches: int = 1,
    dtype_bytes: int = 2,
    tensor_parallel: int = 1,
    hybrid_manager: bool | None = None,
) -> KVCache:
    """The KV cache of `config` in `engine`, for one rank and requests of `max_model_len` tokens.

    `max_model_len` defaults to the config's longest context. In flight are `concurrent_batches *
    max_num_batched_tokens` tokens (vLLM: 2 batches with async scheduling, its default on GPUs; 1 without).
    `hybrid_manager=False` is vLLM's --disable-hybrid-kv-cache-manager: windows then save no memory. The default
    None follows vLLM, which switches it off for chunked attention (Llama 4).
    Raises UsageError for arguments out of range and WorkbookError for a config that does not say enough.
    """
    text = text_config(config)
    limit = text.get("max_position_embeddings")
    length = max_model_len if max_model_len is not None else limit
    if length is None:
        raise UsageError("config.json has no max_position_embeddings.", remedy="Give the context length.")
    for name, value in (
        ("The context length", length),
        ("The block size", block_size),
        ("The number of batched tokens", max_num_batched_tokens),
        ("The number of concurrent batches", concurrent_batches),
        ("The number of bytes per value", dtype_bytes),
        ("The tensor parallel size", tensor_parallel),
    ):
        whole(name, value)
    if engine not in ENGINES:
        raise UsageError(say("No engine {engine!r}.", engine=engine), expected=", ".join(ENGINES))
    layers = cached_layers(config, engine)
    _check_tensor_parallel(layers[0], tensor_parallel)
    in_flight = concurrent_batches * max_num_batched_tokens
    sizes = {layer.values_per_token(tensor_parallel) for layer in layers}
    if len(sizes) > 1:
        got = say("Layers keep different numbers of values per token: {sizes}.", sizes=sorted(sizes))
        raise WorkbookError(got)
    token = sizes.pop() * dtype_bytes
    ask = {"vllm": _vllm, "transformers": _transformers, "sglang": _sglang}[engine]
    return KVCache(
        engine=engine,
        max_model_len=length,
        in_flight_tokens=in_flight if engine == "vllm" else 0,
        dtype_bytes=dtype_bytes,
        tensor_parallel=tensor_parallel,
        every_token_every_layer=token * len(layers),
        if_multi_head=dtype_bytes
        * sum(layer.values_per_token(tensor_parallel, every_head=True) for layer in layers),
        **ask(
            Counter((layer.kind, layer.window) for layer in layers),
            length,
            token,
            config=config,
            in_flight=in_flight,
            block_size=block_size,
            hybrid=hybrid_manager,
        ),
    )


def _check_tensor_parallel(layer: CachedLayer, size: int) -> None:
    shared = layer.num_key_value_heads
    if layer.num_heads % size or (not layer.latent and shared % size and size % shared):
        got = say(
            "{num_heads} attention and {shared} key/value heads cannot be split over {size} GPUs.",
            num_heads=layer.num_heads,
            shared=shared,
            size=size,
        )
        raise UsageError(
            got,
            expected="a tensor parallel size that divides the attention heads, and divides or is a multiple of "
            "the key/value heads.",
        )


# Layers by (kind, window). The functions below give the fields of `KVCache` that each engine fills in its own way;
# `token` is what one layer keeps of one token, in bytes.
Counts = Counter[tuple[str, int]]


def _vllm(
    counts: Counts, length: int, token: int, *, in_flight: int, block_size: int, hybrid: bool | None, **_: Any
) -> dict[str, Any]:
    has_chunks = any(kind == "chunked" for kind, _ in counts)
    if hybrid is None:
        hybrid = not has_chunks
    how = say("blocks of the hybrid cache manager")
    if not hybrid and any(kind == "full" for kind, _ in counts):
        if len(counts) > 1:
            how = say("hybrid cache manager off: windows save no memory")
        counts = Counter({("full", 0): counts.total()})
    smallest, largest = min(counts.values()), max(counts.values())
    size = largest if largest < smallest * 1.5 else smallest
    groups: list[LayerGroup] = []
    for (kind, window), number in counts.items():
        parts = -(-number // size)
        beyond = {"full": length, "sliding": window - 1 + in_flight, "chunked": window + in_flight}[kind]
        # A window seldom starts at a block's first token.
        blocks = -(-min(beyond, length) // block_size) + (kind == "sliding")
        groups += [LayerGroup(kind, window, len(range(i, number, parts)), blocks) for i in range(parts)]
    return {
        "block_size": block_size,
        "bytes_per_block": max(group.layers for group in groups) * block_size * token,
        "blocks_per_request": sum(group.blocks for group in groups),
        "groups": tuple(groups),
        "how": how,
    }


def _transformers(counts: Counts, length: int, token: int, **_: Any) -> dict[str, Any]:
    """DynamicCache: full layers keep every token, sliding ones the last window - 1 after each step."""
    groups = tuple(
        LayerGroup(kind, window, number, length if kind == "full" else min(length, window - 1))
        for (kind, window), number in counts.items()
    )
    return {
        "block_size": 1,
        "bytes_per_block": token,
        "blocks_per_request": sum(group.layers * group.blocks for group in groups),
        "groups": groups,
        "how": say("DynamicCache between two steps; during a step the new tokens come on top"),
    }


def _sglang(counts: Counts, length: int, token: int, *, config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """One pool of token slots; two pools with a fixed ratio for the few models listed above."""
    windowed = bool(SGLANG_SLIDING_POOL & set(config.get("architectures") or []))
    limited = sum(number for (kind, _), number in counts.items() if kind != "full")
    how, slots = say("one pool: every layer keeps every token"), float(counts.total())
    if windowed:
        share = SGLANG_SLIDING_POOL_RATIO
        how = say("two pools, the windowed one {share:.0%} of the full one", share=share)
        slots += limited * share - limited
    return {
        "block_size": 1,
        "bytes_per_block": round(slots * token),
        "blocks_per_request": length,
        "groups": tuple(LayerGroup(*layer, number, length) for layer, number in counts.items()),
        "how": how,
        "windows_ignored": bool(limited) and not windowed,
    }


def longest_context(config: dict[str, Any], available: int, *, concurrency: int = 1, **options: Any) -> int:
    """The longest context at which `concurrency` requests fit in `available` bytes, at most the config's limit.

    `options` are those of `kv_cache`. 0 when not even one token fits. vLLM finds it by the same search
    (max_model_len = -1).
    """
    whole(say("The concurrency"), concurrency)
    options.pop("max_model_len", None)
    highest = kv_cache(config, **options).max_model_len

    def needed(length: int) -> int:
        return kv_cache(config, max_model_len=length, **options).bytes_per_request * concurrency

    return bisect_right(range(highest + 1), available, lo=1, key=needed) - 1
