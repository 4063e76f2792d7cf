"""Recorded measurements of the real model: complete, consistent with themselves, and shown with source and date."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.paths import ROOT
from exaone_nb.serve.tables import speed_table
from exaone_nb.show import measured


@pytest.fixture(scope="module")
def real() -> dict:
    return measured.record()


def test_a_record_says_what_when_and_where(real) -> None:
    text = measured.told(real)
    for part in (real["date"], real["machine_in_words"], "prose_en", "4 bits once already", "English only"):
        assert part in text
    assert real["versions"]["torch"] and set(real["load"]) == {"losses", "accuracies", "speeds"}


def test_every_scheme_is_there_and_what_is_not_served_has_no_speed(real) -> None:
    rows = {row["recipe"]: row for row in real["rows"]}
    assert next(iter(rows)) == "baseline" and rows["baseline"]["kl"].value == 0
    assert {"W8A8", "W4A16 g64", "W3A16 g64", "W2A16 g64"} <= {row["scheme"] for row in rows.values()}
    for row in rows.values():
        assert row["served"] or not row.get("speed")
        assert not row["problems"] and row["tokens"] == rows["baseline"]["tokens"]
        assert row["bytes"] <= rows["baseline"]["bytes"] == 269_060_552
        assert row["kl"].n == 24 and row["accuracy"].n == 80


def test_fewer_bits_lose_more(real) -> None:
    kl = {row["recipe"]: row["kl"].value for row in real["rows"]}
    assert kl["w2a16_g64_rtn"] > kl["w3a16_g64_rtn"] > kl["w4a16_g64_rtn"] > kl["w8a8"] > 0
    same = {row["recipe"]: row["same_top"].value for row in real["rows"]}
    assert same["w2a16_g64_rtn"] < same["w3a16_g64_rtn"] < same["w4a16_g64_rtn"] < same["w8a8"] < 1
    assert measured.loss_words(real).index("W2A16 g64") < measured.loss_words(real).index("W8A8")


def test_lost_and_won_items_are_the_difference(real) -> None:
    base, *others = real["rows"]
    for row in others:
        items = round(80 * (base["accuracy"].value - row["accuracy"].value))
        assert row["lost"] - row["won"] == items
    # Held against chance, the lowest interval of the unquantized model is far away.
    assert base["accuracy"].low > 0.75 > real["chance"]


def test_tables_read_as_the_measured_ones_do(real) -> None:
    for table in (measured.loss_table(real), measured.accuracy_table(real)):
        assert len(table) == len(real["rows"]) and not any("_" in head for head in table.headings())
    speeds = speed_table(measured.speed_rows(real))
    assert {row["scheme"] for row in speeds.rows} == {"BF16", "W8A8", "FP8_DYNAMIC", "W4A16"}
    assert all(row["tokens_per_second"] > 0 and row["kernel"] for row in speeds.rows)


def test_what_quantizing_took_on_a_card_is_shown_and_adds_up() -> None:
    card = measured.record("nvidia-h200")
    assert card["card"] in measured.told(card) and card["date"] in measured.told(card)
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    for row in card["quantize"]:
        scheme = {"w8a8": "W8A8", "fp8_dynamic": "FP8_DYNAMIC"}.get(row["recipe"], "W4A16")
        tensors = predict_checkpoint(config, scheme).data_bytes
        assert tensors < row["actual_bytes"] < tensors + 100_000  # headers
        assert (row["samples"] == 128) == row["recipe"].endswith("gptq")


def test_the_readmes_seconds_on_a_card_are_the_recorded_ones() -> None:
    card = measured.record("nvidia-h200")
    seconds = {row["recipe"]: row["seconds"] for row in card["quantize"]}
    nano = sum(row["seconds"] for row in card["nano_chapters"]) / 60
    words = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{card['card']}, recorded {card['date']}" in words
    assert (
        f"{seconds['w4a16_rtn']:.0f} seconds rounded to nearest, {seconds['w4a16_gptq']:.0f} with GPTQ"
        in words
    )
    shape = sum(row["seconds"] for row in card["shape_chapters"]) / 60
    most = max(row["peak_bytes"] for row in card["shape_chapters"]) / 1e9
    assert f"nano took {nano:.1f} minutes there" in words
    assert f"shape {shape:.1f} minutes, at most {most:.1f} GB of host memory" in words
