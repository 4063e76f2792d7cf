from __future__ import annotations

import numpy as np

from exaone_nb.compress import recipe as recipes
from exaone_nb.compress import tables
from exaone_nb.compress.plan import make_plan

SHAPE = "EXAONE-4.0-1.2B"


def test_plans_and_recipes():
    rows = tables.plan_rows([make_plan(SHAPE, "w4a16_gptq")])
    assert rows[0]["predicted bytes"] == "971,261,368" and rows[0]["stays unquantized"] == "43.2%"
    assert rows[0]["modules"] == 210
    assert tables.recipe_rows({"a": recipes.load("mixed_w8a16_w4a16")})[0]["schemes"] == "W8A16, W4A16"


def test_trials_that_are_the_same_run_are_said_to_be():
    trials = {
        "same": {"method": "gptq", "scheme": "W4A16", "ignore": ["lm_head"], "settings": {"block_size": 64}},
        "other": {"method": "gptq", "scheme": "W8A16", "ignore": ["lm_head"]},
    }
    rows = tables.difference_rows(make_plan(SHAPE, "w4a16_gptq"), SHAPE, trials)
    assert rows[0]["against w4a16_gptq"] == "identical in effect" and "int8" in rows[1]["against w4a16_gptq"]
    assert [row["trial"] for row in tables.finding_rows(SHAPE, trials)] == ["same"]


def test_a_checkpoint_that_is_not_as_predicted_stands_out():
    manifest = {
        "predicted_bytes": 1000,
        "actual_bytes": 1001,
        "reused": False,
        "seconds": 1.234,
        "peak_bytes": 2e9,
    }
    manifest |= {"duplicates": [["a", "b"]], "tied": True, "problems": ["stored twice"]}
    (row,) = tables.manifest_rows({"x": manifest})
    assert row["equal"] == "NO" and row["table of embedding and head"] == "stored twice"
    assert row["problems"] == "stored twice" and row["seconds"] == "1.2"
    assert tables.answer_rows({"x": manifest}) == []


def judged() -> dict[str, dict[str, np.ndarray]]:
    hard = np.random.default_rng(0).uniform(20, 60, 80)
    counts = np.full(80, 10)

    def rows(extra):
        return np.column_stack([hard + extra, counts])

    base = rows(0.0)
    kl = np.column_stack([np.full(80, 0.5), counts])
    return {
        "w4a16_gptq": {"baseline": base, "candidate": rows(0.1), "kl": kl},
        "w4a16_rtn": {"baseline": base, "candidate": rows(1.0), "kl": kl},
        "w8a8": {"baseline": base, "candidate": rows(0.0), "kl": kl},
    }


def test_damage_and_pairs():
    rows = tables.damage_rows(judged(), "baseline")
    assert [row["recipe"] for row in rows] == ["baseline", "w4a16_gptq", "w4a16_rtn", "w8a8"]
    assert rows[1]["loss minus baseline's, nats per token"].startswith("+0.0100 (")
    assert rows[1]["KL from baseline, nats per token"].startswith("0.0500 (")
    pairs = dict(tables.paired_rows(judged()))
    assert list(pairs)[-1] == "w4a16_gptq minus w4a16_rtn"
    assert tables.verdict(pairs["w4a16_gptq minus w4a16_rtn"]) == "better"
    assert tables.verdict(pairs["w4a16_rtn"]) == "worse"
    assert tables.verdict(pairs["w8a8"]) == "no difference that these texts can show"


def test_shares_and_published_configs():
    (row,) = tables.share_rows([make_plan(SHAPE, "w4a16_gptq")])
    assert row["embedding"] == "43.2%"
    rows = tables.published_rows(["openai/gpt-oss-20b", "moonshotai/Kimi-K2-Thinking", "Qwen3-0.6B"])
    assert [row["format"] for row in rows] == [
        "mxfp4",
        "compressed-tensors, int4 in groups of 32",
        "not quantized",
    ]
