"""Dense decoders: EXAONE 4.0 and 3.x, Qwen3, SmolLM3, Gemma 3, Phi-3/4, Mistral.

Names and order are those of the published checkpoints and of the modules in transformers 5.17
(models/<family>/modeling_<family>.py; EXAONE 3.x: the modeling file beside its weights).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts.blocks import attention, embedding, gated_mlp, head, linear, norm
from exaone_nb.tensors import TensorSpec


def _decoder(
    config: dict[str, Any],
    *,
    norms: tuple[str, ...],
    tied_default: bool,
    qk_norm: bool = False,
    attention_bias: bool = False,
    prefix: str = "",
) -> Iterator[TensorSpec]:
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size")
    yield embedding(f"{prefix}model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"{prefix}model.layers.{layer}"
        yield from attention(f"{at}.self_attn", layer, config, qk_norm=qk_norm, bias=attention_bias)
        yield from gated_mlp(f"{at}.mlp", layer, hidden, width)
        for name in norms:
            yield norm(f"{at}.{name}", hidden, layer)
    yield norm(f"{prefix}model.norm", hidden, None)
    if not fields.flag(config, "tie_word_embeddings", tied_default):
        yield head(f"{prefix}lm_head", config)


PRE_NORMS = ("input_layernorm", "post_attention_layernorm")


def exaone4(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """QK-Reorder-LN: norms sit after attention and after the MLP, and on each head of q and k; 11 tensors a layer."""
    names = ("post_attention_layernorm", "post_feedforward_layernorm")
    return _decoder(config, norms=names, qk_norm=True, tied_default=False)


def qwen3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Pre-norm with QK-Norm."""
    bias = fields.flag(config, "attention_bias", False)
    return _decoder(config, norms=PRE_NORMS, qk_norm=True, attention_bias=bias, tied_default=False)


def smollm3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Pre-norm, no QK-Norm; layers without RoPE store the same tensors."""
    return _decoder(config, norms=PRE_NORMS, tied_default=True)


def llama(config: dict[str, Any], prefix: str = "") -> Iterator[TensorSpec]:
    """Pre-norm without QK-Norm: Mistral and Llama text decoders."""
    return _decoder(config, norms=PRE_NORMS, tied_default=False, prefix=prefix)


def gemma3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Four norms a layer (before and after both blocks) and QK-Norm; tied unless the config says otherwise."""
    names = (*PRE_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")
    return _decoder(config, norms=names, qk_norm=True, tied_default=True)


def exaone3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """EXAONE 3.0, 3.5 and Deep: pre-norm, GPT-style names; the layer count is `num_layers`."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size", 4 * hidden)
    layers = fields.size(config, "num_layers" if "num_layers" in config else "num_hidden_layers")
    yield embedding("transformer.wte", config)
    for layer in range(layers):
        at = f"transformer.h.{layer}"
        yield norm(f"{at}.ln_1", hidden, layer)
        yield from attention(f"{at}.attn.attention", layer, config, out_name="out_proj")
        yield norm(f"{at}.ln_2", hidden, layer)
        yield from gated_mlp(f"{at}.mlp", layer, hidden, width, names=("c_fc_0", "c_fc_1", "c_proj"))
    yield norm("transformer.ln_f", hidden, None)
    if not fields.flag(config, "tie_word_embeddings", True):
        yield head("lm_head", config)


def phi3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Phi-3 and Phi-4: q, k, v fused into one matrix, gate and up into another."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size")
    query, key_value, head_dim = fields.heads(config)
    yield embedding("model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"model.layers.{layer}"
        yield from linear(f"{at}.self_attn.o_proj", hidden, query * head_dim, "attention", layer)
        fused = (query + 2 * key_value) * head_dim
        yield from linear(f"{at}.self_attn.qkv_proj", fused, hidden, "attention", layer)
        yield from linear(f"{at}.mlp.gate_up_proj", 2 * width, hidden, "mlp", layer)
        yield from linear(f"{at}.mlp.down_proj", hidden, width, "mlp", layer)
        for name in PRE_NORMS:
            yield norm(f"{at}.{name}", hidden, layer)
    yield norm("model.norm", hidden, None)
    if not fields.flag(config, "tie_word_embeddings", False):
        yield head("lm_head", config)
