"""Exercises of the chapter on QK-Reorder-LN: the norm itself, and where a layer puts it."""

from collections.abc import Callable

import numpy as np

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

Vector = np.ndarray
Step = Callable[[Vector], Vector]


def rms_norm(x: Vector, weight: Vector, eps: float) -> Vector:
    """`x` divided by its root mean square, times the weight. Shapes: [width]."""
    return weight * x / np.sqrt((x * x).mean() + eps)


def reorder_block(x: Vector, block: Step, norm: Step) -> Vector:
    """The stream after one block of EXAONE 4.0: the norm stands on the branch, behind the block."""
    return x + norm(block(x))


def _layer_norm(x: Vector, weight: Vector, eps: float) -> Vector:
    centred = x - x.mean()
    return weight * centred / np.sqrt((centred * centred).mean() + eps)


def _block(x: Vector) -> Vector:
    return 3 * np.roll(x, 1) + 1


def _norm(x: Vector) -> Vector:
    return rms_norm(x, np.ones_like(x), 1e-6)


_X = np.array([1.0, -2.0, 0.5, 4.0])

EXERCISES = (
    Exercise(
        rms_norm,
        [
            (_X, np.array([1.0, 2.0, 1.0, 0.5]), 1e-6),
            (np.array([0.01, 0.02, -0.01]), np.ones(3), 1e-3),
        ],
        [
            (_layer_norm, say("you took the mean away: that is LayerNorm. RMSNorm only divides.")),
            (lambda x, weight, eps: weight * x / np.sqrt((x * x).sum() + eps),
             say("you divide by the length; the root *mean* square divides the sum by the width first.")),
            (lambda x, weight, eps: weight * x / (np.sqrt((x * x).mean()) + eps),
             say("eps belongs under the root. For a small stream that is another number.")),
            (lambda x, weight, eps: weight * x / np.sqrt((x * x).mean()),
             say("eps is missing: the second input is small enough to show it.")),
            (lambda x, weight, eps: x / np.sqrt((x * x).mean() + eps), say("the weight is missing.")),
        ],
    ),
    Exercise(
        reorder_block,
        [(_X, _block, _norm)],
        [
            (lambda x, block, norm: norm(x + block(x)),
             say("your norm sits on the stream: that is Post-LN.")),
            (lambda x, block, norm: x + block(norm(x)),
             say("your norm sits before the block: that is Pre-LN.")),
            (lambda x, block, norm: norm(block(x)),
             say("the stream is lost: what the block makes is added to x.")),
            (lambda x, block, norm: x + block(x), say("there is no norm.")),
            (lambda x, block, norm: norm(x) + norm(block(x)),
             say("the stream itself stays as it is; only the branch is normalised.")),
        ],
    ),
)  # fmt: skip
