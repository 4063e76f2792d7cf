"""Exercises of the chapter on hybrid attention: what a window lets through, and what it keeps."""

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say


def keys_seen(position: int, window: int) -> int:
    """How many keys the token at `position` (counted from 0) may look at: itself, and what the window holds before it."""
    return min(position + 1, window)


def tokens_kept(context: int, window: int, local_layers: int, global_layers: int) -> int:
    """Tokens in the caches of all layers together, when a local layer keeps its window only."""
    return local_layers * min(context, window) + global_layers * context


def reach(layers: int, window: int) -> int:
    """How far back information can come through so many local layers, in tokens."""
    return layers * (window - 1)


EXERCISES = (
    Exercise(
        keys_seen,
        [(0, 4), (2, 4), (3, 4), (10, 4)],
        [
            (lambda position, window: min(position, window),
             say("a token sees itself as well, and positions are counted from 0.")),
            (lambda position, window: min(position + 1, window + 1),
             say("the window counts the token itself: in transformers and in vLLM it is no window of others.")),
            (lambda position, window: position + 1, say("that is full attention: the window cuts it.")),
            (lambda position, window: window,
             say("at the beginning there is not yet a window full of keys.")),
        ],
    ),
    Exercise(
        tokens_kept,
        [(131_072, 4_096, 48, 16), (1_024, 4_096, 48, 16)],
        [
            (lambda context, window, local, globals_: (local + globals_) * context,
             say("that is full attention in every layer.")),
            (lambda context, window, local, globals_: (local + globals_) * min(context, window),
             say("the global layers keep everything.")),
            (lambda context, window, local, globals_: local * window + globals_ * context,
             say("a context shorter than the window fills only a part of it.")),
        ],
    ),
    Exercise(
        reach,
        [(8, 8), (3, 4_096)],
        [
            (lambda layers, window: layers * window,
             say("a window of 8 holds the token itself and 7 others: each layer reaches 7 further back.")),
            (lambda layers, window: window - 1,
             say("layers pass on what they saw: the next one reaches further back.")),
            (lambda layers, window: (window - 1) ** layers,
             say("each layer adds the same distance; it does not multiply.")),
        ],
    ),
)  # fmt: skip
