"""Which attention each layer of a model has, and how many values it keeps per token. Read from the config alone.

A layer keeps the keys and values of the tokens it may still look at: all of them (`full`), the last `window`
(`sliding`), or those of the current chunk (`chunked`, Llama 4). Grouped-query attention keeps
`2 * num_key_value_heads * head_dim` values per token, latent attention (DeepSeek's MLA) keeps one compressed
vector of `kv_lora_rank + qk_rope_head_dim` values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exaone_nb.errors import WorkbookError

Kind = Literal["full", "sliding", "chunked"]
_KINDS: dict[str, Kind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
}


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


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part of a config: vision models keep it under `text_config`."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def whole_number(config: dict[str, Any], *names: str) -> int:
    """The first of `names` that the config has, as a positive int. Raises WorkbookError naming the field."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise WorkbookError(
                f"config.json says {name} = {value!r}.",
                expected="a positive whole number.",
                remedy="Correct the config, or take it again from the model's page.",
            )
        return value
    raise WorkbookError(
        f"config.json has no {' or '.join(names)}.",
        expected="a Hugging Face config of a decoder language model.",
        remedy="Check that this is the config.json of the model itself, not of an adapter or a tokenizer.",
    )


def head_dim(config: dict[str, Any]) -> int:
    """`head_dim`, or hidden_size / num_attention_heads where the config leaves it out."""
    if config.get("head_dim") is not None:
        return whole_number(config, "head_dim")
    return whole_number(config, "hidden_size") // whole_number(config, "num_attention_heads")


def layer_kinds(config: dict[str, Any]) -> list[tuple[Kind, int]]:
    """(kind, window) of every layer, in order, by the rules of the model's own architecture.

    `layer_types` decides where a config has it. Older configs say it in other ways: EXAONE 4 and Gemma 3 through
    `sliding_window_pattern` (every n-th layer is full), Llama 4 through `no_rope_layers` (every 4th by default).
    A config that names a window but says nothing about which layers use it is refused, not guessed.
    """
    config = text_config(config)
    count = whole_number(config, "num_hidden_layers", "num_layers")
    model_type = config.get("model_type", "")
    if config.get("layer_types") is not None:
        kinds = _from_layer_types(config, count)
    elif model_type in ("llama4_text", "llama4"):
        every = config.get("nope_layer_interval") or config.get("no_rope_layer_interval") or 4
        listed = config.get("no_rope_layers") or [int((i + 1) % every != 0) for i in range(count)]
        kinds = ["chunked" if uses_rope else "full" for uses_rope in listed]
    elif not config.get("sliding_window") or config.get("use_sliding_window") is False:
        kinds = ["full"] * count
    elif isinstance(config.get("sliding_window_pattern"), (int, str)):
        pattern = config["sliding_window_pattern"]
        every = len(pattern) if isinstance(pattern, str) else pattern
        kinds = ["full" if (i + 1) % every == 0 else "sliding" for i in range(count)]
    elif model_type == "mistral":
        kinds = ["sliding"] * count
    else:
        raise WorkbookError(
            f"config.json names a sliding window of {config['sliding_window']} but not which layers use it.",
            expected='"layer_types", one entry per layer.',
            remedy="Add layer_types to the config (transformers 5 writes it on save_pretrained).",
        )
    windows = {"full": None, "sliding": "sliding_window", "chunked": "attention_chunk_size"}
    return [(kind, whole_number(config, windows[kind]) if windows[kind] else 0) for kind in kinds]


def _from_layer_types(config: dict[str, Any], count: int) -> list[Kind]:
    types = config["layer_types"]
    if not isinstance(types, list) or len(types) != count:
        length = len(types) if isinstance(types, list) else type(types).__name__
        raise WorkbookError(
            f"config.json has {count} layers but layer_types of length {length}.",
            expected="one entry per layer.",
            remedy="After removing layers, shorten layer_types as well.",
        )
    unknown = sorted({str(name) for name in types} - set(_KINDS))
    if unknown:
        raise WorkbookError(
            f"layer_types names {', '.join(unknown)}, whose cache this workbook does not know.",
            expected=", ".join(_KINDS),
            remedy="State-space and linear-attention layers keep no KV cache of this form; see the engine's own log.",
        )
    return [_KINDS[name] for name in types]


def cached_layers(config: dict[str, Any]) -> list[CachedLayer]:
    """One CachedLayer per decoder layer, in order. Raises WorkbookError for a config that does not say enough."""
    config = text_config(config)
    heads = whole_number(config, "num_attention_heads")
    latent = 0
    if config.get("kv_lora_rank"):
        latent = whole_number(config, "kv_lora_rank") + whole_number(config, "qk_rope_head_dim")
        kv_heads = heads
        width = sum(whole_number(config, f"{part}_head_dim") for part in ("qk_nope", "qk_rope", "v"))
    else:
        kv_heads = whole_number(config, "num_key_value_heads", "num_attention_heads")
        width = 2 * head_dim(config)
    if heads % kv_heads:
        raise WorkbookError(
            f"{heads} attention heads cannot share {kv_heads} key/value heads evenly.",
            expected="num_attention_heads to be a multiple of num_key_value_heads.",
            remedy="Correct the config.",
        )
    return [CachedLayer(kind, window, heads, kv_heads, width, latent) for kind, window in layer_kinds(config)]
