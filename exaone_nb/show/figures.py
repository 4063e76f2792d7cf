"""One look for every figure: a palette, a style per series, quiet axes, and the words that stand beside a figure.

The colours are Okabe and Ito's, told apart with any colour vision. Line style, marker and hatch repeat what the colour
says, so that a print in grey says it too. A function that draws takes plain data and returns a matplotlib figure; the
notebook shows it (`notebook.show`).
"""

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.language import HANGUL
from exaone_nb.library_types import Axes, Figure, Patch
from exaone_nb.messages import say

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW = PALETTE
# Text and lines of reference; what stands in the background; the grid.
INK, FAINT, GRID = "#222222", "#8A8A8A", "#E6E6E6"
BAND_ALPHA = 0.15
HANGUL_FONTS = (
    "NanumGothic", "NanumBarunGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "AppleGothic",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How one series looks. `line` and `marker` are for curves and points, `hatch` for areas and bars."""

    colour: str
    line: str = "-"
    marker: str = "o"
    hatch: str = ""

    def curve(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, "linewidth": 1.5}

    def area(self) -> dict[str, Any]:
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0.5}


STYLES = tuple(
    Style(colour, line, marker, hatch)
    for colour, line, marker, hatch in zip(
        PALETTE,
        ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3))),
        ("o", "s", "^", "D", "v", "P", "X"),
        ("", "//", "..", "xx", "\\\\", "--", "++"),
        strict=True,
    )
)


def style(index: int) -> Style:
    """The style of series number `index`, counted from 0; after the last one they begin again."""
    return STYLES[index % len(STYLES)]


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Name -> style, in the order given: sort the names first when a name is to keep its look whatever the order."""
    return {name: style(index) for index, name in enumerate(dict.fromkeys(names))}


def canvas(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes. `options` are those of `plt.subplots`."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), **options)


def clean(axes: Axes, grid: str = "both") -> None:
    """No frame at the top and right, and a light grid behind the data. `grid`: "both", "x", "y", or "" for none."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.7)


def drawn_with(figure: Figure) -> dict[str, Any]:
    """The settings to draw a figure with, so that its Hangul is no boxes: matplotlib's own font has none.

    Behind the font of each text comes one with Hangul. Where none is installed, text stays text, for the browser's fonts.
    """
    from matplotlib.text import Text

    fonts = [font] if (font := korean_font()) else [*HANGUL_FONTS]
    if not font:
        with warnings.catch_warnings(action="ignore"):
            figure.draw_without_rendering()  # what stands at the ticks is known then
        if not any(HANGUL.search(text.get_text()) for text in figure.findobj(Text)):
            return {}
    for text in figure.findobj(Text):
        text.set_fontfamily([*text.get_fontfamily(), *fonts])
    return {} if font else {"svg.fonttype": "none"}


def arrange(figure: Figure) -> None:
    """Move the axes so that their words do not overlap, measured in the fonts that they will be drawn with."""
    drawn_with(figure)
    with warnings.catch_warnings(action="ignore"):
        figure.tight_layout()


def korean_font() -> str:
    """A font for Korean figures, "" where none is installed. What matplotlib's cache does not know is looked for on disk.

    The cache is written once and does not notice a font that was installed later; found here, the font is added to it.
    """
    from matplotlib import font_manager

    # A Hangul font without the weight of a text is used in its next one, which needs no telling.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

    def known() -> str:
        names = {font.name for font in font_manager.fontManager.ttflist}
        return next((name for name in HANGUL_FONTS if name in names), "")

    if not known():
        hints = (*(name.replace(" ", "").lower() for name in HANGUL_FONTS), "notosanscjk")
        for path in font_manager.findSystemFonts():
            if Path(path).name.lower().replace("-", "").startswith(hints):
                font_manager.fontManager.addfont(path)
    return known()


def patches(areas: Mapping[str, Style]) -> list[Patch]:
    """Handles for a legend of areas: `axes.legend(handles=patches(styles_of(names)), frameon=False)`."""
    from matplotlib.patches import Patch

    return [Patch(label=name, **look.area()) for name, look in areas.items()]


def alt(what: str, parts: Mapping[str, str]) -> str:
    """Alt text of a figure: what it shows, then one clause per series. `what` is a whole sentence."""
    clauses = (say(" {name}: {text}", name=name, text=text) for name, text in parts.items())
    return f"{what}{';'.join(clauses)}."
