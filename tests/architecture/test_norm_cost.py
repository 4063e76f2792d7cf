"""The price of norms: what is counted, against transformers' own modules, and that the clock sees a slow norm."""

import time

import pytest
import torch

from exaone_nb.anatomy.arrangements import PRE_LN, QK_REORDER_LN
from exaone_nb.architecture import norm_cost
from exaone_nb.architecture.layers import RMSNorm
from exaone_nb.architecture.shape import Shape
from exaone_nb.errors import UsageError

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@pytest.mark.parametrize(("family", "arrangement"), [("Exaone4", QK_REORDER_LN), ("Llama", PRE_LN)])
def test_values_are_those_that_pass_transformers_norms(family, arrangement):
    import transformers

    more = {"layer_types": ["full_attention"], "sliding_window": None} if family == "Exaone4" else {}
    config = getattr(transformers, f"{family}Config")(vocab_size=32, num_hidden_layers=1, **SIZES, **more)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    passed = []
    for name, module in model.model.layers[0].named_modules():
        if "norm" in name:
            module.register_forward_hook(lambda m, args, out: passed.append(out.numel()))
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    assert norm_cost.values_normalised(Shape(**SIZES), arrangement) == sum(passed) / 3


def test_a_slow_norm_is_seen_in_every_arrangement_that_has_one(monkeypatch):
    plain = RMSNorm.forward

    def slow(self, x):
        until = time.thread_time() + 0.004
        while time.thread_time() < until:
            pass
        return plain(self, x)

    monkeypatch.setattr(RMSNorm, "forward", slow)
    costs = norm_cost.measure(Shape(**SIZES), tokens=(4,), rounds=3)
    by_name = {cost.arrangement: cost for cost in costs}
    assert by_name["no norms"].extra is None and by_name["no norms"].values == 0
    # Two norms of 4 ms each, and four.
    assert 0.007 < by_name["Pre-LN"].seconds.value < by_name["QK-Reorder-LN"].seconds.value
    assert by_name["QK-Reorder-LN"].seconds.value > 0.015 and by_name["QK-Reorder-LN"].extra.low > 0


def test_all_arrangements_share_one_set_of_matrices():
    layers = norm_cost._layers(Shape(**SIZES))
    pointers = {layer.self_attn.q_proj.weight.data_ptr() for layer in layers.values()}
    assert len(pointers) == 1
    (share,) = {c.operations for c in norm_cost.measure(Shape(**SIZES), (1,), 2) if c.arrangement == "Pre-LN"}
    matrices = 48 * (6 + 2 + 2 + 6) * 16 + 3 * 48 * 80
    assert share == pytest.approx(4 * 2 * 48 / (2 * matrices))


@pytest.mark.parametrize("values", [{"rounds": 1}, {"tokens": (0,)}])
def test_impossible_measurements(values):
    with pytest.raises(UsageError):
        norm_cost.measure(Shape(**SIZES), **values)
