"""Which layers of a model know positions, and how far back they look: the distances at which RoPE really matters.

A layer with RoPE and a window never sees a distance of its window or more. A layer without position encoding (NoPE), as
the global ones of EXAONE's hybrids, gives an equal key the same score at any distance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.attention import context_limit
from exaone_nb.architecture.rope import Rope, scores_over_distance
from exaone_nb.architecture.shape import Shape
from exaone_nb.library_types import Figure
from exaone_nb.messages import say
from exaone_nb.show.figures import canvas, clean, style
from exaone_nb.show.table import Column, Table


@dataclass(frozen=True)
class LayerKind:
    """One kind of layer: `rope` is None without position encoding, `furthest` the largest distance it looks back."""

    model: str
    layers: int
    local: bool
    rope: Rope | None
    head_dim: int
    furthest: int

    @property
    def name(self) -> str:
        if self.local:
            return say("{k.model}, local layers", k=self)
        return say("{k.model}, global layers", k=self)

    @property
    def turning(self) -> float | None:
        """Share of the pairs that make a full turn within `furthest`; None without RoPE."""
        if self.rope is None:
            return None
        return (self.rope.wavelengths(self.head_dim) <= self.furthest).float().mean().item()


def kinds_of_layers(model: str, config: Mapping[str, Any]) -> list[LayerKind]:
    """The kinds of layers of a model, local ones first. Raises WorkbookError for a family that Shape does not describe."""
    shape, context = Shape.from_config(config), context_limit(config)
    counted = Counter(
        (shape.window_of(layer), shape.uses_rope(layer), shape.rope_of(layer))
        for layer in range(shape.num_hidden_layers)
    )
    kinds = [
        LayerKind(
            model,
            layers,
            window is not None,
            rope if turned else None,
            shape.head_dim,
            min(window or context, context) - 1,
        )
        for (window, turned, rope), layers in counted.items()
    ]
    return sorted(kinds, key=lambda kind: not kind.local)


def table(kinds: Sequence[LayerKind]) -> Table:
    """One line per kind of layer."""
    rows = [
        vars(kind) | {"name": kind.name, "encoding": "RoPE" if kind.rope else "NoPE", "turning": kind.turning}
        for kind in kinds
    ]
    heads = [
        Column("name", say("layers of")),
        Column("layers", say("how many")),
        Column("encoding", say("position encoding")),
        Column("furthest", say("looks back, tokens"), ","),
        Column("turning", say("pairs that turn at least once in that"), ".0%", missing=say("nothing turns")),
    ]
    return Table(heads, rows)


def picture(kinds: Sequence[LayerKind]) -> Figure:
    """Score of a key equal to the query, by distance; each line ends where its layers' view ends."""
    import torch

    figure, axes = canvas(8, 4)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    for index, kind in enumerate(kinds):
        steps = torch.logspace(0, 1, 120, base=max(2, kind.furthest)).round().clamp_max(kind.furthest)
        distances = torch.cat((torch.zeros(1), steps)).unique()
        scores = scores_over_distance(kind.rope, kind.head_dim, distances)
        look = style(index).curve()
        axes.plot(distances.tolist(), scores.tolist(), **look, markevery=[-1], label=_told(kind))
        end = (kind.furthest, scores[-1].item())
        axes.annotate(
            f"{kind.furthest:,}", end, (4, -24), textcoords="offset points", ha="left", fontsize=9, bbox=box
        )
    axes.set(xscale="symlog", xlabel=say("distance, tokens"), ylabel=say("score / score at distance 0"))
    axes.set_ylim(-0.15, 1.15)
    clean(axes)
    axes.legend(frameon=False, loc="lower left")
    return figure


def _told(kind: LayerKind) -> str:
    if kind.rope is None:
        return say("{k.name}: no position encoding", k=kind)
    return say("{k.name}: RoPE", k=kind)
