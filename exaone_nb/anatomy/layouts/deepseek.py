"""DeepSeek-V3, DeepSeek-R1 and Kimi-K2: multi-head latent attention and many small experts.

Latent attention stores a low-rank path for queries (q_a, q_b) and one for keys and values (kv_a, kv_b); only the
`kv_lora_rank + qk_rope_head_dim` wide latent is cached. The multi-token-prediction layer is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.arrangements import FAMILIES
from exaone_nb.anatomy.layouts.blocks import (
    embedding,
    ending,
    gated_mlp,
    layer_norms,
    linear,
    norm,
    separate_experts,
    shared_experts,
    tensor,
)
from exaone_nb.tensors import TensorSpec


def _latent_attention(at: str, layer: int, config: dict[str, Any]) -> Iterator[TensorSpec]:
    hidden = fields.size(config, "hidden_size")
    heads = fields.size(config, "num_attention_heads")
    rope, nope = fields.size(config, "qk_rope_head_dim"), fields.size(config, "qk_nope_head_dim")
    value, latent = fields.size(config, "v_head_dim"), fields.size(config, "kv_lora_rank")
    bias = fields.flag(config, "attention_bias", False)
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


def deepseek_v3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """The first `first_k_dense_replace` layers are dense, the rest sparse with shared experts."""
    hidden = fields.size(config, "hidden_size")
    experts = fields.size(config, "n_routed_experts")
    shared = fields.size(config, "n_shared_experts", 0, least=0)
    expert_width = fields.size(config, "moe_intermediate_size")
    first = fields.size(config, "first_k_dense_replace", 0, least=0)
    every = fields.size(config, "moe_layer_freq", 1)
    yield embedding("model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"model.layers.{layer}"
        yield from _latent_attention(f"{at}.self_attn", layer, config)
        if layer < first or layer % every:
            yield from gated_mlp(f"{at}.mlp", layer, hidden, fields.size(config, "intermediate_size"))
        else:
            yield from separate_experts(f"{at}.mlp", layer, hidden, expert_width, experts)
            yield tensor(f"{at}.mlp.gate.weight", (experts, hidden), "router", layer)
            yield tensor(
                f"{at}.mlp.gate.e_score_correction_bias",
                (experts,),
                "router",
                layer,
                dtype="F32",
                buffer=True,
            )
            yield from shared_experts(f"{at}.mlp", layer, hidden, expert_width, shared)
        yield from layer_norms(at, FAMILIES["deepseek_v3"], hidden, layer)
    yield from ending(config)
