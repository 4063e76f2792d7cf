"""Mixture-of-experts decoders: Qwen3-MoE, K-EXAONE, gpt-oss, Llama 4 (text).

Names are those of the published checkpoints: Qwen3-MoE and K-EXAONE store every expert on its own, gpt-oss and
Llama 4 store all experts of a layer as one three-dimensional tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.arrangements import FAMILIES
from exaone_nb.anatomy.layouts.blocks import (
    attention,
    embedding,
    ending,
    gated_mlp,
    layer_norms,
    separate_experts,
    shared_experts,
    tensor,
)
from exaone_nb.tensors import TensorSpec


def qwen3_moe(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Every `decoder_sparse_step`-th layer is sparse, except those in `mlp_only_layers`."""
    hidden = fields.size(config, "hidden_size")
    experts = fields.size(config, "num_experts")
    expert_width = fields.size(config, "moe_intermediate_size")
    step = fields.size(config, "decoder_sparse_step", 1)
    dense_layers = set(config.get("mlp_only_layers") or [])
    yield embedding("model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"model.layers.{layer}"
        bias = fields.flag(config, "attention_bias", False)
        yield from attention(
            f"{at}.self_attn", layer, config, qk_norm=FAMILIES["qwen3_moe"].qk_norm, bias=bias
        )
        if layer in dense_layers or (layer + 1) % step:
            yield from gated_mlp(f"{at}.mlp", layer, hidden, fields.size(config, "intermediate_size"))
        else:
            yield tensor(f"{at}.mlp.gate.weight", (experts, hidden), "router", layer)
            yield from separate_experts(f"{at}.mlp", layer, hidden, expert_width, experts)
        yield from layer_norms(at, FAMILIES["qwen3_moe"], hidden, layer)
    yield from ending(config)


def exaone_moe(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """K-EXAONE: sigmoid router with a correction bias, one shared expert.

    The draft layer for multi-token prediction (`num_nextn_predict_layers`) is not part of the count.
    """
    hidden = fields.size(config, "hidden_size")
    layers = fields.size(config, "num_hidden_layers")
    experts = fields.size(config, "num_experts")
    expert_width = fields.size(config, "moe_intermediate_size")
    shared = fields.size(config, "num_shared_experts", 0, least=0)
    sparse = fields.per_layer(config, "is_moe_layer", layers)
    first = fields.size(config, "first_k_dense_replace", 0, least=0)
    yield embedding("model.embed_tokens", config)
    for layer in range(layers):
        at = f"model.layers.{layer}"
        yield from attention(f"{at}.self_attn", layer, config, qk_norm=FAMILIES["exaone_moe"].qk_norm)
        if sparse[layer] if sparse is not None else layer >= first:
            yield from separate_experts(f"{at}.mlp", layer, hidden, expert_width, experts)
            yield tensor(f"{at}.mlp.gate.weight", (experts, hidden), "router", layer)
            yield tensor(f"{at}.mlp.e_score_correction_bias", (experts,), "router", layer, buffer=True)
            yield from shared_experts(f"{at}.mlp", layer, hidden, expert_width, shared)
        else:
            yield from gated_mlp(f"{at}.mlp", layer, hidden, fields.size(config, "intermediate_size"))
        yield from layer_norms(at, FAMILIES["exaone_moe"], hidden, layer)
    yield from ending(config)


def gpt_oss(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """gpt-oss: attention with biases and one learned sink per query head; fused experts with biases."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size")
    experts = fields.size(config, "num_local_experts")
    query, _, _ = fields.heads(config)
    yield embedding("model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"model.layers.{layer}"
        yield tensor(f"{at}.self_attn.sinks", (query,), "attention", layer)
        bias = fields.flag(config, "attention_bias", True)
        yield from attention(f"{at}.self_attn", layer, config, bias=bias)
        yield tensor(f"{at}.mlp.router.weight", (experts, hidden), "router", layer)
        yield tensor(f"{at}.mlp.router.bias", (experts,), "router", layer)
        yield tensor(f"{at}.mlp.experts.gate_up_proj", (experts, hidden, 2 * width), "experts", layer)
        yield tensor(f"{at}.mlp.experts.gate_up_proj_bias", (experts, 2 * width), "experts", layer)
        yield tensor(f"{at}.mlp.experts.down_proj", (experts, width, hidden), "experts", layer)
        yield tensor(f"{at}.mlp.experts.down_proj_bias", (experts, hidden), "experts", layer)
        yield from layer_norms(at, FAMILIES["gpt_oss"], hidden, layer)
    yield from ending(config)


def llama4(config: dict[str, Any], prefix: str = "") -> Iterator[TensorSpec]:
    """Llama 4, text decoder: every `interleave_moe_layer_step`-th layer has experts and one shared expert."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size")
    dense_width = fields.size(config, "intermediate_size_mlp")
    experts = fields.size(config, "num_local_experts")
    layers = fields.size(config, "num_hidden_layers")
    step = fields.size(config, "interleave_moe_layer_step", 1)
    chosen = config.get("moe_layers")
    sparse = set(chosen) if chosen else {layer for layer in range(layers) if (layer + 1) % step == 0}
    bias = fields.flag(config, "attention_bias", False)
    yield embedding(f"{prefix}model.embed_tokens", config)
    for layer in range(layers):
        at = f"{prefix}model.layers.{layer}"
        yield from attention(f"{at}.self_attn", layer, config, bias=bias)
        if layer in sparse:
            at_moe = f"{at}.feed_forward"
            yield tensor(f"{at_moe}.experts.gate_up_proj", (experts, hidden, 2 * width), "experts", layer)
            yield tensor(f"{at_moe}.experts.down_proj", (experts, width, hidden), "experts", layer)
            yield tensor(f"{at_moe}.router.weight", (experts, hidden), "router", layer)
            yield from gated_mlp(f"{at_moe}.shared_expert", layer, hidden, width, component="shared_experts")
        else:
            yield from gated_mlp(f"{at}.feed_forward", layer, hidden, dense_width)
        yield from layer_norms(at, FAMILIES["llama4_text"], hidden, layer)
    yield from ending(config, prefix=prefix)
