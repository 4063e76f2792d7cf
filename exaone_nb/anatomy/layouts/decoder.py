"""One decoder for every family: what sets a family apart from Llama is a line of facts.

Names and order are those of the published checkpoints and of the modules in transformers 5.17
(models/<family>/modeling_<family>.py; EXAONE 3.x: the modeling file beside its weights). Where the norms sit, and
whether queries and keys have one, is said in `arrangements`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from exaone_nb import fields
from exaone_nb.anatomy import arrangements
from exaone_nb.anatomy.layouts import experts
from exaone_nb.anatomy.layouts.blocks import (
    Config,
    Tensors,
    attention,
    embedding,
    fused_attention,
    fused_mlp,
    gated_mlp,
    head,
    latent_attention,
    norm,
    tensor,
)


@dataclass(frozen=True)
class Family:
    """The facts of one family; the defaults are those of a decoder without any bias.

    `bias` is the switch in the config for biases of the attention (empty: there is none) and `bias_default` what
    holds without it; `output_bias` tells whether the output projection follows it. `sparse` and `experts` are which
    layers have experts and what such a layer stores.
    """

    bias: str = ""
    bias_default: bool = False
    output_bias: bool = True
    mlp_bias: bool = False  # whether the config has a switch `mlp_bias`
    tied: bool = False  # what holds when the config does not say tie_word_embeddings
    norms: tuple[str, ...] = ()  # in the order of the modules, where they do not act in that order
    norm_all_heads: bool = False
    fused_qkv: bool = False
    fused_gate_up: bool = False
    latent: bool = False
    sinks: bool = False  # one learned attention sink per query head
    mlp: str = "mlp"
    dense_width: str = "intermediate_size"
    sparse: Callable[[Config], set[int]] | None = None
    experts: Callable[[str, int, Config], Tensors] | None = None


GLM4_NORMS = (*arrangements.PRE_LN.norms, "post_self_attn_layernorm", "post_mlp_layernorm")

FAMILIES: dict[str, Family] = {
    "llama": Family("attention_bias", mlp_bias=True),
    "mistral": Family(),
    "mixtral": Family(sparse=experts.every_layer, experts=experts.mixtral),
    "qwen2": Family(bias_default=True, output_bias=False),
    "qwen2_moe": Family(
        "qkv_bias", True, output_bias=False, sparse=experts.qwen_layers, experts=experts.qwen2_moe
    ),
    "qwen3": Family("attention_bias"),
    "qwen3_moe": Family("attention_bias", sparse=experts.qwen_layers, experts=experts.qwen3_moe),
    "gemma2": Family("attention_bias", tied=True),
    "gemma3_text": Family("attention_bias", tied=True),
    "phi3": Family(fused_qkv=True, fused_gate_up=True),
    "olmo2": Family("attention_bias", norm_all_heads=True),
    "olmo3": Family("attention_bias", norm_all_heads=True),
    "granite": Family("attention_bias", mlp_bias=True),
    "glm4": Family("attention_bias", True, output_bias=False, fused_gate_up=True, norms=GLM4_NORMS),
    "smollm3": Family("attention_bias", mlp_bias=True, tied=True),
    "cohere2": Family("attention_bias", tied=True),
    "exaone4": Family(),
    "exaone_moe": Family(sparse=partial(experts.layers_after_the_first, dense=1), experts=experts.exaone_moe),
    "deepseek_v2": Family(
        "attention_bias",
        mlp_bias=True,
        latent=True,
        sparse=partial(experts.layers_after_the_first, dense=0),
        experts=experts.deepseek_v2,
    ),
    "deepseek_v3": Family(
        "attention_bias",
        latent=True,
        sparse=partial(experts.layers_after_the_first, dense=3),
        experts=experts.deepseek_v3,
    ),
    "gpt_oss": Family(
        "attention_bias", True, sinks=True, sparse=experts.every_layer, experts=experts.gpt_oss
    ),
    "llama4_text": Family(
        "attention_bias",
        mlp="feed_forward",
        dense_width="intermediate_size_mlp",
        sparse=experts.llama4_layers,
        experts=experts.llama4,
    ),
}
FAMILIES["kimi_k2"] = FAMILIES["deepseek_v3"]


def decoder(config: Config, model_type: str, body: str = "model", head_name: str = "lm_head") -> Tensors:
    """A text decoder whose modules stand below `body`, and its head where it is not tied."""
    family, arrangement = FAMILIES[model_type], arrangements.FAMILIES[model_type]
    hidden = fields.size(config, "hidden_size")
    sparse = family.sparse(config) if family.sparse else set()
    yield embedding(f"{body}.embed_tokens", config)
    for layer in range(fields.layers(config)):
        at = f"{body}.layers.{layer}"
        yield from _attention(f"{at}.self_attn", layer, config, family, arrangement.qk_norm)
        if layer in sparse:
            yield from family.experts(at, layer, config)
        else:
            yield from _dense_mlp(f"{at}.{family.mlp}", layer, config, family)
        for name in family.norms or arrangement.norms:
            yield norm(f"{at}.{name}", hidden, layer)
    yield norm(f"{body}.norm", hidden, None)
    if not fields.flag(config, "tie_word_embeddings", family.tied):
        yield head(head_name, config)


def _attention(at: str, layer: int, config: Config, family: Family, qk_norm: bool) -> Tensors:
    bias = fields.flag(config, family.bias, family.bias_default) if family.bias else family.bias_default
    if family.latent:
        return latent_attention(at, layer, config, bias=bias)
    if family.fused_qkv:
        return fused_attention(at, layer, config)
    return _grouped(at, layer, config, family, qk_norm, bias)


def _grouped(at: str, layer: int, config: Config, family: Family, qk_norm: bool, bias: bool) -> Tensors:
    if family.sinks:
        yield tensor(f"{at}.sinks", (fields.heads(config)[0],), "attention", layer)
    yield from attention(
        at,
        layer,
        config,
        qk_norm=qk_norm,
        norm_all_heads=family.norm_all_heads,
        bias=bias,
        output_bias=bias and family.output_bias,
    )


def _dense_mlp(at: str, layer: int, config: Config, family: Family) -> Tensors:
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, family.dense_width)
    if family.fused_gate_up:
        return fused_mlp(at, layer, hidden, width)
    bias = family.mlp_bias and fields.flag(config, "mlp_bias", False)
    return gated_mlp(at, layer, hidden, width, bias=bias)


def exaone3(config: Config) -> Tensors:
    """EXAONE 3.0, 3.5 and Deep: GPT-style names, norms where they act; the layer count is `num_layers`."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "intermediate_size", 4 * hidden)
    before_attention, before_mlp = arrangements.FAMILIES["exaone"].norms
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
