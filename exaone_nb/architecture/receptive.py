"""How far back the last token's output can depend on the input: by formula, and by the gradient of small random models.

One local layer carries information from at most `window - 1` tokens back. L of them in a row carry it
L * (window - 1) tokens, one window after another; a single global layer sees everything at once.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch

from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.shape import SLIDING, Shape, layer_pattern, whole
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table


def small_models(layers: int, window: int) -> tuple[Decoder, Decoder, Tensor]:
    """Two random models, local layers only and 3:1, and ids [1, tokens] that are longer than the first can reach.

    Raises UsageError for a number of layers that 4 does not divide.
    """
    sizes = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "head_dim": 16,
        "initializer_range": 0.1,
        "sliding_window": window,
        "rope_on_full": False,
    }
    local = Decoder(Shape(layer_types=(SLIDING,) * layers, **sizes))
    mixed = Decoder(Shape(layer_types=layer_pattern(layers, 3), **sizes))
    length = layers * window + 16
    return local, mixed, torch.randint(1, 500, (1, length), generator=torch.Generator().manual_seed(0))


def table(local: Decoder, mixed: Decoder, ids: Tensor) -> Table:
    """Tokens back after 1, 2, … layers: the formula and what the gradient says, of both models."""
    window, last = local.shape.sliding_window, ids.shape[1] - 1
    rows = []
    for count in range(1, local.shape.num_hidden_layers + 1):
        formula = furthest(mixed.shape.layer_types[:count], window)
        rows.append(
            {
                "layers": count,
                "local": furthest((SLIDING,) * count, window),
                "local_measured": furthest_measured(local, ids, count),
                "mixed": last if formula is None else formula,
                "mixed_measured": furthest_measured(mixed, ids, count),
            }
        )
    heads = [
        Column("layers"),
        Column("local", say("local only: L (W - 1)")),
        Column("local_measured", say("local only: measured")),
        Column("mixed", say("3:1: formula")),
        Column("mixed_measured", say("3:1: measured")),
    ]
    return Table(heads, rows)


def furthest(layer_types: Sequence[str], window: int | None) -> int | None:
    """Tokens back that the last output can depend on; None when a global layer takes away the limit."""
    if any(kind != SLIDING for kind in layer_types):
        return None
    return len(layer_types) * (whole("sliding_window", window) - 1)


def influence(model: Decoder, ids: Tensor, after_layers: int | None = None) -> Tensor:
    """|gradient| of the last token's stream after `after_layers` layers (all), by input position: [tokens].

    The gradient of a fixed random mix of the stream's values with respect to each embedding. A masked key has
    weight exactly 0, so a position that cannot be reached has gradient exactly 0.
    """
    # Far influence is small: float32 would round it away. `double` changes the model itself, so a copy is taken.
    model = deepcopy(model).double()
    streams = model(ids).streams
    mix = torch.randn(model.shape.hidden_size, generator=torch.Generator().manual_seed(0)).double()
    target = (streams[-1 if after_layers is None else after_layers][:, -1] @ mix).sum()
    (gradient,) = torch.autograd.grad(target, streams[0])
    return gradient.norm(dim=-1).sum(0).detach()


def furthest_measured(model: Decoder, ids: Tensor, after_layers: int | None = None) -> int:
    """Tokens back to the first position with a gradient that is not zero."""
    return ids.shape[1] - 1 - int(influence(model, ids, after_layers).nonzero().min())
