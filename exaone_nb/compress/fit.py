"""A recipe for a budget of bytes: what the target serves is offered, what it costs is measured, the best choice is made.

    fitted = fit("nano", "2.6MB", "W4A16,W8A8,BF16", find_gpu("L4").machine)
    fitted.recipe, fitted.file_bytes, fitted.search.foreseen(fitted.chosen)

The file is that of a recipe rounded to nearest, which is what was measured. GPTQ on the same parts makes a file of the
same size, and usually loses less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.compress.budget import Choices
from exaone_nb.compress.calibration import DEFAULT_SOURCE, TextSource
from exaone_nb.compress.damage import documents
from exaone_nb.compress.models import open_model
from exaone_nb.compress.parts import read_bytes
from exaone_nb.compress.recipe import Recipe
from exaone_nb.compress.search import Search, search, stored_dtype, written_by
from exaone_nb.errors import UsageError
from exaone_nb.fields import whole
from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.quantization.matching import KEPT
from exaone_nb.show.table import Column, Table

TEXTS, LENGTH = 32, 128


@dataclass(frozen=True)
class Fit:
    """A choice (part -> scheme's label) for a budget in bytes, with what it was chosen from and by."""

    budget: int
    target: str
    offer: Choices
    search: Search
    chosen: dict[str, str]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the choice."""
        return self.offer.recipe(self.chosen, f"fitted_{self.budget}")

    @property
    def file_bytes(self) -> int:
        """Bytes of its file, by the exact predictor."""
        return self.offer.file_bytes(self.chosen)

    def beside(self) -> Table:
        """The fitted recipe and the uniform ones: bytes, and the KL that is foreseen if parts add up."""
        choices = {say("fitted"): self.chosen} | {
            say("unquantized") if label == KEPT else label: choice
            for label, choice in self.offer.uniform().items()
        }
        rows = [
            {"recipe": name, "bytes": size, "fits": size <= self.budget, "kl": self.search.foreseen(choice)}
            for name, choice in choices.items()
            for size in [self.offer.file_bytes(choice)]
        ]
        return Table(
            [
                Column("recipe", say("recipe")),
                Column("bytes", say("file bytes"), ","),
                Column("fits", say("fits")),
                Column("kl", say("KL foreseen, nats per token"), ".5f"),
            ],
            sorted(rows, key=lambda row: row["bytes"]),
            say("What {budget:,} bytes buy", budget=self.budget),
        )

    def remarks(self) -> list[str]:
        """What the search took, and what was not offered."""
        found = self.search
        done = say(
            "{parts} parts, {passes:,.0f} passes over {texts} texts ({tokens:,} tokens), {seconds:,.0f} s.",
            parts=len(self.offer.parts), passes=found.passes, texts=len(found.tokens), tokens=int(found.tokens.sum()),
            seconds=found.seconds,
        )  # fmt: skip
        whys: dict[str, list[str]] = {}
        for refusal in self.offer.refused:
            whys.setdefault(refusal.why, []).append(f"{refusal.scheme} ({refusal.part})")
        return [done] + [
            say("Not offered for {target}: {what}: {why}", target=self.target, what=", ".join(what), why=why)
            for why, what in whys.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for --json."""
        found = self.search
        return {
            "budget": self.budget,
            "target": self.target,
            "predicted_bytes": self.file_bytes,
            "smallest_bytes": self.offer.cheapest_bytes,
            "choice": self.chosen,
            "beside": self.beside().records(),
            "not_offered": [vars(refusal) for refusal in self.offer.refused],
            "search": {
                "parts": len(self.offer.parts),
                "texts": len(found.tokens),
                "tokens": int(found.tokens.sum()),
                "passes": found.passes,
                "seconds": found.seconds,
            },
            "costs": found.costs,
        }


def fit(
    model: str | Path,
    budget: str | int,
    schemes: str,
    machine: Machine,
    *,
    text: str = "",
    count: int = TEXTS,
    progress: Callable[[str], None] = lambda text: None,
) -> Fit:
    """Choose a recipe whose file has at most `budget` bytes ("1.2GB") from comma-separated `schemes`.

    `text` is what the search reads (a JSONL file or a hub data set, `count` texts of it); without it the model writes its
    own, and nano reads its calibration text. Raises WorkbookError when nothing that `machine` serves is so small, or when
    the weights are not there, UsageError for a wrong size or scheme, or a budget into which the whole model fits.
    """
    place, most = catalog.resolve(model), read_bytes(budget)
    offer = Choices.of(place.config(), [name for name in schemes.split(",") if name.strip()], machine)
    offer.check(most)
    kept = offer.uniform().get(KEPT)
    if kept and (whole_bytes := offer.file_bytes(kept)) <= most:
        raise UsageError(
            say("The unquantized model has {size:,} bytes and fits already.", size=whole_bytes),
            expected=say("a budget below that."),
        )
    source, name = catalog.weights_folder(model), text or (DEFAULT_SOURCE if catalog.is_nano(model) else "")
    texts = documents(source, TextSource(name), whole("count", count)) if name else []
    progress(say("loading the model"))
    opened = open_model(source, dtype="float32")
    texts = texts or written_by(opened, whole("count", count), LENGTH)
    found = search(opened, offer, texts, stored_dtype(offer.config), progress)
    return Fit(most, machine.name, offer, found, offer.choose(found.costs, most))
