"""What attention costs at a given context: operations per new token and bytes of keys and values.

A full layer pays for every token of the context, a sliding one for at most `window`. With a share g of full layers
and context C above the window W, a hybrid keeps g + (1 - g) * W / C of what a model of full layers keeps.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.anatomy.attention import cached_layers
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.architecture.shape import SLIDING, layer_pattern, whole
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table


def design(
    config: dict[str, Any], ratio: str, *, layers: int | None = None, window: int | None = None
) -> dict[str, Any]:
    """`config` with the local:global ratio exchanged: "full", "sliding", or N:1 with a period that divides the layers.

    Raises UsageError that names the ratio, the layers or the window.
    """
    count = whole(say("The number of layers"), layers if layers is not None else config["num_hidden_layers"])
    size = whole("sliding_window", window if window is not None else config.get("sliding_window"))
    local, _, one = {"full": "0:1"}.get(ratio, ratio).partition(":")
    if ratio == "sliding":
        types = (SLIDING,) * count
    elif one == "1" and local.isdecimal():
        types = layer_pattern(count, int(local))
    else:
        got = say("The ratio is {ratio!r}.", ratio=ratio)
        raise UsageError(got, expected="full, sliding, or N:1, for instance 3:1.")
    return {**config, "num_hidden_layers": count, "layer_types": list(types), "sliding_window": size}


def kept_bytes(config: dict[str, Any], context: int, dtype_bytes: int = 2) -> int:
    """The least that must be kept for one request of `context` tokens, no pages and nothing in flight."""
    whole(say("The context"), context)
    layers = cached_layers(config)
    return dtype_bytes * sum(layer.values_per_token() * layer.tokens_kept(context) for layer in layers)


def global_share(config: dict[str, Any], context: int) -> float:
    """The part of `kept_bytes` that layers without a window keep, 0 to 1."""
    everywhere = [layer for layer in cached_layers(config) if layer.kind == "full"]
    held = 2 * sum(layer.values_per_token() * layer.tokens_kept(context) for layer in everywhere)
    return held / kept_bytes(config, context)


def attention_flops(config: dict[str, Any], context: int) -> int:
    """Operations of attention for one new token: a multiply and an add per value of every visible key and value."""
    whole(say("The context"), context)
    layers = cached_layers(config)
    return 2 * sum(layer.num_heads * layer.width * layer.tokens_kept(context) for layer in layers)


def linear_flops(config: dict[str, Any]) -> int:
    """Operations of all Linears of the layers for one token, whatever the context."""
    return 2 * sum(spec.elements for spec in expected_tensors(config) if spec.kind == "linear")


def context_where_attention_equals_linears(config: dict[str, Any], limit: int = 1 << 24) -> int | None:
    """The shortest context at which attention costs as much as the Linears; None when it never does below `limit`."""
    wanted = linear_flops(config)
    contexts = range(1, limit + 1)
    found = bisect_left(contexts, wanted, key=lambda context: attention_flops(config, context))
    return contexts[found] if found < len(contexts) else None


def engine_saves_from(config: dict[str, Any], full: dict[str, Any], **options: Any) -> int | None:
    """The shortest context, in blocks of 16, at which vLLM's cache for `config` is smaller than for `full`.

    Below it the window and the tokens in flight already cover the context. None when there is no such context up
    to the config's limit. `options` are those of `anatomy.kv.kv_cache`.
    """

    def saves(context: int) -> bool:
        mine, other = (
            kv_cache(each, max_model_len=context, **options).bytes_per_request for each in (config, full)
        )
        return mine < other

    # Once the context outgrows the window and the tokens in flight the gap only widens: search by halves.
    contexts = range(16, kv_cache(config, **options).max_model_len + 1, 16)
    found = bisect_left(contexts, True, key=saves)
    return contexts[found] if found < len(contexts) else None


def why_more_than_ideal(config: dict[str, Any], context: int, **options: Any) -> list[tuple[str, int]]:
    """(what, bytes) from the ideal to vLLM's allocation for one request; the last row is their sum.

    `options` are those of `anatomy.kv.kv_cache`; block size 16 and 8,192 tokens in flight by default.
    """
    cache = kv_cache(config, max_model_len=context, **options)
    token = cache.bytes_per_block // cache.block_size // max(group.layers for group in cache.groups)
    ideal = kept_bytes(config, context, cache.dtype_bytes)
    held = room = 0
    for group in cache.groups:
        window = min(group.window or context, context)
        tokens = context if group.kind == "full" else min(group.window - 1 + cache.in_flight_tokens, context)
        held += (tokens - window) * group.layers * token
        room += group.blocks * cache.bytes_per_block - tokens * group.layers * token
    return [
        (say("keys and values that a next token can see"), ideal),
        (say("tokens in flight, kept beside the window"), held),
        (say("whole pages, one more page per sliding group, groups of equal size"), room),
        (say("what vLLM reserves for the request"), ideal + held + room),
    ]


def ratio_table(designs: Mapping[str, dict[str, Any]], context: int) -> Table:
    """Each design's cache at `context`, its share of full attention, and where attention costs as much as the Linears."""
    rows = []
    for ratio, one in designs.items():
        kept, all_full = (kept_bytes(each, context) for each in (one, design(one, "full")))
        crossing = context_where_attention_equals_linears(one)
        rows.append({"ratio": ratio, "kept": kept, "share": kept / all_full, "crossing": crossing})
    heads = [
        Column("ratio", say("local:global")),
        Column("kept", say("KV cache at {context:,} tokens, GiB", context=context), ",.3f", 2**-30),
        Column("share", say("share of full"), ".1%"),
        Column("crossing", say("attention = Linears at, tokens"), ",", missing=say("never")),
    ]
    return Table(heads, rows)


def reserved_table(parts: Sequence[tuple[str, int]]) -> Table:
    """(what, bytes), as `why_more_than_ideal` gives them, in bytes and GiB."""
    heads = [Column("what"), Column("bytes", form=","), Column("gib", "GiB", ",.4f", 2**-30, of="bytes")]
    return Table(heads, [{"what": what, "bytes": size} for what, size in parts])
