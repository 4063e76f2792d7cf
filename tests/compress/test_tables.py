from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from exaone_nb.compress import cliff, contest, tables
from exaone_nb.compress.plan import make_plan
from exaone_nb.show.measured import record
from exaone_nb.statistics.estimate import Estimate

SHAPE = "EXAONE-4.0-1.2B"


def test_plans():
    plans = tables.plans([make_plan(SHAPE, "w4a16_gptq")])
    row = dict(zip(plans.headings(), plans.cells()[0], strict=True))
    assert row["predicted bytes"] == "971,261,368" and row["stays unquantized"] == "43.2%"
    assert row["modules rounded"] == "210" and plans.records()[0]["predicted_bytes"] == 971_261_368


def test_where_a_recipe_can_be_served_and_why_not():
    """A head that is quantized stops every vLLM; the judge's took an FP8 cache and did not use it (participants, 2026-02)."""
    made = {name: make_plan(SHAPE, name) for name in ("w4a16_gptq", "w8a8_kv_fp8", "w4a8")}
    made["head too"] = make_plan(SHAPE, {"scheme": "W4A16"})
    rows = {row["trial"]: row for row in tables.served(made).rows}
    judge = next(key for key in rows["w4a8"] if "0.14.1" in key)
    answers = {name: row[judge] for name, row in rows.items()}
    assert answers == {"w4a16_gptq": "yes", "w8a8_kv_fp8": "yes", "w4a8": "no", "head too": "no"}
    assert rows["w4a16_gptq"]["why"] is None
    assert any("0.14.1 does not use" in line for line in rows["w8a8_kv_fp8"]["why"])
    assert "lm_head" in rows["head too"]["why"][0]


def test_trials_that_are_the_same_run_are_said_to_be():
    trials = {
        "same": {"method": "gptq", "scheme": "W4A16", "ignore": ["lm_head"], "settings": {"block_size": 64}},
        "other": {"method": "gptq", "scheme": "W8A16", "ignore": ["lm_head"]},
    }
    same, other = tables.attempts(make_plan(SHAPE, "w4a16_gptq"), SHAPE, trials).cells()
    assert same[:2] == ["same", "no-op"] and same[-1] == "nothing"
    assert other[:2] == ["other", ""] and "210 modules" in other[-1]


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

    def measured(extra, kl):
        each = {
            name: np.column_stack([np.full(80, kl), counts])
            for name in ("kl", "p_change", "p_change_squared", "same_top")
        }
        tokens = np.column_stack([np.full(800, kl / 10), np.arange(800) // 10])
        return {"baseline": rows(0.0), "candidate": rows(extra), "token_kl": tokens} | each

    return {"w4a16_gptq": measured(0.1, 0.5), "w4a16_rtn": measured(1.0, 0.7), "w8a8": measured(0.0, 0.01)}


def test_damage_and_pairs():
    table = tables.lost(judged(), "baseline")
    rows = table.rows
    assert [row["recipe"] for row in rows] == ["baseline", "w8a8", "w4a16_gptq", "w4a16_rtn"]
    assert rows[2]["ratio"].value == pytest.approx(np.expm1(0.01)) and rows[2]["kl"].value == pytest.approx(
        0.05
    )
    assert table.cells()[2][2].startswith("+1.01%") and table.cells()[0][2] == ""
    pairs = {row["pair"]: row["verdict"] for row in tables.pairs(judged()).rows}
    assert list(pairs)[-1] == "w4a16_gptq minus w4a16_rtn"
    assert pairs["w4a16_gptq minus w4a16_rtn"] == "better" and pairs["w4a16_rtn"] == "worse"
    assert pairs["w8a8"] == "unclear"


def test_the_cliff_in_words_is_that_of_the_recorded_rows():
    fall = {name: record(f"cliff_{name}")["rows"] for name in ("nano", "smollm2-135m")}
    rows = {(row["model"], row["sharing"]): row for row in cliff.steps(fall).rows}
    assert rows["smollm2-135m", "one per channel"]["3 to 2"] == pytest.approx(13.1162 / 5.8436, rel=1e-4)
    assert rows["nano", "one per group of 32"]["4 to 3"] == pytest.approx(0.00327 / 0.0004, rel=0.02)
    assert cliff.edge(fall["nano"], "channel", 0.9) == 2 and cliff.edge(fall["nano"], 32, 0.9) == 0
    assert cliff.edge(fall["smollm2-135m"], "channel", 0.9) == 6, "and every width below it"


def test_a_contest_is_told_pair_by_pair():
    one = record("fit_smollm2-135m")["budgets"][0]
    uniform, random = contest.told(one["pairs"], one["budget"])
    assert (
        uniform.startswith("121.0 MB") and "W4A16 g64, the best uniform one, -0.2142 (-0.2343 to" in uniform
    )
    assert "median random one, -0.1805" in random


def test_published_configs():
    table = tables.published(["openai/gpt-oss-20b", "moonshotai/Kimi-K2-Thinking", "Qwen3-0.6B"])
    assert [cells[1] for cells in table.cells()] == ["mxfp4", "compressed-tensors", "not quantized"]
    assert table.cells()[1][2] == "int4, one scale per 32 inputs, symmetric"
    assert "lm_head" in table.rows[1]["untouched"] and "model.embed_tokens" in table.rows[0]["untouched"]


def test_a_band_of_the_cliff_that_reaches_nothing_is_cut_off_on_the_logarithmic_axis():
    """SmolLM2's KL at 8 bits could be 0: drawn down to 0, its band was a block with edges at the neighbouring widths."""
    kl, same = Estimate(1e-4, -1e-5, 3e-4), Estimate(0.02, 0.0, 0.05)
    rows = [{"bits": bits, "sharing": "channel", "kl": kl, "same_top": same} for bits in (8, 4)]
    figure = cliff.picture({"nano": rows})
    lowest = [axes.collections[0].get_paths()[0].vertices[:, 1].min() for axes in figure.axes]
    plt.close(figure)
    assert lowest == [pytest.approx(1e-5), 0.0]  # a share has a linear axis, and 0 a place on it


def test_the_cliffs_legend_goes_from_the_most_to_the_fewest_weights_behind_a_scale():
    one = Estimate(0.5, 0.4, 0.6)
    found = {name: [{"bits": b, "sharing": s, "kl": one, "same_top": one} for b in (8, 4) for s in sharings]
             for name, sharings in {"nano": ("tensor", "channel", 128, 32), "real": ("tensor", 64, 32)}.items()}  # fmt: skip
    figure = cliff.picture(found)
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    plt.close(figure)
    told = [text.get_text() for text in legend.get_texts()]
    assert told[0] == "one scale per tensor" and [text.split()[-1] for text in told[2:]] == [
        "128",
        "64",
        "32",
    ]
