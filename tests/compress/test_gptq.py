from __future__ import annotations

import pytest

from exaone_nb.compress import study
from exaone_nb.compress.formats import dequantize, output_error
from exaone_nb.compress.llmcompressor_adapter import library_codes
from tests.page import gptq_functions

torch = pytest.importorskip("torch")
round_to_nearest, hessian, gptq = gptq_functions()


@pytest.fixture(scope="module")
def layer():
    """A weight [48, 256] and correlated inputs, 600 tokens for calibration and 600 held out."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(256, 256, generator=generator) * torch.linspace(0.1, 2, 256)
    inputs = torch.randn(1200, 256, generator=generator) @ mix
    return torch.randn(48, 256, generator=generator), inputs[:600], inputs[600:]


def errors_on(weight, seen, unseen):
    made = {"round to nearest": round_to_nearest(weight, 128), "GPTQ": gptq(weight, hessian(seen), 128)}
    return {row["method"]: row for row in study.layer_errors(weight, made, seen, unseen).rows}


def sweep(weight, samples, unseen, **options):
    def error(inputs):
        codes, scale = gptq(weight, hessian(inputs), 128)
        return output_error(weight, dequantize(codes, scale.float()), unseen)

    return study.calibration_study({"text": samples}, error, **options)


@pytest.mark.heavy
@pytest.mark.parametrize("ordered", [True, False])
def test_the_page_s_codes_are_llm_compressors_bit_by_bit(layer, ordered):
    weight, seen, _ = layer
    codes, _ = gptq(weight, hessian(seen), 128, ordered=ordered)
    theirs = library_codes(weight, hessian(seen), 4, 128, actorder="static" if ordered else None)
    assert torch.equal(theirs, codes.to(torch.int8))


def test_everything_is_made_where_the_inputs_are(layer):
    """As on a GPU: whatever names no device lands on another one here, and cannot be mixed with the inputs."""
    weight, seen, unseen = layer
    plain = {ordered: gptq(weight, hessian(seen), 128, ordered=ordered)[0] for ordered in (True, False)}
    with torch.device("meta"):
        for ordered, codes in plain.items():
            assert torch.equal(gptq(weight, hessian(seen), 128, ordered=ordered)[0], codes)
        errors_on(weight, seen, unseen)
        study.settings_table(weight, {"all": gptq(weight, hessian(seen), 128)}, unseen)
        sweep(weight, seen.split(20), unseen, sizes=(2,))
        study.sharing_study(weight)


def test_the_block_changes_nothing(layer):
    weight, seen, _ = layer
    first, _ = gptq(weight, hessian(seen), 128, block=256)
    for size in (1, 32, 100, 128):
        assert (gptq(weight, hessian(seen), 128, block=size)[0] == first).float().mean() > 0.999


def test_gptq_keeps_the_scales_and_lowers_the_output_error(layer):
    weight, seen, unseen = layer
    assert torch.equal(gptq(weight, hessian(seen), 128)[1], round_to_nearest(weight, 128)[1])
    nearest, ours = errors_on(weight, seen, unseen).values()
    assert ours["calibration"] < 0.8 * nearest["calibration"] and ours["held out"] < nearest["held out"]
    assert ours["weights"] > nearest["weights"]
    assert ours["calibration"] < ours["held out"]


def test_white_inputs_leave_nothing_to_gain(layer):
    weight, _, _ = layer
    codes, _ = gptq(weight, torch.eye(256), 128, ordered=False)
    assert torch.equal(codes, round_to_nearest(weight, 128)[0])


def test_inputs_that_are_always_zero_are_survived(layer):
    weight, seen, _ = layer
    dead = seen.clone()
    dead[:, 7] = 0
    codes, scale = gptq(weight, hessian(dead), 128)
    assert dequantize(codes, scale).isfinite().all()


def test_rounding_keeps_the_grid_and_the_error_below_half_a_step():
    weight = torch.randn(16, 256, generator=torch.Generator().manual_seed(1))
    codes, scale = round_to_nearest(weight, 128)
    assert scale.shape == (16, 2) and codes.min() == -8 and codes.max() == 7
    error = (weight - dequantize(codes, scale)).abs()
    assert (error <= scale.repeat_interleave(128, 1) * 0.5001).all()


def test_the_settings_table_counts_codes_unlike_the_first_row_s(layer):
    weight, seen, unseen = layer
    curve = hessian(seen)
    changes = {"default": {}, "block": {"block": 32}, "order": {"ordered": False}, "8 bits": {"bits": 8}}
    made = {name: gptq(weight, curve, 128, **change) for name, change in changes.items()}
    made |= {f"group {size}": gptq(weight, curve, size) for size in (64, 32)}
    made["nearest"] = round_to_nearest(weight, 128)
    rows = {row["setting"]: row for row in study.settings_table(weight, made, unseen).rows}
    assert rows["default"]["changed"] == 0 and rows["block"]["changed"] < 0.001
    assert rows["order"]["changed"] > 0.01 and rows["group 32"]["scales"] == 48 * 256 / 32
    order = ("8 bits", "group 32", "group 64", "default", "nearest")
    errors = [rows[name]["error"] for name in order]
    assert errors == sorted(errors)


def test_more_text_helps_and_each_seed_draws_its_own(layer):
    weight, seen, unseen = layer
    rows = sweep(weight, seen.split(20), unseen, sizes=(2, 24, 999))
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
    rows = {(r["scheme"], r["set"]): r["changed"] for r in study.library_study(weight, hessian(seen)).rows}
    for scheme in ("4 bits, groups of 128", "8 bits, one scale per channel"):
        assert rows[scheme, "nothing"] == rows[scheme, "actorder weight"] == 0
        assert rows[scheme, "actorder null"] > 0.01 > 0.002 > rows[scheme, "block_size 64"]


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
        assert torch.equal(
            made, dequantize(*round_to_nearest(before["model.layers.0.mlp.up_proj.weight"], 128))
        )
    parts = [rows["8 bits"] | {"label": "gate_proj"}, rows["all"] | {"label": "up_proj"}]
    row, _ = tables.parts(parts, {"a.up_proj": 0.5, "a.gate_proj": 1}).rows
    assert row["part"] == "up_proj" and row["error"] == 0.5
    assert tables.selection([rows["all"]]).records()[0]["modules"] == 28
