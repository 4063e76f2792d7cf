from __future__ import annotations

import pytest

from exaone_nb.anatomy.modules import modules_of
from exaone_nb.errors import UsageError
from exaone_nb.quantization.matching import check_pattern, winning_target
from exaone_nb.quantization.patterns import meant

PATTERNS = [
    "Linear", "Embedding", "Module", "lm_head", "model.layers.0", "model.layers.3.mlp.up_proj", "Exaone4Attention",
    "Exaone4DecoderLayer", "Exaone4MLP", "Exaone4RMSNorm", "re:.*self_attn.*", "re:self_attn.*", r"re:.*\.(o_proj|down_proj)$",
    "embed_tokens", "model.embed_tokens", "re:.*embed.*", r"re:model\.layers\.(0|3)\..*", "re:.*norm", "linear",
]  # fmt: skip


@pytest.fixture(scope="module")
def small() -> dict:
    return {
        "model_type": "exaone4", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 128, "tie_word_embeddings": True,
        "layer_types": ["full_attention"] * 4, "sliding_window": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def torch_model(small):
    import torch
    from transformers import Exaone4Config, Exaone4ForCausalLM

    with torch.device("meta"):
        return Exaone4ForCausalLM(Exaone4Config(**{k: v for k, v in small.items() if k != "model_type"}))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_what_the_library_matches(small, torch_model, pattern):
    from compressed_tensors.utils import is_match

    ours = {m.name for m in modules_of(small) if m.fits(pattern)}
    known = {m.name for m in modules_of(small)}
    theirs = {name for name, module in torch_model.named_modules() if is_match(name, module, pattern)}
    assert ours == theirs & known


def test_the_winner_is_the_librarys_first(small, torch_model):
    from compressed_tensors.utils import match_targets

    targets = ["Linear", "re:.*mlp.*", r"re:.*\.down_proj$", "model.layers.1.mlp.down_proj", "Embedding"]
    for module in modules_of(small):
        if module.quantizable:
            theirs = match_targets(module.name, torch_model.get_submodule(module.name), targets)
            assert winning_target(module.name, module.kind, targets) == (theirs[0] if theirs else None), (
                module.name
            )


def test_every_linear_and_embedding_is_listed(small, torch_model):
    import torch

    theirs = {
        n for n, m in torch_model.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Embedding)
    }
    assert {m.name for m in modules_of(small) if m.quantizable} == theirs


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("embed_tokens", "`model.embed_tokens`"),
        ("o_proj", r"re:.*\.o_proj"),
        ("re:self_attn.*", "re:.*self_attn.*"),
        (r"re:.*layers\\.0\\..*", "written twice"),
        ("model.layers.9.mlp.up_proj", "0 to 3"),
        ("model.layers.*.self_attn.q_proj", "only after `re:`"),
        ("lm_haed", "lm_head"),
        ("zzz", "down_proj"),
    ],
)
def test_suggestions(small, pattern, words):
    assert words in meant(pattern, modules_of(small))[1]


def test_a_broken_expression_is_refused():
    with pytest.raises(UsageError, match="regular expression"):
        check_pattern("re:*proj")


@pytest.mark.parametrize(
    "groups",
    [
        [("W4A16", ["Linear"]), ("W8A8", ["Linear"])],
        [("W8A16", [r"re:.*\.(o_proj|down_proj)$"]), ("W4A16", ["Linear"])],
        [("W4A16", ["Linear"]), ("W8A16", ["re:.*mlp.*", "model.layers.2.self_attn.k_proj"])],
    ],
)
def test_a_plan_gives_every_module_the_scheme_that_the_library_gives_it(small, groups):
    """Group sizes of 32 by explicit arguments, since the small model's matrices are small."""
    import torch
    from compressed_tensors.quantization import (
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )
    from transformers import Exaone4Config, Exaone4ForCausalLM

    from exaone_nb.compress import recipe as recipes
    from exaone_nb.compress.plan import plan_for

    def weights(scheme):
        return {
            "num_bits": int(scheme[1]),
            "type": "int",
            "strategy": "group",
            "group_size": 32,
            "symmetric": True,
        }

    document = {
        "groups": [{"scheme": {"weights": weights(s)}, "targets": t} for s, t in groups],
        "ignore": ["lm_head"],
    }
    plan = plan_for(small, recipes.parse(document))
    made = {f"g{i}": QuantizationScheme(targets=t, weights=weights(s)) for i, (s, t) in enumerate(groups)}
    with torch.device("meta"):
        model = Exaone4ForCausalLM(Exaone4Config(**{k: v for k, v in small.items() if k != "model_type"}))
    apply_quantization_config(
        model, QuantizationConfig(config_groups=made, ignore=["lm_head"]), show_progress=False
    )
    for name, index in plan.assigned.items():
        theirs = getattr(model.get_submodule(name), "quantization_scheme", None)
        ours = None if index is None else plan.schemes[index].weights.num_bits
        assert (theirs.weights.num_bits if theirs else None) == ours, name
