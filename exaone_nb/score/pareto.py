"""Which candidates nobody beats on everything at once.

A candidate is dominated when another is at least as good on every axis and better on one. The candidates that are
left form the Pareto front: between them, choosing means saying what one cares about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from exaone_nb.errors import UsageError


def dominates(one: Sequence[float], other: Sequence[float], larger_is_better: Sequence[bool]) -> bool:
    """True when `one` is nowhere worse than `other` and somewhere better."""
    signs = [1 if larger else -1 for larger in larger_is_better]
    if not len(one) == len(other) == len(signs):
        raise UsageError(
            f"{len(one)} and {len(other)} values on {len(signs)} axes.", expected="one value per axis."
        )
    gains = [sign * (a - b) for a, b, sign in zip(one, other, signs, strict=True)]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


def dominated_by(
    points: Mapping[str, Sequence[float]], larger_is_better: Sequence[bool]
) -> dict[str, tuple[str, ...]]:
    """For every candidate the names of those that dominate it; empty for the front."""
    return {
        name: tuple(other for other, values in points.items() if dominates(values, point, larger_is_better))
        for name, point in points.items()
    }


def share_on_front(
    draws: Mapping[str, Sequence[np.ndarray | float]], larger_is_better: Sequence[bool]
) -> dict[str, float]:
    """In which share of the draws each candidate is on the front; every axis an array [draws] or one number."""
    names = list(draws)
    signs = np.array([1.0 if larger else -1.0 for larger in larger_is_better])
    length = max(np.size(axis) for axes in draws.values() for axis in axes)
    table = np.array([[np.broadcast_to(axis, length) for axis in draws[name]] for name in names])
    table = table * signs[None, :, None]
    shares = {}
    for i, name in enumerate(names):
        gains = table - table[i]
        beaten = ((gains >= 0).all(axis=1) & (gains > 0).any(axis=1)).any(axis=0)
        shares[name] = float(1 - beaten.mean())
    return shares
