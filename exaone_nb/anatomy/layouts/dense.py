"""Dense decoders: EXAONE 4.0 and 3.x, Qwen3, SmolLM3, Gemma 3, Phi-3/4, Mistral.

Names and order are those of the published checkpoints and of the modules in transformers 5.17
(models/<family>/modeling_<family>.py; EXAONE 3.x: the modeling file beside its weights).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.arrangements import FAMILIES, Arrangement
from exaone_nb.anatomy.layouts.blocks import (
    attention,
    embedding,
    ending,
    gated_mlp,
    head,
    layer_norms,
    linear,
    norm,
)
from exaone_nb.tensors import TensorSpec


def _decoder(
    config: dict[str, Any],
    arrangement: Arrangement,
    *,
    tied_default: bool = False,
    attention_bias: bool = False,
    prefix: str = "",
) -> Iterator[TensorSpec]:
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size")
    yield embedding(f"{prefix}model.embed_tokens", config)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"{prefix}model.layers.{layer}"
        yield from attention(
            f"{at}.self_attn", layer, config, qk_norm=arrangement.qk_norm, bias=attention_bias
        )
        yield from gated_mlp(f"{at}.mlp", layer, hidden, width)
        yield from layer_norms(at, arrangement, hidden, layer)
    yield from ending(config, tied_default=tied_default, prefix=prefix)


def exaone4(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """EXAONE 4.0: 11 tensors a layer."""
    return _decoder(config, FAMILIES["exaone4"])


def qwen3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Qwen3, dense."""
    return _decoder(config, FAMILIES["qwen3"], attention_bias=fields.flag(config, "attention_bias", False))


def smollm3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """SmolLM3; layers without RoPE store the same tensors."""
    return _decoder(config, FAMILIES["smollm3"], tied_default=True)


def llama(config: dict[str, Any], prefix: str = "") -> Iterator[TensorSpec]:
    """Mistral and Llama text decoders."""
    return _decoder(config, FAMILIES["llama"], prefix=prefix)


def gemma3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Gemma 3: four norms a layer; tied unless the config says otherwise."""
    return _decoder(config, FAMILIES["gemma3_text"], tied_default=True)


def exaone3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """EXAONE 3.0, 3.5 and Deep: GPT-style names, norms where they act; the layer count is `num_layers`."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size", 4 * hidden)
    before_attention, before_mlp = FAMILIES["exaone"].norms
    yield embedding("transformer.wte", config)
    for layer in range(fields.layers(config)):
        at = f"transformer.h.{layer}"
        yield norm(f"{at}.{before_attention}", hidden, layer)
        yield from attention(f"{at}.attn.attention", layer, config, out_name="out_proj")
        yield norm(f"{at}.{before_mlp}", hidden, layer)
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
        yield from layer_norms(at, FAMILIES["phi3"], hidden, layer)
    yield from ending(config)
