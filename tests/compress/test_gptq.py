from __future__ import annotations

import pytest

from exaone_nb.compress import study
from exaone_nb.compress.formats import dequantize, round_to_nearest
from exaone_nb.compress.gptq import compare_on_layer, gptq, hessian
from exaone_nb.compress.llmcompressor_adapter import library_codes

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def layer():
    """A weight [48, 256] and correlated inputs, 600 tokens for calibration and 600 held out."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(256, 256, generator=generator) * torch.linspace(0.1, 2, 256)
    inputs = torch.randn(1200, 256, generator=generator) @ mix
    return torch.randn(48, 256, generator=generator), inputs[:600], inputs[600:]


@pytest.mark.heavy
@pytest.mark.parametrize("ordered", [True, False])
def test_codes_are_llm_compressors(layer, ordered):
    weight, seen, _ = layer
    codes, _ = gptq(weight, hessian(seen), ordered=ordered)
    theirs = library_codes(weight, hessian(seen), 4, 128, actorder="static" if ordered else None)
    assert (theirs == codes).float().mean() > 0.999


def test_everything_is_made_where_the_inputs_are(layer):
    """As on a GPU: whatever names no device lands on another one here, and cannot be mixed with the inputs."""
    weight, seen, unseen = layer
    plain = {ordered: gptq(weight, hessian(seen), ordered=ordered)[0] for ordered in (True, False)}
    with torch.device("meta"):
        for ordered, codes in plain.items():
            assert torch.equal(gptq(weight, hessian(seen), ordered=ordered)[0], codes)
        compare_on_layer(weight, seen, unseen)
        study.settings_study(weight, seen, unseen)
        study.calibration_study(weight, {"text": seen.split(20)}, unseen, sizes=(2,))
        study.sharing_study(weight)


def test_block_size_changes_nothing(layer):
    weight, seen, _ = layer
    first, _ = gptq(weight, hessian(seen), block_size=0)
    for size in (1, 32, 100, 128):
        assert (gptq(weight, hessian(seen), block_size=size)[0] == first).float().mean() > 0.999


def test_gptq_keeps_the_scales_and_lowers_the_output_error(layer):
    weight, seen, unseen = layer
    assert torch.equal(gptq(weight, hessian(seen))[1], round_to_nearest(weight)[1])
    table = compare_on_layer(weight, seen, unseen)
    nearest, ours = table["round to nearest"], table["GPTQ"]
    assert ours["calibration"] < 0.8 * nearest["calibration"] and ours["held out"] < nearest["held out"]
    assert ours["weights"] > nearest["weights"]
    assert ours["calibration"] < ours["held out"]


def test_white_inputs_leave_nothing_to_gain(layer):
    weight, _, _ = layer
    codes, _ = gptq(weight, torch.eye(256), ordered=False)
    assert torch.equal(codes, round_to_nearest(weight)[0])


def test_inputs_that_are_always_zero_are_survived(layer):
    weight, seen, _ = layer
    dead = seen.clone()
    dead[:, 7] = 0
    codes, scale = gptq(weight, hessian(dead))
    assert dequantize(codes, scale).isfinite().all() and (codes[:, 7] == 0).all()


def test_the_settings_table_shows_block_size_as_the_no_op(layer):
    rows = {row["setting"]: row for row in study.settings_study(*layer).rows}
    assert rows["block_size 32"]["changed"] < 0.001
    assert rows["actorder null"]["changed"] > 0.01
    errors = {name: row["error"] for name, row in rows.items()}
    assert errors["8 bits"] < errors["group_size 32"] < errors["GPTQ, all defaults"]
    assert (
        errors["GPTQ, all defaults"]
        < errors["round to nearest, group 128"]
        < errors["round to nearest, per channel"]
    )


def test_more_text_helps_and_each_seed_draws_its_own(layer):
    weight, seen, unseen = layer
    rows = study.calibration_study(weight, {"text": seen.split(20)}, unseen, sizes=(2, 24, 999))
    assert {row["samples"] for row in rows} == {2, 24}
    few = [row["error"] for row in rows if row["samples"] == 2]
    many = [row["error"] for row in rows if row["samples"] == 24]
    assert len(set(few)) == 3 and max(many) < min(few)


def test_fewer_weights_per_scale_mean_less_error(layer):
    rows = {row["grid"]: row for row in study.sharing_study(layer[0]).rows}
    for grid in ("int4", "int8", "int4 asymmetric", "fp4_e2m1"):
        row = rows[grid]
        assert row["group 32"] < row["group 128"] < row["channel"] < row["tensor"]
    assert rows["int4 asymmetric"]["channel"] < rows["int4"]["channel"]


@pytest.mark.heavy
def test_llm_compressors_own_settings_are_measured_no_ops_included(layer):
    weight, seen, _ = layer
    rows = {(r["scheme"], r["set"]): r["changed"] for r in study.library_study(weight, seen).rows}
    for scheme in ("4 bits, groups of 128", "8 bits, one scale per channel"):
        assert rows[scheme, "nothing"] == rows[scheme, "actorder weight"] == 0
        assert rows[scheme, "actorder null"] > 0.01 > 0.002 > rows[scheme, "block_size 64"]
    ours, _ = gptq(weight, hessian(seen))
    assert (library_codes(weight, hessian(seen), 4, 128) == ours).float().mean() > 0.999


@pytest.mark.heavy
def test_a_choice_of_modules_is_rounded_in_memory_and_taken_back():
    from exaone_nb.compress import damage, models, rounding, tables
    from exaone_nb.compress.calibration import TextSource
    from exaone_nb.compress.plan import make_plan
    from exaone_nb.paths import NANO

    model = models.open_model(NANO)
    texts = damage.documents(NANO, TextSource("nano_heldout"), 4)
    head = {"scheme": "W4A16", "ignore": ["lm_head"]}
    plans = {
        "all": head,
        "by name": head | {"ignore": ["lm_head", "model.layers.3"]},
        "by pattern": head | {"ignore": ["lm_head", r"re:.*\.layers\.3\..*"]},
        "8 bits": head | {"scheme": "W8A16"},
        "head": head | {"ignore": []},
    }
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plans = {name: make_plan("nano", document) for name, document in plans.items()}
    rows = {row["label"]: row for row in study.selection_study(model, plans, texts)}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    cost = {name: row["kl"][:, 0].sum() for name, row in rows.items()}
    assert cost["all"] == cost["by name"] > 10 * cost["8 bits"] > 0
    assert rows["by pattern"]["modules"] < rows["by name"]["modules"] == rows["all"]["modules"]
    assert rows["head"]["predicted_bytes"] > rows["all"]["predicted_bytes"] and cost["head"] != cost["all"]
    with rounding.rounded(model, plans["all"].by_module):
        made = damage.linear_weights(model)["model.layers.0.mlp.up_proj"]
        assert torch.equal(made, dequantize(*round_to_nearest(before["model.layers.0.mlp.up_proj.weight"])))
    parts = [rows["8 bits"] | {"label": "gate_proj"}, rows["all"] | {"label": "up_proj"}]
    row, _ = tables.parts(parts, {"a.up_proj": 0.5, "a.gate_proj": 1}).rows
    assert row["part"] == "up_proj" and row["error"] == 0.5
    assert tables.selection([rows["all"]]).records()[0]["modules"] == 28
