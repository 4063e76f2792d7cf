"""A fitted recipe beside the others that fit the same budget: uniform ones, and random ones of the same parts and schemes.

All are judged on the same texts, which the search must not have seen. The best uniform and the median random recipe are
those with the least and the median KL on these very texts, so that no weak opponent is picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.compress.budget import Costs, Offer
from exaone_nb.compress.damage import Document, paired_difference, per_token
from exaone_nb.compress.search import measure
from exaone_nb.statistics.estimate import Estimate

FITTED = "fitted"
RANDOM = 20


@dataclass(frozen=True)
class Contest:
    """Recipes that fit `budget` bytes, by name: file bytes, and what was lost (`loss.compared`, the same texts)."""

    budget: int
    sizes: Mapping[str, int]
    lost: Mapping[str, Mapping[str, np.ndarray]]
    uniform: Sequence[str]
    random: Sequence[str]

    @property
    def best_uniform(self) -> str:
        """The uniform recipe with the least KL; empty where none fits."""
        return min(self.uniform, key=self._kl, default="")

    @property
    def median_random(self) -> str:
        """The random recipe in the middle by KL (of an even number the better of the two)."""
        return sorted(self.random, key=self._kl)[(len(self.random) - 1) // 2]

    def _kl(self, name: str) -> float:
        return per_token(self.lost[name]["kl"]).value

    def against(self, other: str, what: str = "kl") -> Estimate:
        """The fitted recipe minus another, nats per token, paired by text. `what`: kl, or candidate for the loss."""
        return paired_difference(self.lost[other][what], self.lost[FITTED][what])


def hold(
    model: Any, offer: Offer, costs: Costs, budget: int, texts: Sequence[Document], dtype: Any = None, *,
    count: int = RANDOM, seed: int = 0,
) -> Contest:  # fmt: skip
    """The fitted recipe, the uniform ones that fit, and `count` random ones, rounded in memory and judged on `texts`."""
    choices = {FITTED: offer.choose(costs, budget)}
    uniform = {
        label: choice for label, choice in offer.uniform().items() if offer.file_bytes(choice) <= budget
    }
    generator = np.random.default_rng(seed)
    random = {f"random {i}": offer.draw(budget, generator) for i in range(1, count + 1)}
    choices |= uniform | random
    return Contest(
        budget,
        {name: offer.file_bytes(choice) for name, choice in choices.items()},
        measure(model, {name: offer.schemes(choice) for name, choice in choices.items()}, texts, dtype),
        list(uniform),
        list(random),
    )
