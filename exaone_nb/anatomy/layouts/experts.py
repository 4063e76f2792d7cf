"""The sparse blocks of mixtures of experts, and which layers have one.

Names are those of the published checkpoints: most families store every expert on its own, gpt-oss and Llama 4 all
experts of a layer as one three-dimensional tensor. A block takes (the layer's prefix, its number, the config).
The draft layers for multi-token prediction (`num_nextn_predict_layers`) are not part of any layout.
"""

from collections.abc import Iterable
from itertools import product

from exaone_nb import fields
from exaone_nb.anatomy.layouts.blocks import (
    Config,
    Tensors,
    gated_mlp,
    linear,
    router,
    separate_experts,
    tensor,
)
from exaone_nb.tensors import TensorSpec

MIXTRAL = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


def as_linear(specs: Iterable[TensorSpec], rename: bool = True) -> Tensors:
    """The same tensors with every expert on its own, as LLM Compressor takes them apart before it quantizes anything.

    gpt-oss and Llama 4 store the experts of a layer transposed: gate and up [experts, in, 2 x width], down [experts,
    width, out], and gpt-oss a bias for each. Mixtral's have names of their own. LLM Compressor 0.14 writes all of them
    as gate_proj, up_proj and down_proj of one expert (llmcompressor/modeling/moe/linearize.py); earlier versions left
    Mixtral's names (`rename` False).
    """
    for spec in specs:
        at, _, name = spec.name.rpartition(".")
        expert, _, part = at.rpartition(".")
        if rename and spec.component == "experts" and part in MIXTRAL:
            yield tensor(f"{expert}.{MIXTRAL[part]}.{name}", spec.shape, "experts", spec.layer, spec.kind)
            continue
        if spec.component != "experts" or not at.endswith(".experts"):
            yield spec
            continue
        *_, columns = spec.shape
        parts = ("gate_proj", "up_proj") if name.startswith("gate_up_proj") else ("down_proj",)
        for expert, part in product(range(spec.shape[0]), parts):
            shape = (columns // len(parts), *spec.shape[1:-1])
            kind = "other" if name.endswith("_bias") else "linear"
            last = "bias" if name.endswith("_bias") else "weight"
            yield tensor(f"{at}.{expert}.{part}.{last}", shape, "experts", spec.layer, kind)


def every_layer(config: Config) -> set[int]:
    """All layers are sparse."""
    return set(range(fields.layers(config)))


def qwen_layers(config: Config) -> set[int]:
    """Every `decoder_sparse_step`-th layer, except those in `mlp_only_layers`."""
    step = fields.size(config, "decoder_sparse_step", 1)
    last_of_step = {layer for layer in every_layer(config) if (layer + 1) % step == 0}
    return last_of_step - set(config.get("mlp_only_layers") or [])


def layers_after_the_first(config: Config, dense: int) -> set[int]:
    """DeepSeek and K-EXAONE: all but the first `first_k_dense_replace`, or what the config lists layer by layer.

    `dense` is the family's own number, for a config without one.
    """
    count = fields.layers(config)
    listed = fields.per_layer(config, "is_moe_layer", count)
    if listed is None and (types := fields.per_layer(config, "mlp_layer_types", count)):
        listed = [kind == "sparse" for kind in types]
    first = fields.size(config, "first_k_dense_replace", dense, least=0)
    every = fields.size(config, "moe_layer_freq", 1)
    return {
        layer
        for layer in range(count)
        if (listed[layer] if listed else layer >= first and layer % every == 0)
    }


def llama4_layers(config: Config) -> set[int]:
    """Every `interleave_moe_layer_step`-th layer, or those in `moe_layers`."""
    step = fields.size(config, "interleave_moe_layer_step", 1)
    chosen = config.get("moe_layers")
    return set(chosen) if chosen else {i for i in every_layer(config) if (i + 1) % step == 0}


def qwen3_moe(at: str, layer: int, config: Config) -> Tensors:
    """A router and experts."""
    yield router(f"{at}.mlp.gate", layer, config)
    yield from separate_experts(f"{at}.mlp", layer, config)


def qwen2_moe(at: str, layer: int, config: Config) -> Tensors:
    """The same, and one shared expert whose output passes through a gate of its own."""
    hidden = fields.size(config, "hidden_size")
    width = fields.size(config, "shared_expert_intermediate_size")
    yield from qwen3_moe(at, layer, config)
    yield from gated_mlp(f"{at}.mlp.shared_expert", layer, hidden, width, component="shared_experts")
    yield from linear(f"{at}.mlp.shared_expert_gate", 1, hidden, "shared_experts", layer)


def mixtral(at: str, layer: int, config: Config) -> Tensors:
    """Experts as wide as a dense MLP, under names of their own."""
    yield router(f"{at}.block_sparse_moe.gate", layer, config)
    yield from separate_experts(
        f"{at}.block_sparse_moe", layer, config, width_key="intermediate_size", names=tuple(MIXTRAL)
    )


def _shared(at: str, layer: int, config: Config) -> Tensors:
    """The experts that every token passes through: one gated MLP as wide as all of them, or nothing."""
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, "moe_intermediate_size")
    if count := fields.size(config, "num_shared_experts", 0, least=0):
        bias = fields.flag(config, "mlp_bias", False)
        yield from gated_mlp(
            f"{at}.mlp.shared_experts", layer, hidden, width * count, component="shared_experts", bias=bias
        )


def exaone_moe(at: str, layer: int, config: Config) -> Tensors:
    """K-EXAONE: sigmoid router with a correction bias, a shared expert.

    The bias is in 32 bits in whatever transformers has read and written (_keep_in_fp32_modules_strict).
    """
    experts = fields.size(config, "num_experts")
    yield from separate_experts(f"{at}.mlp", layer, config)
    yield router(f"{at}.mlp.gate", layer, config)
    bias = f"{at}.mlp.e_score_correction_bias"
    yield tensor(bias, (experts,), "router", layer, dtype="F32", buffer=True)
    yield from _shared(at, layer, config)


def deepseek_v2(at: str, layer: int, config: Config) -> Tensors:
    """Many small experts, and shared ones."""
    yield from separate_experts(f"{at}.mlp", layer, config)
    yield router(f"{at}.mlp.gate", layer, config)
    yield from _shared(at, layer, config)


def deepseek_v3(at: str, layer: int, config: Config) -> Tensors:
    """The same with a correction bias (always in 32 bits) for the router."""
    experts = fields.size(config, "num_experts")
    bias = f"{at}.mlp.gate.e_score_correction_bias"
    yield from separate_experts(f"{at}.mlp", layer, config)
    yield router(f"{at}.mlp.gate", layer, config)
    yield tensor(bias, (experts,), "router", layer, dtype="F32", buffer=True)
    yield from _shared(at, layer, config)


def gpt_oss(at: str, layer: int, config: Config) -> Tensors:
    """All experts in one tensor each for gate and up, and down; biases everywhere."""
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, "intermediate_size")
    experts = fields.size(config, "num_experts")
    yield router(f"{at}.mlp.router", layer, config)
    yield tensor(f"{at}.mlp.router.bias", (experts,), "router", layer)
    yield tensor(f"{at}.mlp.experts.gate_up_proj", (experts, hidden, 2 * width), "experts", layer)
    yield tensor(f"{at}.mlp.experts.gate_up_proj_bias", (experts, 2 * width), "experts", layer)
    yield tensor(f"{at}.mlp.experts.down_proj", (experts, width, hidden), "experts", layer)
    yield tensor(f"{at}.mlp.experts.down_proj_bias", (experts, hidden), "experts", layer)


def llama4(at: str, layer: int, config: Config) -> Tensors:
    """All experts in one tensor each, and one shared expert."""
    hidden, width = fields.size(config, "hidden_size"), fields.size(config, "intermediate_size")
    experts, block = fields.size(config, "num_experts"), f"{at}.feed_forward"
    yield tensor(f"{block}.experts.gate_up_proj", (experts, hidden, 2 * width), "experts", layer)
    yield tensor(f"{block}.experts.down_proj", (experts, width, hidden), "experts", layer)
    yield router(f"{block}.router", layer, config, "linear")
    yield from gated_mlp(f"{block}.shared_expert", layer, hidden, width, component="shared_experts")
