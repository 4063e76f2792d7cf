"""A fitted recipe beside the others that fit the same budget: uniform ones, and random ones of the same parts and schemes.

All are judged on the same texts, which the search must not have seen. The best uniform and the median random recipe are
those with the least and the median KL on these very texts, so that no weak opponent is picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone_nb.compress.budget import Choices, Costs
from exaone_nb.compress.damage import Document, paired_difference, per_token, summary
from exaone_nb.compress.pictures import BESIDE
from exaone_nb.compress.search import measure
from exaone_nb.library_types import Figure
from exaone_nb.messages import say
from exaone_nb.show import figures
from exaone_nb.show.table import Column
from exaone_nb.statistics.estimate import Estimate

FITTED = "fitted"
RANDOM = 20


@dataclass(frozen=True)
class Entrant:
    """A recipe that fits a budget: its kind (fitted, uniform, random), its choice (part -> label) and its file's bytes."""

    kind: str
    choice: Mapping[str, str]
    bytes: int


@dataclass(frozen=True)
class Contest:
    """Recipes by name, and what was lost by each (`damage.compared`, the same texts)."""

    entrants: Mapping[str, Entrant]
    lost: Mapping[str, Mapping[str, np.ndarray]]

    def _ranked(self, kind: str) -> list[str]:
        """The recipes of a kind, least KL first."""
        names = [name for name, entrant in self.entrants.items() if entrant.kind == kind]
        return sorted(names, key=lambda name: per_token(self.lost[name]["kl"]).value)

    @property
    def best_uniform(self) -> str:
        """The uniform recipe with the least KL; empty where none fits."""
        return next(iter(self._ranked("uniform")), "")

    @property
    def median_random(self) -> str:
        """The random recipe in the middle by KL (of an even number the better of the two)."""
        ranked = self._ranked("random")
        return ranked[(len(ranked) - 1) // 2]

    def rows(self) -> list[dict[str, Any]]:
        """`recipe`, `kind`, `bytes`, and the measures of `damage.summary`, for each."""
        return [
            {"recipe": name, "kind": entrant.kind, "bytes": entrant.bytes} | summary(self.lost[name])
            for name, entrant in self.entrants.items()
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """The fitted recipe minus the best uniform and the median random one, nats per token, paired by text: `other`,
        `recipe`, `kl`, `loss`."""
        others = {"best uniform": self.best_uniform, "median random": self.median_random}
        return [
            {"other": role, "recipe": name}
            | {
                what: paired_difference(self.lost[name][key], self.lost[FITTED][key])
                for what, key in (("kl", "kl"), ("loss", "candidate"))
            }
            for role, name in others.items()
            if name
        ]


def draw(offer: Choices, budget: int, rng: np.random.Generator) -> dict[str, str]:
    """A random choice that fits: parts in random order, each with a random option that leaves room for the others."""
    offer.check(budget)
    limit = budget - offer.rest
    while limit > offer.total(offer.cheapest):
        chosen, total = dict(offer.cheapest), offer.total(offer.cheapest)
        for name in rng.permutation(list(chosen)):
            least = total - offer.weights[name][chosen[name]]
            fits = [k for k, weight in offer.weights[name].items() if least + weight <= limit] or [
                chosen[name]
            ]
            chosen[name] = fits[rng.integers(len(fits))]
            total = least + offer.weights[name][chosen[name]]
        over = offer.file_bytes(chosen) - budget
        if over <= 0:
            return chosen
        limit -= over
    return offer.cheapest


def entrants(
    offer: Choices, costs: Costs, budget: int, count: int = RANDOM, seed: int = 0
) -> dict[str, Entrant]:
    """The fitted recipe, the uniform ones that fit the budget, and `count` random ones."""
    generator = np.random.default_rng(seed)
    choices = [(FITTED, FITTED, offer.choose(costs, budget))]
    choices += [(label, "uniform", choice) for label, choice in offer.uniform().items()]
    choices += [(f"random {i}", "random", draw(offer, budget, generator)) for i in range(1, count + 1)]
    sized = [(name, Entrant(kind, choice, offer.file_bytes(choice))) for name, kind, choice in choices]
    return {name: entrant for name, entrant in sized if entrant.bytes <= budget}


def hold(
    model: Any, offer: Choices, entered: Mapping[str, Entrant], texts: Sequence[Document], dtype: Any = None
) -> Contest:
    """All rounded in memory and judged on `texts`."""
    schemes = {name: offer.schemes(entrant.choice) for name, entrant in entered.items()}
    return Contest(entered, measure(model, schemes, texts, dtype))


def told(pairs: Sequence[Mapping[str, Any]], budget: int) -> list[str]:
    """`Contest.pairs` at one budget in bytes, a sentence each. Below zero the fitted recipe loses less."""
    digits = Column("kl", form="+.4f")
    fields = [
        {"budget": budget / 1e6, "recipe": _in_words(pair["recipe"]), "kl": digits.text(pair["kl"])}
        for pair in pairs
    ]
    return [
        say("{budget:.1f} MB: KL of the fitted recipe minus {recipe}, the median random one, {kl}.", **one)
        if pair["other"] == "median random"
        else say(
            "{budget:.1f} MB: KL of the fitted recipe minus {recipe}, the best uniform one, {kl}.", **one
        )
        for pair, one in zip(pairs, fields, strict=True)
    ]


def _in_words(recipe: str) -> str:
    """A recipe's name, as the reader reads it; those of schemes are the same in every language."""
    kind, _, number = recipe.partition(" ")
    return say("random {number}", number=number) if kind == "random" else recipe


def picture(
    line: Sequence[tuple[int, Estimate]], rows: Sequence[Mapping[str, Any]], title: str = ""
) -> Figure:
    """KL against bytes: the foreseen frontier as a line with its interval, and the recipes of `Contest.rows` as points."""
    figure, axes = figures.canvas(7, 3.8)
    most = 1.1 * max(row["bytes"] for row in rows)
    line = [(size, one) for size, one in line if one.value > 0]
    # The first point beyond stays: the line passes under the recipes and ends at the edge.
    beyond = next((at for at, (size, _) in enumerate(line) if size > most), len(line))
    line = line[: beyond + 1]
    looks = figures.styles_of([say("fitted, measured"), say("uniform"), say("random, same budgets")])
    (fitted, uniform, random) = looks.items()
    sizes = [size / 1e6 for size, _ in line]
    bounds = [[getattr(one, end) for _, one in line] for end in ("value", "low", "high")]
    axes.plot(sizes, bounds[0], color=fitted[1].colour, linewidth=1, label=say("frontier, foreseen"))
    axes.fill_between(sizes, *bounds[1:], color=fitted[1].colour, alpha=figures.BAND_ALPHA)
    for kind, (label, look) in {"random": random, "uniform": uniform, FITTED: fitted}.items():
        mine = [row for row in rows if row["kind"] == kind and row["kl"].value > 0]
        values = np.array([(row["kl"].value, row["kl"].low, row["kl"].high) for row in mine]).reshape(-1, 3).T
        errors = [values[0] - values[1], values[2] - values[0]]
        some = {"alpha": 0.45, "markersize": 3, "elinewidth": 0.6} if kind == "random" else {"markersize": 7}
        where = [row["bytes"] / 1e6 for row in mine]
        axes.errorbar(where, values[0], errors, fmt=look.marker, color=look.colour, label=label, **some)
    axes.set_xlim(right=most / 1e6)
    axes.set(yscale="log", xlabel=say("file, MB"), ylabel=say("KL, nats per token"), title=title)
    axes.legend(**BESIDE)
    figures.clean(axes)
    return figure
