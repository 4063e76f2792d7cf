"""Text decoders with a vision tower before them: Mistral Small 3.x and EXAONE 4.5. Of Llama 4 the decoder alone."""

from exaone_nb import fields
from exaone_nb.anatomy.layouts.blocks import Config, Tensors, gated_mlp, linear, norm, tensor
from exaone_nb.anatomy.layouts.decoder import decoder


def _text(config: Config, tied_default: bool) -> Config:
    """The text config with `tie_word_embeddings`, which often stands outside it."""
    text = fields.table(config, "text_config")
    tied = fields.flag(config, "tie_word_embeddings", fields.flag(text, "tie_word_embeddings", tied_default))
    return {**text, "tie_word_embeddings": tied}


def llama4(config: Config) -> Tensors:
    """The text decoder of Llama 4; its vision tower is not laid out here."""
    return decoder(_text(config, False), "llama4_text", "language_model.model", "language_model.lm_head")


def _pixtral(config: Config) -> Tensors:
    hidden, patch = fields.size(config, "hidden_size"), fields.size(config, "patch_size")
    width = fields.size(config, "intermediate_size")
    shape = (hidden, fields.size(config, "num_channels", 3), patch, patch)
    yield tensor("vision_tower.patch_conv.weight", shape, "vision", None)
    yield norm("vision_tower.ln_pre", hidden, None)
    for layer in range(fields.size(config, "num_hidden_layers")):
        at = f"vision_tower.transformer.layers.{layer}"
        yield norm(f"{at}.attention_norm", hidden, None)
        yield from gated_mlp(f"{at}.feed_forward", None, hidden, width, component="vision")
        for name in ("k_proj", "v_proj", "q_proj", "o_proj"):
            yield from linear(f"{at}.attention.{name}", hidden, hidden, "vision", None)
        yield norm(f"{at}.ffn_norm", hidden, None)


def mistral3(config: Config) -> Tensors:
    """Vision tower, projector (2 x 2 patches merged), text decoder."""
    text, seen = _text(config, True), fields.table(config, "vision_config")
    width, hidden = fields.size(text, "hidden_size"), fields.size(seen, "hidden_size")
    merge = fields.size(config, "spatial_merge_size", 2)
    bias = fields.flag(config, "multimodal_projector_bias", False)
    yield from _pixtral(seen)
    at = "multi_modal_projector"
    yield norm(f"{at}.norm", hidden, None)
    yield from linear(f"{at}.patch_merger.merging_layer", hidden, hidden * merge**2, "projector", None)
    yield from linear(f"{at}.linear_1", width, hidden, "projector", None, bias=bias)
    yield from linear(f"{at}.linear_2", width, width, "projector", None, bias=bias)
    yield from decoder(text, "mistral", "language_model.model", "language_model.lm_head")


def _exaone4_5_vision(config: Config) -> Tensors:
    """Like Qwen2.5-VL's tower, with grouped-query attention. Patches are merged (2 x 2) by an MLP at its end."""
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, "intermediate_size")
    query, key_value = fields.size(config, "num_heads"), fields.size(config, "num_key_value_heads", 8)
    patch, frames = fields.size(config, "patch_size", 14), fields.size(config, "temporal_patch_size", 2)
    merged = hidden * fields.size(config, "spatial_merge_size", 2) ** 2
    shape = (hidden, fields.size(config, "in_channels", 3), frames, patch, patch)
    yield tensor("model.visual.patch_embed.proj.weight", shape, "vision", None)
    for layer in range(fields.size(config, "depth")):
        at = f"model.visual.blocks.{layer}"
        fused = hidden + 2 * key_value * (hidden // query)
        yield norm(f"{at}.norm1", hidden, None)
        yield norm(f"{at}.norm2", hidden, None)
        yield from linear(f"{at}.attn.proj", hidden, hidden, "vision", None, bias=True)
        yield from linear(f"{at}.attn.qkv", fused, hidden, "vision", None, bias=True)
        yield from gated_mlp(f"{at}.mlp", None, hidden, width, component="vision", bias=True)
    yield norm("model.visual.merger.ln_q", hidden, None)
    out = fields.size(config, "out_hidden_size")
    yield from linear("model.visual.merger.mlp.0", merged, merged, "projector", None, bias=True)
    yield from linear("model.visual.merger.mlp.2", out, merged, "projector", None, bias=True)


def exaone4_5(config: Config) -> Tensors:
    """Vision tower and EXAONE 4 decoder; the draft layer (`mtp.*`) is not part of the model proper."""
    yield from _exaone4_5_vision(fields.table(config, "vision_config"))
    yield from decoder(_text(config, False), "exaone4", "model.language_model")
