"""Which keys a query may look at. True means visible.

A window of W counts the query itself: the query at slot i sees the slots i - W + 1 … i, at most W keys. Slots count
from the start of the padded row, so that a cached decode step and a whole prompt give the same rows.
"""

from collections.abc import Sequence

from exaone_nb.architecture.shape import SLIDING, whole
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say


def visible(
    queries: Tensor, keys: Tensor, window: int | None = None, padding: Tensor | None = None
) -> Tensor:
    """Boolean mask [batch or 1, 1, query, key].

    `queries` [query] and `keys` [key] are slot numbers; `padding` [batch, key] is 1 for tokens and 0 for padding.
    Raises UsageError for a window below 1.
    """
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    if window is not None:
        seen = seen & (distance < whole("sliding_window", window))
    seen = seen[None, None]
    return seen if padding is None else seen & padding[:, None, None, :].bool()


def square(tokens: int, window: int | None = None) -> Tensor:
    """The mask of a prompt of `tokens` without padding: boolean [tokens, tokens]."""
    import torch

    slots = torch.arange(whole(say("The number of tokens"), tokens))
    return visible(slots, slots, window)[0, 0]


def reach(layer_types: Sequence[str], window: int | None, tokens: int) -> Tensor:
    """Which inputs can influence which outputs after all layers: boolean [output, input].

    The product of the layers' masks: one step along an edge per layer.
    """
    import torch

    total = torch.eye(whole(say("The number of tokens"), tokens), dtype=torch.bool)
    for kind in layer_types:
        mask = square(tokens, window if kind == SLIDING else None)
        total = (mask.float() @ total.float()) > 0
    return total
