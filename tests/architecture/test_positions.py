"""Which layers know positions and how far they look, against the makers' figures and transformers' RoPE."""

import math

import matplotlib.pyplot as plt
import pytest

from exaone_nb import catalog
from exaone_nb.architecture import positions


def kinds(model):
    return positions.kinds_of_layers(model, catalog.resolve(model).config())


def test_the_32b_turns_in_its_windows_alone_and_the_1_2b_everywhere():
    """README of EXAONE 4.0: 3:1, a window of 4,096, no RoPE on global layers of the 32B; the 1.2B is global throughout."""
    local, everywhere = kinds("EXAONE-4.0-32B")
    assert (local.layers, local.local, local.furthest) == (48, True, 4_095) and local.rope is not None
    assert (everywhere.layers, everywhere.local, everywhere.furthest) == (16, False, 131_071)
    assert everywhere.rope is None and everywhere.turning is None
    (only,) = kinds("EXAONE-4.0-1.2B")
    assert (only.layers, only.local, only.furthest) == (30, False, 65_535) and only.rope is not None


@pytest.mark.parametrize("model", ["EXAONE-4.0-1.2B", "EXAONE-4.0-32B"])
def test_pairs_that_turn_are_counted_as_transformers_turns_them(model):
    from transformers import Exaone4Config
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = Exaone4Config(**catalog.resolve(model).config())
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    kind = kinds(model)[0]
    expected = sum(2 * math.pi / one <= kind.furthest for one in frequencies.tolist()) / len(frequencies)
    assert kind.turning == pytest.approx(expected)


def test_every_line_ends_where_its_layers_see_no_further():
    shown = [*kinds("EXAONE-4.0-32B"), *kinds("EXAONE-4.0-1.2B")]
    figure = positions.picture(shown)
    (axes,) = figure.axes
    ends = [line.get_xdata()[-1] for line in axes.get_lines()]
    levels = [set(line.get_ydata()) for line in axes.get_lines()]
    plt.close(figure)
    assert ends == [4_095, 131_071, 65_535]
    assert levels[1] == {1.0} and len(levels[0]) > 10
    rows = positions.table(shown).cells()
    assert [row[2] for row in rows] == ["RoPE", "NoPE", "RoPE"] and rows[1][-1] == "nothing turns"
