"""What the config's fields mean, and the family in a table."""

from exaone_nb import catalog
from exaone_nb.show import checkpoint as tables


def test_every_field_of_an_exaone_config_is_explained_and_a_strange_one_said_to_be_unknown():
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    rows = {row["field"]: row for row in tables.config_table({**config, "xyzzy": 3}).rows}
    assert rows.keys() == {*config, "xyzzy"} and rows["xyzzy"]["means"] == "not described here"
    assert "not described here" not in {rows[name]["means"] for name in config}
    assert rows["layer_types"]["value"] == "30 x full_attention" and rows["hidden_act"]["value"] == '"silu"'


def test_the_family_stands_in_the_order_of_its_releases():
    rows = {row["model"]: row for row in tables.family_table().rows}
    assert next(iter(rows)) == "EXAONE-3.0-7.8B-Instruct" and list(rows)[-1] == "EXAONE-4.5-33B"
    # The makers' tables: 1.28 billion parameters, 48 of 64 layers local, 131,072 tokens.
    assert rows["EXAONE-4.0-1.2B"]["parameters"] == 1_279_391_488
    assert "48 x" in rows["EXAONE-4.0-32B"]["attention"] and rows["EXAONE-4.0-32B"]["context"] == 131_072
    assert rows["EXAONE-4.0-1.2B"]["norms"] == "QK-Reorder-LN"
