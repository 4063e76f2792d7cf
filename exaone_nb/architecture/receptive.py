"""How far information travels: from the masks by formula, and in a model by gradients.

One local layer carries information from at most `window - 1` tokens back. L of them in a row carry it
L * (window - 1) tokens, one window after another; a single global layer sees everything at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.shape import SLIDING, whole


def furthest(layer_types: Sequence[str], window: int | None) -> int | None:
    """Tokens back that the last output can depend on; None when a global layer takes away the limit."""
    if any(kind != SLIDING for kind in layer_types):
        return None
    return len(layer_types) * (whole("sliding_window", window) - 1)


def influence(model: Decoder, ids: Tensor, after_layers: int | None = None) -> Tensor:
    """|gradient| of the last token's stream after `after_layers` layers, by input position: [tokens].

    The gradient of a fixed random mix of the stream's values with respect to each embedding. A masked key has
    weight exactly 0, so a position that cannot be reached has gradient exactly 0.
    """
    count = model.shape.num_hidden_layers
    layers = count if after_layers is None else whole("after_layers", after_layers)
    # Far influence is small: float32 would round it away. `double` changes the model itself, so a copy is taken.
    model = deepcopy(model).double()
    streams = model(ids).streams
    mix = torch.randn(model.shape.hidden_size, generator=torch.Generator().manual_seed(0)).double()
    target = (streams[min(layers, count)][:, -1] @ mix).sum()
    (gradient,) = torch.autograd.grad(target, streams[0])
    return gradient.norm(dim=-1).sum(0).detach()


def furthest_measured(model: Decoder, ids: Tensor, after_layers: int | None = None) -> int:
    """Tokens back to the first position with a gradient that is not zero."""
    reached = influence(model, ids, after_layers).nonzero()
    return ids.shape[1] - 1 - int(reached.min())
