"""Which attention each layer of a model has, and how many values it keeps per token. Read from the config alone.

A layer keeps the keys and values of the tokens it may still look at: all of them (`full`), the last `window`
(`sliding`), or those of the current chunk (`chunked`, Llama 4). Grouped-query attention keeps
`2 * num_key_value_heads * head_dim` values per token, latent attention (DeepSeek's MLA) keeps one compressed
vector of `kv_lora_rank + qk_rope_head_dim` values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exaone_nb import fields
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.errors import WorkbookError

Kind = Literal["full", "sliding", "chunked"]
_KINDS: dict[str, Kind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
}
_WINDOW_FIELD = {"sliding": "sliding_window", "chunked": "attention_chunk_size"}


@dataclass(frozen=True)
class CachedLayer:
    """One layer's share of the KV cache.

    `window` is in tokens (0 for full), `width` the values of one head's key and value together (2 * head_dim),
    `latent` the length of MLA's compressed vector (0 for ordinary attention).
    """

    kind: Kind
    window: int
    num_heads: int
    num_key_value_heads: int
    width: int
    latent: int = 0

    def values_per_token(self, tensor_parallel: int = 1, *, every_head: bool = False) -> int:
        """Values kept per token on one rank. `every_head` answers "what if this were multi-head attention?".

        Ranks beyond the number of KV heads hold copies; the latent vector of MLA is copied to every rank.
        """
        if self.latent and not every_head:
            return self.latent
        heads = self.num_heads if every_head else self.num_key_value_heads
        return max(1, heads // tensor_parallel) * self.width

    def tokens_kept(self, context: int) -> int:
        """Tokens a decode step at `context` attends to, the new one included."""
        return context if self.kind == "full" else min(context, self.window)


def layer_kinds(config: dict[str, Any]) -> list[tuple[Kind, int]]:
    """(kind, window) of every layer, in order, by the rules of the model's own architecture.

    `layer_types` decides where a config has it. Older configs say it in other ways: EXAONE 4 and Gemma 3 through
    `sliding_window_pattern` (every n-th layer is full), Llama 4 through `no_rope_layers` (every 4th by default).
    A config that names a window but says nothing about which layers use it is refused, not guessed.
    """
    config = text_config(config)
    count = fields.layers(config)
    model_type, pattern = config.get("model_type", ""), config.get("sliding_window_pattern")
    types = fields.per_layer(config, "layer_types", count)
    if types is not None:
        unknown = sorted({str(name) for name in types} - set(_KINDS))
        if unknown:
            raise WorkbookError(
                f"layer_types names {', '.join(unknown)}, whose cache this workbook does not know.",
                expected=", ".join(_KINDS),
                remedy="State-space and linear-attention layers keep no such cache; see the engine's own log.",
            )
        kinds = [_KINDS[name] for name in types]
    elif model_type in ("llama4_text", "llama4"):
        every = config.get("nope_layer_interval") or config.get("no_rope_layer_interval") or 4
        rope = fields.per_layer(config, "no_rope_layers", count)
        rope = rope or [(i + 1) % every != 0 for i in range(count)]
        kinds = ["chunked" if uses_rope else "full" for uses_rope in rope]
    elif not config.get("sliding_window") or config.get("use_sliding_window") is False:
        kinds = ["full"] * count
    elif isinstance(pattern, str | int) and pattern:
        every = len(pattern) if isinstance(pattern, str) else pattern
        kinds = ["full" if (i + 1) % every == 0 else "sliding" for i in range(count)]
    elif model_type == "mistral":
        kinds = ["sliding"] * count
    else:
        raise WorkbookError(
            f"The config names a sliding window of {config['sliding_window']} but not which layers use it.",
            expected="layer_types, one entry per layer.",
            remedy="Add layer_types to the config (transformers 5 writes it on save_pretrained).",
        )
    return [(kind, fields.size(config, _WINDOW_FIELD[kind]) if kind != "full" else 0) for kind in kinds]


def cached_layers(config: dict[str, Any]) -> list[CachedLayer]:
    """One CachedLayer per decoder layer, in order. Raises WorkbookError for a config that does not say enough."""
    config = text_config(config)
    if config.get("kv_lora_rank"):
        query = key_value = fields.size(config, "num_attention_heads")
        width = sum(fields.size(config, f"{part}_head_dim") for part in ("qk_nope", "qk_rope", "v"))
        latent = fields.size(config, "kv_lora_rank") + fields.size(config, "qk_rope_head_dim")
    else:
        query, key_value, head_dim = fields.heads(config)
        width, latent = 2 * head_dim, 0
    return [
        CachedLayer(kind, window, query, key_value, width, latent) for kind, window in layer_kinds(config)
    ]
