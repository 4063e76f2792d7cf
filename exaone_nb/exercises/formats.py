"""Exercises of the chapter on number formats: a scale, its codes, a zero point, and GPTQ's one line."""

import numpy as np

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

Vector = np.ndarray


def scale_of(weights: Vector) -> float:
    """The scale of a symmetric 4-bit group (codes -8 to 7), as llm-compressor chooses it."""
    return float(np.abs(weights).max() / 7.5)


def codes_of(weights: Vector, scale: float) -> Vector:
    """The 4-bit codes of weights, rounded to nearest."""
    return np.clip(np.round(weights / scale), -8, 7)


def scale_and_zero(weights: Vector) -> tuple[float, float]:
    """Scale and zero point of an asymmetric 4-bit group (codes 0 to 15): the range from the least to the largest weight,
    zero included."""
    return _laid_over(min(weights.min(), 0.0), max(weights.max(), 0.0))


def _laid_over(least: float, largest: float) -> tuple[float, float]:
    scale, zero = _unrounded(least, largest)
    return scale, float(np.round(zero))


def _unrounded(least: float, largest: float) -> tuple[float, float]:
    scale = (largest - least) / 15
    return float(scale), float(-least / scale)


def pass_on(weights: Vector, rounded: float, column: int, inverse: Vector) -> Vector:
    """A row of weights after GPTQ has rounded one column: the columns behind it make up for its error.

    `inverse` is the upper Cholesky factor of the inverse Hessian. Shapes: weights [columns], inverse [columns, columns].
    """
    error = (weights[column] - rounded) / inverse[column, column]
    changed = weights.copy()
    changed[column + 1 :] -= error * inverse[column, column + 1 :]
    changed[column] = rounded
    return changed


def _with(sign: float, divided: bool, column_too: bool = True):
    def wrong(weights: Vector, rounded: float, column: int, inverse: Vector) -> Vector:
        error = weights[column] - rounded
        if divided:
            error = error / inverse[column, column]
        changed = weights.copy()
        changed[column + 1 :] -= sign * error * inverse[column, column + 1 :]
        if column_too:
            changed[column] = rounded
        return changed

    return wrong


_GROUP = np.array([0.31, -0.92, 0.05, 0.6])
_LOPSIDED = np.array([0.1, 0.95, 0.4, 0.7])
_FACTOR = np.triu(np.array([[2.0, 0.5, -0.3], [0.0, 1.5, 0.4], [0.0, 0.0, 1.2]]))

EXERCISES = (
    Exercise(
        scale_of,
        [(_GROUP,), (_LOPSIDED,)],
        [
            (lambda weights: np.abs(weights).max() / 7,
             say("7 instead of 7.5: the lowest code, -8, is then never used.")),
            (lambda weights: np.abs(weights).max() / 8,
             say("8 instead of 7.5: the largest weight would need code 8, and there is none above 7.")),
            (lambda weights: np.abs(weights).max() / 15,
             say("4 bits have 16 values, but half of them are negative: the range from 0 has half of the steps.")),
            (lambda weights: weights.max() / 7,
             say("the largest *magnitude* counts, and 7.5 divides it: with 7 the lowest code, -8, is never used.")),
            (lambda weights: weights.max() / 7.5,
             say("the largest *magnitude* counts: the first group's is negative.")),
            (lambda weights: (weights.max() - weights.min()) / 15,
             say("that is the asymmetric scale: it needs a zero point beside it.")),
        ],
    ),
    Exercise(
        codes_of,
        [(_GROUP, 0.12), (np.array([1.0, -1.0, 0.34]), 0.1), (np.array([0.25, 0.29]), 0.1)],
        [
            (lambda weights, scale: np.round(weights / scale),
             say("a code beyond -8 or 7 does not exist in 4 bits: clip it.")),
            (lambda weights, scale: np.clip(np.round(weights / scale), -7, 7), say("the lowest code is -8.")),
            (lambda weights, scale: np.clip(np.round(weights / scale), -8, 8),
             say("the highest code is 7: sixteen values, one of them zero.")),
            (lambda weights, scale: np.clip(np.trunc(weights / scale), -8, 7),
             say("you cut towards zero instead of rounding to nearest: twice the error.")),
            (lambda weights, scale: np.clip(np.floor(weights / scale), -8, 7),
             say("you round down instead of to nearest: every weight moves in the same direction.")),
            (lambda weights, scale: np.clip(np.round(weights / scale), -8, 7) * scale,
             say("these are the rounded weights; a code is the whole number before the scale.")),
        ],
    ),
    Exercise(
        scale_and_zero,
        [(_GROUP,), (_LOPSIDED,), (np.array([-0.9, -0.2]),)],
        [
            (lambda weights: _laid_over(weights.min(), weights.max()),
             say("zero must stay in the range: it is an input that must come out exactly.")),
            (lambda weights: (scale_and_zero(weights)[0] * 15 / 16, scale_and_zero(weights)[1]),
             say("16 values have 15 steps between them.")),
            (lambda weights: (scale_and_zero(weights)[0], -scale_and_zero(weights)[1]),
             say("the zero point's sign: the code of zero lies above the lowest code.")),
            (lambda weights: (scale_and_zero(weights)[0], -min(weights.min(), 0.0)),
             say("a zero point is a code, a whole number: divide by the scale and round.")),
            (lambda weights: (scale_and_zero(weights)[0], -min(weights.min(), 0.0) / scale_and_zero(weights)[0]),
             say("a zero point is a code, a whole number: round it.")),
            (lambda weights: _unrounded(weights.min(), weights.max()),
             say("a zero point is a code: round it. And zero must stay in the range, where all weights are negative too.")),
        ],
    ),
    Exercise(
        pass_on,
        [(np.array([0.8, -0.3, 0.5]), 1.0, 0, _FACTOR), (np.array([1.0, -0.4, 0.45]), -0.5, 1, _FACTOR)],
        [
            (_with(0.0, False),
             say("that is rounding to nearest: the columns behind learn nothing of the error.")),
            (_with(-1.0, True), say("the sign: what the column lost, the others must make up for.")),
            (_with(1.0, False), say("divide the error by the factor's entry on the diagonal first.")),
            (_with(1.0, True, False), say("the column itself keeps its rounded value.")),
        ],
    ),
)  # fmt: skip
