"""The recorded boards: what they say of bytes and of who serves, against what is predicted and what was seen."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.compress import bitsandbytes, boards
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.plan import make_plan
from exaone_nb.show import measured
from exaone_nb.statistics.estimate import Estimate

CPU, TODAY_L4, THEN_L4 = boards.places()


@pytest.fixture(scope="module")
def board():
    return measured.record("board_nano")


def test_every_quantizer_is_on_the_board_with_an_interval_and_a_date(board):
    table = boards.board(board)
    assert {"w4a16_autoround", "w4a16_awq", "gptqmodel", "nf4", "int8"} <= {row["name"] for row in table.rows}
    assert all(row["accuracy"].n == 100 for row in table.rows)
    assert all(isinstance(row["kl"], Estimate) and row["kl"].n == 64 for row in table.rows[1:])
    assert board["date"] in measured.told(board) and board["machine_in_words"] in measured.told(board)
    order = [column.name for column in table.columns]
    assert max(map(order.index, (CPU, TODAY_L4, THEN_L4))) < order.index("kl"), "in sight without scrolling"
    assert {"auto-round", "bitsandbytes", "gptqmodel"} <= board["versions"].keys()
    timed = boards.speeds(board).rows
    assert {"baseline", "nf4"} <= {row["name"] for row in timed} and all(
        row["tokens_per_second"].value > 0 for row in timed
    )


def test_written_bytes_are_what_is_predicted_today(board):
    config = catalog.resolve("nano").config()
    for row in board["rows"][1:]:
        more = row["actual_bytes"] - row["predicted_bytes"]
        if row["name"] in recipes.names():
            assert more == 0 and make_plan("nano", row["name"]).predicted_bytes == row["actual_bytes"]
        elif row["name"] in bitsandbytes.FORMS:
            predicted, margin = bitsandbytes.predicted_bytes(config, row["name"])
            assert predicted == row["predicted_bytes"] and abs(more) <= margin
        else:
            assert -16 <= more <= 0  # GPTQModel's header alone differs, by the length of its offsets


def test_who_serves_is_what_vllm_did(board):
    """vLLM 0.32 on an x86 CPU answered from GPTQModel's file and refused bitsandbytes' (`Unknown quantization method`)."""
    rows = {row["name"]: row for row in boards.board(board).rows}
    assert [rows["gptqmodel"][where] for where in (CPU, TODAY_L4, THEN_L4)] == ["yes"] * 3
    assert [rows["nf4"][where] for where in (CPU, TODAY_L4, THEN_L4)] == ["no", "no", "yes"]
    assert all(rows[name][CPU] == "yes" for name in ("baseline", "w4a16_autoround", "w8a8", "w4a16_awq"))


def test_a_verdict_says_no_more_than_its_interval(board):
    for row in boards.board(board).rows:
        if "against_plain" in row:
            low, high = row["against_plain"].low, row["against_plain"].high
            word = "better" if high < 0 else "worse" if low > 0 else "unclear"
            assert row["verdict"] == word


def test_beyond_has_both_models_and_every_way():
    document = measured.record("beyond")
    for model in ("nano", "smollm2-135m"):
        table = boards.beyond(document, model)
        assert {row["kind"] for row in table.rows} >= {"whole", "rounded", "layers", "vocabulary"}
        whole, *others = table.rows
        assert len({row["accuracy"].n for row in table.rows}) == 1 and whole["accuracy"].n >= 80, (
            "the caption has the number"
        )
        for row in others:
            assert row["actual_bytes"] < whole["actual_bytes"] and isinstance(row["change"], Estimate)
            if row["kind"] == "vocabulary":
                assert row["longer"] > 1
            else:
                assert row["longer"] == 1
