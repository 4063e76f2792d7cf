"""Mistral Small 3.x: a Mistral text decoder with a Pixtral vision tower and a projector between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts.blocks import gated_mlp, linear, norm, tensor
from exaone_nb.anatomy.layouts.dense import llama
from exaone_nb.tensors import TensorSpec


def _pixtral(config: dict[str, Any]) -> Iterator[TensorSpec]:
    hidden = fields.size(config, "hidden_size")
    patch = fields.size(config, "patch_size")
    channels = fields.size(config, "num_channels", 3)
    shape = (hidden, channels, patch, patch)
    yield tensor("vision_tower.patch_conv.weight", shape, "vision", None)
    yield norm("vision_tower.ln_pre", hidden, None)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"vision_tower.transformer.layers.{layer}"
        yield norm(f"{at}.attention_norm", hidden, None)
        width = fields.size(config, "intermediate_size")
        yield from gated_mlp(f"{at}.feed_forward", None, hidden, width, component="vision")
        for name in ("k_proj", "v_proj", "q_proj", "o_proj"):
            yield from linear(f"{at}.attention.{name}", hidden, hidden, "vision", None)
        yield norm(f"{at}.ffn_norm", hidden, None)


def mistral3(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """Vision tower, projector (2 x 2 patches merged), text decoder."""
    text, seen = fields.table(config, "text_config"), fields.table(config, "vision_config")
    width, hidden = fields.size(text, "hidden_size"), fields.size(seen, "hidden_size")
    merge = fields.size(config, "spatial_merge_size", 2)
    bias = fields.flag(config, "multimodal_projector_bias", False)
    yield from _pixtral(seen)
    at = "multi_modal_projector"
    yield norm(f"{at}.norm", hidden, None)
    yield from linear(f"{at}.patch_merger.merging_layer", hidden, hidden * merge**2, "projector", None)
    yield from linear(f"{at}.linear_1", width, hidden, "projector", None, bias=bias)
    yield from linear(f"{at}.linear_2", width, width, "projector", None, bias=bias)
    tied = fields.flag(config, "tie_word_embeddings", fields.flag(text, "tie_word_embeddings", True))
    yield from llama({**text, "tie_word_embeddings": tied}, prefix="language_model.")
