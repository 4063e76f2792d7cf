"""The one look: colours apart in every kind of colour vision and in grey, and never colour alone."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from exaone_nb.show.figures import PALETTE, STYLES, alt, clean, patches, style, styles_of

# Viénot, Brettel and Mollon 1999: what a reader without red or without green cones sees, in linear RGB.
SEEN = {
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    "all": np.eye(3),
}


def linear(colour):
    part = np.array(to_rgb(colour))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def apart(one, other, vision):
    """Largest difference of a channel as it is seen, on the scale of the screen (sRGB)."""
    seen = [np.clip(SEEN[vision] @ linear(colour), 0, 1) ** (1 / 2.4) for colour in (one, other)]
    return np.abs(seen[0] - seen[1]).max()


@pytest.mark.parametrize("vision", SEEN)
def test_any_two_colours_stay_apart(vision):
    for one, other in combinations(PALETTE, 2):
        assert apart(one, other, vision) > 0.09, (one, other)


def test_the_measure_sees_what_a_red_and_a_green_become():
    assert apart("#D62728", "#8C6D1F", "deutan") < 0.05 < apart("#D62728", "#8C6D1F", "all")


def test_no_two_styles_share_a_line_a_marker_or_a_hatch():
    for part in ("colour", "line", "marker", "hatch"):
        values = [getattr(each, part) for each in STYLES]
        assert len(set(values)) == len(values), part
    assert style(0) == style(len(STYLES))
    assert list(styles_of(["b", "a", "b"])) == ["b", "a"]


def test_every_style_can_be_drawn():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for index, each in enumerate(STYLES):
        axes.plot([0, 1], [0, index], **each.curve())
        axes.bar(index, 1, **each.area())
    clean(axes, grid="y")
    axes.legend(handles=patches(styles_of("abcdefg")))
    figure.canvas.draw()
    assert not axes.spines["top"].get_visible() and not axes.spines["right"].get_visible()
    assert axes.yaxis.get_gridlines()[0].get_visible() and not axes.xaxis.get_gridlines()[0].get_visible()
    plt.close(figure)


def test_words_beside_a_figure():
    assert (
        alt("Two bars.", {"BF16": "2.56 GB", "W4A16": "0.97 GB"})
        == "Two bars. BF16: 2.56 GB; W4A16: 0.97 GB."
    )
