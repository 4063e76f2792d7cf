"""The recorded contests: what was written then is what is predicted now, and what was promised of a fitted recipe held."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.compress.budget import Choices
from exaone_nb.gpus import find_gpu
from exaone_nb.show import measured
from exaone_nb.statistics.estimate import Estimate

SMOLLM2 = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152,
    "tie_word_embeddings": True, "dtype": "bfloat16", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
}  # fmt: skip


@pytest.fixture(params=["nano", "smollm2-135m"])
def record(request):
    return measured.record(f"fit_{request.param}")


@pytest.fixture
def offer(record):
    config = SMOLLM2 if record["model"] != "nano" else catalog.resolve("nano").config()
    return Choices.of(config, ["W4A16", "W8A8", "BF16"], find_gpu("L4").machine)


def test_the_files_that_were_written_weigh_what_is_predicted(record, offer):
    assert offer.cheapest_bytes == record["smallest_bytes"] and offer.passes == record["search"]["passes"]
    assert len(record["budgets"]) == 3
    for one in record["budgets"]:
        made = one["made"]
        chosen = offer.choose(record["costs"], one["budget"])
        assert (
            offer.file_bytes(chosen) == made["predicted_bytes"] == made["actual_bytes"]
            and not made["problems"]
        )
        assert 0.99 * one["budget"] <= made["actual_bytes"] <= one["budget"]


def test_a_fitted_recipe_is_no_worse_than_uniform_and_better_than_the_median_random(record):
    for one in record["budgets"]:
        uniform, random = one["pairs"]
        assert (uniform["other"], random["other"]) == ("best uniform", "median random")
        assert uniform["kl"].low < 0 and uniform["kl"].value <= 0 and random["kl"].value < 0
        fitted, *others = one["rows"]
        assert fitted["kind"] == "fitted" and all(row["bytes"] <= one["budget"] for row in others)
        assert [row["kind"] for row in others].count("random") == 20
        # What was foreseen in memory is what the written file lost.
        assert one["made"]["kl"].value == pytest.approx(fitted["kl"].value, rel=0.5)


def test_a_record_says_when_and_where(record):
    assert record["date"] in measured.told(record) and record["machine_in_words"] in measured.told(record)
    fall = measured.record(f"cliff_{record['model']}")
    assert {row["bits"] for row in fall["rows"]} == {8, 6, 5, 4, 3, 2}
    groups = {"nano": {128, 32}}.get(record["model"], {64, 32})
    assert {row["sharing"] for row in fall["rows"]} == {"tensor", "channel"} | groups
    assert all(isinstance(row["kl"], Estimate) and row["kl"].n > 20 for row in fall["rows"])
