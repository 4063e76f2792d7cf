"""The family by release, and the technical report's table against the configs."""

import matplotlib.pyplot as plt
import pytest

from exaone_nb import catalog
from exaone_nb.show import family


def test_the_family_stands_in_the_order_of_its_releases():
    rows = {row["model"]: row for row in family.family_table().rows}
    assert next(iter(rows)) == "EXAONE-3.0-7.8B-Instruct" and list(rows)[-1] == "EXAONE-4.5-33B"
    # The makers' tables: 1.28 billion parameters, 48 of 64 layers local, 131,072 tokens.
    assert rows["EXAONE-4.0-1.2B"]["parameters"] == 1_279_391_488
    assert "48 x" in rows["EXAONE-4.0-32B"]["attention"] and rows["EXAONE-4.0-32B"]["context"] == 131_072
    assert rows["EXAONE-4.0-1.2B"]["norms"] == "QK-Reorder-LN"


def test_every_model_of_the_family_has_its_point_and_its_name():
    figure = family.timeline()
    (axes,) = figure.axes
    drawn = {text.get_text() for text in axes.texts}
    points = sorted(y for line in axes.get_lines() if line.get_marker() != "None" for y in line.get_ydata())
    plt.close(figure)
    rows = family.family_table().rows
    assert points == sorted(row["parameters"] / 1e9 for row in rows)
    assert {"4.0-1.2B", "Deep-32B", "K-EXAONE-236B-A23B"} <= drawn


def test_the_configs_say_what_the_report_says():
    """All sixteen rows; two of them no config knows."""
    rows = {row["row"]: row for row in family.report_table().rows}
    assert len(rows) == 16
    assert {name for name, row in rows.items() if row["agrees"] is None} == {"Tokenizer", "Knowledge cut-off"}
    assert all(row["agrees"] for row in rows.values() if row["agrees"] is not None)


@pytest.mark.parametrize(
    ("field", "value", "row"),
    [
        ("hidden_size", 2049, "d_model"),
        ("model_type", "qwen3", "Normalization"),
        ("num_key_value_heads", 1, "Head type"),
        ("tie_word_embeddings", False, "Tied word embedding"),
        ("rope_theta", 500_000.0, "RoPE theta"),
        ("max_position_embeddings", 8_192, "Max sequence length"),
    ],
)
def test_a_config_that_says_something_else_is_noticed(monkeypatch, field, value, row):
    real = catalog.Place.config
    monkeypatch.setattr(catalog.Place, "config", lambda place: {**real(place), field: value})
    rows = {one["row"]: one for one in family.report_table().rows}
    assert rows[row]["agrees"] is False
