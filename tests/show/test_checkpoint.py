"""What the config's fields mean."""

from exaone_nb import catalog
from exaone_nb.show import checkpoint as tables


def test_every_field_of_an_exaone_config_is_explained_and_a_strange_one_said_to_be_unknown():
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    rows = {row["field"]: row for row in tables.config_table({**config, "xyzzy": 3}).rows}
    assert rows.keys() == {*config, "xyzzy"} and rows["xyzzy"]["means"] == "not described here"
    assert "not described here" not in {rows[name]["means"] for name in config}
    assert rows["layer_types"]["value"] == "30 x full_attention" and rows["hidden_act"]["value"] == '"silu"'
