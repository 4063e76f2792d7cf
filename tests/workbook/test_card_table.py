"""The table of cards: what a T4 cannot, and a card that somebody has measured."""

from exaone_nb.workbook import card_table


def rows():
    return {row["card"]: row for row in card_table.card_table().rows}


def test_a_turing_card_has_no_bfloat16_and_only_an_ada_card_multiplies_fp8():
    # NVIDIA, CUDA C++ Programming Guide, tensor cores: 7.5 has INT8, no bfloat16 and no FP8; 8.0 no FP8; 8.9 has all three.
    found = rows()
    assert "--dtype half" in found["T4"]["plain"] and not found["L4"]["plain"]
    assert found["T4"]["narrow"] == ["W8A8"] == found["A100-40GB"]["narrow"]
    assert {"W8A8", "FP8_DYNAMIC"} <= set(found["L4"]["narrow"])
    assert all("W4A16" in row["wide"] for row in found.values())
    assert found["T4"]["at_once"] < found["L4"]["at_once"] < found["A100-40GB"]["at_once"]


def test_a_card_that_somebody_measured_is_marked(monkeypatch):
    assert not any(row["recorded"] for row in rows().values())
    monkeypatch.setattr(card_table, "card_records", lambda: [{"card": "NVIDIA L4"}, {"card": "CPU"}])
    assert [card for card, row in rows().items() if row["recorded"]] == ["L4"]
