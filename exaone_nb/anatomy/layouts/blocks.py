"""The blocks that decoder families share: embedding, attention, gated MLP, experts, norm, head."""

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.tensors import Kind, TensorSpec

Tensors = Iterator[TensorSpec]
Config = dict[str, Any]


def tensor(
    name: str, shape: tuple[int, ...], component: str, layer: int | None, kind: Kind = "other", **more: Any
) -> TensorSpec:
    """A spec whose module is everything before the last dot of its name."""
    return TensorSpec(name, shape, component, layer, name.rpartition(".")[0], kind, **more)


def linear(
    module: str, out: int, inp: int, component: str, layer: int | None, *, bias: bool = False
) -> Tensors:
    """An nn.Linear: weight [out, in] and, when asked, bias [out]."""
    yield tensor(f"{module}.weight", (out, inp), component, layer, "linear")
    if bias:
        yield tensor(f"{module}.bias", (out,), component, layer)


def norm(name: str, width: int, layer: int | None) -> TensorSpec:
    """A norm's weight [width]."""
    return tensor(f"{name}.weight", (width,), "norm", layer, "norm")


def attention(
    at: str,
    layer: int,
    config: Config,
    *,
    qk_norm: bool = False,
    norm_all_heads: bool = False,
    bias: bool = False,
    output_bias: bool = False,
    out_name: str = "o_proj",
) -> Tensors:
    """Grouped-query attention: q, k, v, output, and RMSNorms on q and k when asked.

    The norms are [head_dim], one for all heads, or (`norm_all_heads`, OLMo) [heads * head_dim].
    """
    hidden = fields.size(config, "hidden_size")
    query, key_value, head_dim = fields.heads(config)
    yield from linear(f"{at}.q_proj", query * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{at}.k_proj", key_value * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{at}.v_proj", key_value * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{at}.{out_name}", hidden, query * head_dim, "attention", layer, bias=output_bias)
    if qk_norm:
        yield norm(f"{at}.q_norm", head_dim * (query if norm_all_heads else 1), layer)
        yield norm(f"{at}.k_norm", head_dim * (key_value if norm_all_heads else 1), layer)


def fused_attention(at: str, layer: int, config: Config) -> Tensors:
    """Grouped-query attention with q, k and v in one matrix (Phi-3)."""
    hidden = fields.size(config, "hidden_size")
    query, key_value, head_dim = fields.heads(config)
    yield from linear(f"{at}.o_proj", hidden, query * head_dim, "attention", layer)
    yield from linear(f"{at}.qkv_proj", (query + 2 * key_value) * head_dim, hidden, "attention", layer)


def latent_attention(at: str, layer: int, config: Config, *, bias: bool = False) -> Tensors:
    """DeepSeek's multi-head latent attention: a low-rank path for queries (q_a, q_b), one for keys and values.

    Only the `kv_lora_rank + qk_rope_head_dim` wide latent is cached. Without `q_lora_rank` queries are one matrix.
    """
    hidden = fields.size(config, "hidden_size")
    heads = fields.size(config, "num_attention_heads")
    rope, nope = fields.size(config, "qk_rope_head_dim"), fields.size(config, "qk_nope_head_dim")
    value, latent = fields.size(config, "v_head_dim"), fields.size(config, "kv_lora_rank")
    if config.get("q_lora_rank") is None:
        yield from linear(f"{at}.q_proj", heads * (nope + rope), hidden, "attention", layer)
    else:
        rank = fields.size(config, "q_lora_rank")
        yield from linear(f"{at}.q_a_proj", rank, hidden, "attention", layer, bias=bias)
        yield norm(f"{at}.q_a_layernorm", rank, layer)
        yield from linear(f"{at}.q_b_proj", heads * (nope + rope), rank, "attention", layer)
    yield from linear(f"{at}.kv_a_proj_with_mqa", latent + rope, hidden, "attention", layer, bias=bias)
    yield norm(f"{at}.kv_a_layernorm", latent, layer)
    yield from linear(f"{at}.kv_b_proj", heads * (nope + value), latent, "attention", layer)
    yield from linear(f"{at}.o_proj", hidden, heads * value, "attention", layer, bias=bias)


def gated_mlp(
    at: str,
    layer: int | None,
    hidden: int,
    width: int,
    *,
    component: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    bias: bool = False,
) -> Tensors:
    """down(act(gate(x)) * up(x)): three matrices."""
    gate, up, down = names
    yield from linear(f"{at}.{gate}", width, hidden, component, layer, bias=bias)
    yield from linear(f"{at}.{up}", width, hidden, component, layer, bias=bias)
    yield from linear(f"{at}.{down}", hidden, width, component, layer, bias=bias)


def fused_mlp(at: str, layer: int, hidden: int, width: int) -> Tensors:
    """A gated MLP with gate and up in one matrix (Phi-3, GLM-4)."""
    yield from linear(f"{at}.gate_up_proj", 2 * width, hidden, "mlp", layer)
    yield from linear(f"{at}.down_proj", hidden, width, "mlp", layer)


def router(name: str, layer: int, config: Config, kind: Kind = "other") -> TensorSpec:
    """The matrix [experts, hidden_size] that scores the experts for a token; rarely an nn.Linear in transformers 5."""
    shape = (fields.size(config, "num_experts"), fields.size(config, "hidden_size"))
    return tensor(f"{name}.weight", shape, "router", layer, kind)


def separate_experts(
    at: str, layer: int, config: Config, width_key: str = "moe_intermediate_size", **more: Any
) -> Tensors:
    """Routed experts that are each stored as a gated MLP of their own."""
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, width_key)
    for expert in range(fields.size(config, "num_experts")):
        yield from gated_mlp(f"{at}.experts.{expert}", layer, hidden, width, component="experts", **more)


def embedding(name: str, config: Config) -> TensorSpec:
    """The token table [vocab_size, hidden_size]."""
    shape = (fields.size(config, "vocab_size"), fields.size(config, "hidden_size"))
    return tensor(f"{name}.weight", shape, "embedding", None, "embedding")


def head(name: str, config: Config) -> TensorSpec:
    """The output projection [vocab_size, hidden_size]; stored only when it is not tied to the embedding.

    In transformers 5 its module is called lm_head, whatever the file calls it.
    """
    shape = (fields.size(config, "vocab_size"), fields.size(config, "hidden_size"))
    return TensorSpec(f"{name}.weight", shape, "head", None, "lm_head", "head")
