"""Which group of a recipe a module gets when several fit: cases by hand, then compressed-tensors itself."""

from __future__ import annotations

import random

import pytest

from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.catalog import resolve
from exaone_nb.quantization.matching import Groups, matches

UP, DOWN = "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"


@pytest.mark.parametrize(
    "groups, expected",
    [
        ([["Linear"], ["re:.*up_proj"]], 1),  # an expression beats a class, whatever comes first
        ([["re:.*up_proj"], ["Linear"]], 0),
        ([["re:.*up_proj"], [UP]], 1),  # the full name beats both
        ([[UP], ["re:.*up_proj"], ["Linear"]], 0),
        ([["re:.*up_proj"], ["re:.*mlp.*"]], 1),  # among expressions the alphabet decides
        ([["re:.*mlp.*"], ["re:.*up_proj"]], 0),
        ([["Linear"], ["Module"]], 0),  # and among classes
        ([["Module"], ["Linear"]], 1),
        ([["Linear"], ["Linear"]], 1),  # the same target twice: the later group
        ([[UP, "Linear"], [DOWN, "Linear"]], 0),
        ([["Embedding"], [DOWN]], None),
        ([["re:up_proj"], ["mlp"]], None),
    ],
)
def test_who_wins(groups, expected):
    chosen = Groups(enumerate(groups), ignore=())
    assert chosen.value_for(UP, "linear") == expected
    assert Groups(enumerate(groups), ignore=["re:.*mlp"]).value_for(UP, "linear") is None
    assert chosen.value_for("model.norm", "norm") is None


def test_the_order_of_groups_does_not_change_a_prediction():
    config = resolve("EXAONE-4.0-1.2B").config()
    broad = {"scheme": "W4A16", "targets": ["Linear"]}
    narrow = {"scheme": "W8A16", "targets": ["re:.*down_proj"]}
    one = {"scheme": "FP8_DYNAMIC", "targets": ["model.layers.0.mlp.down_proj"]}
    sizes = {
        predict_checkpoint(config, config_groups=groups).file_bytes
        for groups in ([broad, narrow, one], [one, narrow, broad], [narrow, broad, one])
    }
    assert len(sizes) == 1
    tensors = {t.name: t for t in predict_checkpoint(config, config_groups=[broad, narrow, one]).tensors}
    assert tensors["model.layers.0.mlp.down_proj.weight"].dtype == "F8_E4M3"
    assert tensors["model.layers.1.mlp.down_proj.weight_packed"].shape == (2048, 4096 // 4)
    assert tensors["model.layers.1.mlp.up_proj.weight_packed"].shape == (4096, 2048 // 8)


TARGETS = (
    "Linear",
    "Embedding",
    "Module",
    "lm_head",
    UP,
    DOWN,
    "model.layers.0.self_attn.q_proj",
    "model.embed_tokens",
    "model.layers.1",
    "Exaone4MLP",
    "re:.*mlp.*",
    "re:.*self_attn.*",
    r"re:.*\.(o_proj|down_proj)$",
    r"re:model\.layers\.1\..*",
    r"re:.*layers\.0.*",
    "re:.*proj",
    "re:.*embed.*",
    "re:up_proj",
)


@pytest.mark.heavy
def test_groups_are_given_as_the_library_gives_them():
    """Random recipes with overlapping groups, applied to a real model by compressed-tensors and by us."""
    import torch
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from transformers import Exaone4Config, Exaone4ForCausalLM

    config = Exaone4Config(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        vocab_size=128,
        tie_word_embeddings=False,
        layer_types=["full_attention"] * 2,
    )
    draw = random.Random(3)
    overlapping = 0
    for _ in range(60):
        # The bits of a group's weights say afterwards which group a module got.
        groups = [draw.sample(TARGETS, draw.randint(1, 5)) for _ in range(3)]
        ignore = draw.sample(TARGETS, draw.randint(0, 2))
        with torch.device("meta"):
            model = Exaone4ForCausalLM(config)
        document = {
            f"group_{bits}": {"targets": targets, "weights": {"num_bits": bits, "strategy": "channel"}}
            for bits, targets in enumerate(groups, start=2)
        }
        apply_quantization_config(
            model, QuantizationConfig(config_groups=document, ignore=ignore), show_progress=False
        )
        ours = Groups(enumerate(groups, start=2), ignore)
        for name, module in model.named_modules():
            if not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                continue
            kind = "linear" if isinstance(module, torch.nn.Linear) else "embedding"
            scheme = getattr(module, "quantization_scheme", None)
            assert ours.value_for(name, kind) == (scheme and scheme.weights.num_bits), (name, groups, ignore)
            overlapping += sum(matches(name, kind, targets) for targets in groups) > 1
    assert overlapping > 100, "recipes whose groups overlap, or this says nothing"
