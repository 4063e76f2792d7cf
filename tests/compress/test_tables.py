from __future__ import annotations

import numpy as np
import pytest

from exaone_nb.compress import recipe as recipes
from exaone_nb.compress import tables
from exaone_nb.compress.plan import make_plan

SHAPE = "EXAONE-4.0-1.2B"


def test_plans_and_recipes():
    plans = tables.plans([make_plan(SHAPE, "w4a16_gptq")])
    row = dict(zip(plans.headings(), plans.cells()[0], strict=True))
    assert row["predicted bytes"] == "971,261,368" and row["stays unquantized"] == "43.2%"
    assert row["modules rounded"] == "210" and plans.records()[0]["predicted_bytes"] == 971_261_368
    (row,) = tables.recipes({"a": recipes.load("mixed_w8a16_w4a16")}).records()
    assert row["recipe"] == "a" and row["schemes"] == ["W8A16", "W4A16"] and row["purpose"]


def test_trials_that_are_the_same_run_are_said_to_be():
    trials = {
        "same": {"method": "gptq", "scheme": "W4A16", "ignore": ["lm_head"], "settings": {"block_size": 64}},
        "other": {"method": "gptq", "scheme": "W8A16", "ignore": ["lm_head"]},
    }
    table = tables.differences(make_plan(SHAPE, "w4a16_gptq"), SHAPE, trials)
    same, other = table.cells()
    assert same == ["same", "identical in effect"] and "int8" in other[1]
    assert [row["trial"] for row in tables.findings(SHAPE, trials).rows] == ["same"]


def test_a_checkpoint_that_is_not_as_predicted_stands_out():
    manifest = {
        "predicted_bytes": 1000,
        "actual_bytes": 1001,
        "reused": False,
        "seconds": 1.234,
        "peak_bytes": 2e9,
    }
    manifest |= {"duplicates": [["a", "b"]], "tied": True, "problems": ["stored twice"]}
    table = tables.manifests({"x": manifest, "y": manifest | {"reused": True, "problems": []}})
    first, second = (dict(zip(table.headings(), cells, strict=True)) for cells in table.cells())
    assert first["equal"] == "no" and first["table of embedding and head"] == "stored twice"
    assert first["problems"] == "stored twice" and first["seconds"] == "1.2"
    assert first["peak memory, GB"] == "2.00" and table.records()[0]["peak_bytes"] == 2e9
    assert second["seconds"] == "found finished" and second["problems"] == "none"
    assert not len(tables.answers({"x": manifest}))


def judged() -> dict[str, dict[str, np.ndarray]]:
    hard = np.random.default_rng(0).uniform(20, 60, 80)
    counts = np.full(80, 10)

    def rows(extra):
        return np.column_stack([hard + extra, counts])

    base = rows(0.0)
    same = np.column_stack([np.full(80, 9), counts])
    kl = {"kl": np.column_stack([np.full(80, 0.5), counts]), "same_top": same}
    return {
        "w4a16_gptq": {"baseline": base, "candidate": rows(0.1), **kl},
        "w4a16_rtn": {"baseline": base, "candidate": rows(1.0), **kl},
        "w8a8": {"baseline": base, "candidate": rows(0.0), **kl},
    }


def test_damage_and_pairs():
    rows = tables.lost(judged(), "baseline").rows
    assert [row["recipe"] for row in rows] == ["baseline", "w4a16_gptq", "w4a16_rtn", "w8a8"]
    assert rows[1]["loss"].value == pytest.approx(0.01) and rows[1]["kl"].value == pytest.approx(0.05)
    assert tables.lost(judged(), "baseline").cells()[1][2].startswith("+0.01000")
    assert tables.lost(judged(), "baseline").cells()[1][-1] == "90.0%"
    pairs = {row["pair"]: row["verdict"] for row in tables.pairs(judged()).rows}
    assert list(pairs)[-1] == "w4a16_gptq minus w4a16_rtn"
    assert pairs["w4a16_gptq minus w4a16_rtn"] == "better" and pairs["w4a16_rtn"] == "worse"
    assert pairs["w8a8"] == "no difference that these texts can show"


def test_shares_and_published_configs():
    (row,) = tables.shares([make_plan(SHAPE, "w4a16_gptq")]).records()
    assert row["embedding"] == pytest.approx(0.432, abs=5e-4)
    table = tables.published(["openai/gpt-oss-20b", "moonshotai/Kimi-K2-Thinking", "Qwen3-0.6B"])
    assert [cells[1] for cells in table.cells()] == ["mxfp4", "compressed-tensors", "not quantized"]
    assert table.cells()[1][2] == "int4, one scale per 32 inputs, symmetric"
    assert "lm_head" in table.rows[1]["untouched"] and "model.embed_tokens" in table.rows[0]["untouched"]
