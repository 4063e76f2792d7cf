"""Where the norms sit, held against the modules of transformers while they run."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.arrangements import FAMILIES, arrangement_of
from exaone_nb.anatomy.layouts import LAYOUTS
from exaone_nb.errors import UsageError

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "layer_types": ["full_attention"] * 2,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    **EXPERTS,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 2,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
MORE = {
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "exaone_moe": {
        **EXPERTS,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 0,
        "mlp_layer_types": ["dense"] * 2,
    },
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
    "gpt_oss": EXPERTS,
    "llama4_text": {**EXPERTS, "intermediate_size_mlp": 48, "attention_chunk_size": 32},
}
# Only in code that is downloaded (EXAONE 3, Kimi-K2): the layouts' tests hold those against published files. The text
# part of EXAONE 4.5 is an exaone4.
REMOTE = {"exaone", "kimi_k2", "exaone4_5_text"}


def watch(family: str):
    """(steps of one block after another with the norms' names, the norm that each block reads or None, q_norm there)."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **{**SIZES, **MORE.get(family, {})})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    layer = model.model.layers[0]
    calls, outputs, reads_norm = [], [], []

    def note(name):
        def hook(module, args, kwargs, output):
            given = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            if "norm" in name:
                calls.append(name)
                outputs.append((name, output))
            else:
                calls.append("block")
                reads_norm.append(
                    next((name for name, each in outputs if given.data_ptr() == each.data_ptr()), None)
                )

        return hook

    for name, module in layer.named_children():
        if not isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(note(name), with_kwargs=True)
    with torch.no_grad():
        model(torch.arange(6)[None])
    return calls, reads_norm, hasattr(layer.self_attn, "q_norm")


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - REMOTE))
def test_a_family_runs_as_its_arrangement_says(family: str) -> None:
    arrangement = FAMILIES[family]
    names = iter(arrangement.norms)
    steps = ["norm", "block", "block"] if arrangement.parallel else [*arrangement.order] * 2
    expected = ["block" if step == "block" else next(names) for step in steps if step != "add"]
    calls, reads_norm, has_q_norm = watch(family)
    assert calls == expected
    assert reads_norm == list(arrangement.feeding_norms or [None, None])
    assert has_q_norm == arrangement.qk_norm


def test_every_layout_has_an_arrangement() -> None:
    assert {name for name in LAYOUTS if name not in FAMILIES} <= {"exaone4_5", "llama4", "mistral3"}, (
        "these hold a text decoder"
    )
    for name in catalog.names():
        arrangement_of(catalog.resolve(name).config())


def test_k_exaone_is_pre_norm_and_exaone_4_is_not() -> None:
    k_exaone = arrangement_of(catalog.resolve("K-EXAONE-236B-A23B").config())
    assert k_exaone.feeding_norms == ("input_layernorm", "post_attention_layernorm") and k_exaone.qk_norm
    assert arrangement_of(catalog.resolve("EXAONE-4.0-32B").config()).feeding_norms == ()
    assert arrangement_of(catalog.resolve("Mistral-Small-3.2-24B-Instruct-2506").config()).name == "Pre-LN"


def test_an_unknown_family_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="mamba") as caught:
        arrangement_of({"model_type": "mamba"})
    assert "exaone4" in caught.value.expected
