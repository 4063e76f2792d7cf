"""Which attention each layer of a model has, and how many values it keeps per token. Read from the config alone.

A layer keeps the keys and values of the tokens it may still look at: all of them (`full`), the last `window`
(`sliding`), or those of the current chunk (`chunked`, Llama 4). Grouped-query attention keeps
`2 * num_key_value_heads * head_dim` values per token, latent attention (DeepSeek's MLA) keeps one compressed
vector of `kv_lora_rank + qk_rope_head_dim` values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exaone_nb import fields
from exaone_nb.anatomy.layouts import has_layout, text_config
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say

Kind = Literal["full", "sliding", "chunked"]
_KINDS: dict[str, Kind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
}
_WINDOW_FIELD = {"sliding": "sliding_window", "chunked": "attention_chunk_size"}

# What a config without layer_types means, by the config classes and models of transformers 5.17.
# Every n-th layer is full, n from sliding_window_pattern or this:
_EVERY_NTH_FULL = {
    "cohere2": 4,
    "exaone4": 4,
    "exaone4_5_text": 4,
    "exaone_moe": 4,
    "gemma2": 2,
    "gemma3_text": 6,
    "gpt_oss": 2,
    "olmo3": 4,
}
# Sliding only where the config says use_sliding_window (absent: no), and in the layers from max_window_layers on.
_OPTIONAL = {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"}
_MAX_WINDOW_LAYERS = 28


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


def layer_kinds(config: dict[str, Any], engine: str = "transformers") -> list[tuple[Kind, int]]:
    """(kind, window) of every layer, in order: by the model's own architecture, or as vLLM 0.32 applies it.

    `layer_types` decides where a config has it. Older configs leave it to the family's class: EXAONE 4 and Gemma 3 have
    a `sliding_window_pattern` (every n-th layer is full), Qwen a switch, Llama 4 `no_rope_layers`. A config of a family
    not known here that names a window but not which layers use it is refused, not guessed.
    """
    config = text_config(config)
    kinds = _kinds(config)
    if engine == "vllm":
        kinds = _as_vllm_runs(kinds, config)
    extra = engine == "vllm" and config.get("model_type") == "cohere2"  # vLLM counts the token itself on top
    return [
        (kind, fields.size(config, _WINDOW_FIELD[kind]) + extra if kind != "full" else 0) for kind in kinds
    ]


def _kinds(config: dict[str, Any]) -> list[Kind]:
    count, family = fields.layers(config), config.get("model_type", "")
    types = fields.per_layer(config, "layer_types", count)
    if types is not None:
        unknown = sorted({str(name) for name in types} - set(_KINDS))
        if unknown:
            got = say(
                "layer_types names {names}, whose cache this workbook does not know.",
                names=", ".join(unknown),
            )
            raise WorkbookError(
                got,
                expected=", ".join(_KINDS),
                remedy="State-space and linear-attention layers keep no such cache; see the engine's own log.",
            )
        return [_KINDS[name] for name in types]
    if family in ("llama4_text", "llama4"):
        every = config.get("nope_layer_interval") or config.get("no_rope_layer_interval") or 4
        rope = fields.per_layer(config, "no_rope_layers", count)
        rope = rope or [(i + 1) % every != 0 for i in range(count)]
        return ["chunked" if uses_rope else "full" for uses_rope in rope]
    switch = fields.flag(config, "use_sliding_window", family not in _OPTIONAL)
    if not config.get("sliding_window") or not switch:
        return ["full"] * count
    if family in ("qwen2", "qwen3"):
        first = fields.size(config, "max_window_layers", _MAX_WINDOW_LAYERS, least=0)
        return ["sliding" if i >= first else "full" for i in range(count)]
    if family == "qwen2_moe":
        first = fields.size(config, "max_window_layers", _MAX_WINDOW_LAYERS, least=0)
        return ["sliding" if i % 2 == 0 and i < first else "full" for i in range(count)]
    if family == "smollm3":
        every = fields.size(config, "no_rope_layer_interval", 4)
        rope = fields.per_layer(config, "no_rope_layers", count)
        rope = rope or [(i + 1) % every != 0 for i in range(count)]
        return ["full" if uses_rope else "sliding" for uses_rope in rope]
    pattern = config.get("sliding_window_pattern") or _EVERY_NTH_FULL.get(family)
    if isinstance(pattern, str | int):
        every = len(pattern) if isinstance(pattern, str) else pattern
        return ["full" if (i + 1) % every == 0 else "sliding" for i in range(count)]
    if has_layout(config):  # a class without layer_types: both engines take the window for all layers
        return ["sliding"] * count
    raise WorkbookError(
        say(
            "The config names a sliding window of {window} but not which layers use it.",
            window=config["sliding_window"],
        ),
        expected=say("layer_types, one entry per layer."),
        remedy=say("Add layer_types to the config (transformers 5 writes it on save_pretrained)."),
    )


def _as_vllm_runs(kinds: list[Kind], config: dict[str, Any]) -> list[Kind]:
    """Which layers look how far back in vLLM 0.32, where that is not what the model's own architecture says.

    Qwen's models know one window for all layers: they refuse a window on some (`Qwen2Model.__init__`) unless
    `max_window_layers` is the number of layers, and then run all full.
    """
    family, count = config.get("model_type", ""), len(kinds)
    if family in ("qwen2", "qwen3", "qwen2_moe") and len(set(kinds)) > 1:
        most = fields.size(config, "max_window_layers", _MAX_WINDOW_LAYERS, least=0)
        if family != "qwen2_moe" and most != count:
            raise WorkbookError(
                say(
                    "vLLM 0.32 refuses a sliding window on {some} of {count} layers of a {family} model.",
                    some=kinds.count("sliding"),
                    count=count,
                    family=family,
                ),
                expected=say("a window on every layer, or on none."),
                remedy=say(
                    "Set use_sliding_window to false in config.json to run all layers full, or use transformers."
                ),
            )
        return ["full"] * count
    return kinds


def cached_layers(config: dict[str, Any], engine: str = "transformers") -> list[CachedLayer]:
    """One CachedLayer per decoder layer, in order, as `engine` runs it (`layer_kinds`).

    Raises WorkbookError for a config that does not say enough, and for one that vLLM refuses.
    """
    config = text_config(config)
    if config.get("kv_lora_rank"):
        query = key_value = fields.size(config, "num_attention_heads")
        width = sum(fields.size(config, f"{part}_head_dim") for part in ("qk_nope", "qk_rope", "v"))
        latent = fields.size(config, "kv_lora_rank") + fields.size(config, "qk_rope_head_dim")
    else:
        query, key_value, head_dim = fields.heads(config)
        width, latent = 2 * head_dim, 0
    return [
        CachedLayer(kind, window, query, key_value, width, latent)
        for kind, window in layer_kinds(config, engine)
    ]


def context_limit(config: Mapping[str, Any], asked: int = 0, what: str = "max_model_len") -> int:
    """The longest context of a model, in tokens. Raises UsageError when `what` asks for more, which vLLM refuses too."""
    held = fields.get(text_config(config), "max_position_embeddings")
    if held and asked > held:
        raise UsageError(
            say("{what} is {asked:,}.", what=what, asked=asked),
            expected=say("at most {held:,}, the model's own limit (max_position_embeddings).", held=held),
        )
    return int(held or 2048)
