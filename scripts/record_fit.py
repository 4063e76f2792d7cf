"""Fit recipes to budgets and write down what came of it: data/measured/fit_MODEL.json.

    python scripts/record_fit.py                                     # nano, minutes
    exaone-nb fetch smollm2-135m
    python scripts/record_fit.py --model smollm2-135m                # an hour on two cores; finished parts are kept

The search reads text that the model wrote itself (nano: its calibration text); the recipes are judged on other text: nano's
held-out conversations, our own English prose. Each contest is one budget: the fitted recipe, the uniform ones that fit, and
20 random ones, all rounded in memory. Then the fitted recipe is made with llm-compressor, and the file is judged.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress import contest, damage, models
from exaone_nb.compress import quantize as maker
from exaone_nb.compress.budget import Offer
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.search import Search, frontier, search, stored_dtype, written_by
from exaone_nb.engines.environment import machine, machine_sentence, prepare_process
from exaone_nb.files import write_json
from exaone_nb.hardware import this_cpu
from exaone_nb.paths import DATA, ROOT
from exaone_nb.statistics.estimate import Estimate

SCHEMES = ("W4A16", "W8A8", "BF16")
# Of the distance from the smallest file to that of uniform W8A8, and beyond it.
BUDGETS = (0.15, 0.5, 1.1)
NANO = {"search": ("nano_calibration", 128), "judge": "nano_heldout", "documents": 128}
OTHER = {"texts": 8, "tokens": 64, "judge": str(DATA / "tasks" / "prose_en.jsonl"), "documents": 24}


def estimate(found: Estimate) -> dict[str, Any]:
    """An Estimate as JSON."""
    return {"value": found.value, "interval": found.interval, "n": found.n}


class Recorder:
    """The model, its offer, and the parts of the record that are finished, one file each in `folder`."""

    def __init__(self, model: str, folder: Path) -> None:
        self.name, self.folder = model, folder
        self.source = catalog.weights_folder(model)
        self.model = models.open_model(self.source, dtype="float32")
        self.offer = Offer.of(catalog.resolve(model).config(), SCHEMES, this_cpu())
        self.dtype = stored_dtype(self.offer.config)
        judge = NANO if model == "nano" else OTHER
        self.judge = damage.documents(self.source, TextSource(judge["judge"]), judge["documents"])

    def part(self, name: str, work: Callable[[], Any]) -> Any:
        """A finished part from its file, or made now; with the seconds it took and the load of the machine."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            begin = time.monotonic()
            found = work()
            seconds, load = round(time.monotonic() - begin, 1), os.getloadavg()
            write_json(file, {"seconds": seconds, "load": load, "found": found})
            print(name, seconds, flush=True)
        return json.loads(file.read_text(encoding="utf-8"))

    def texts(self) -> list[damage.Document]:
        """What the search reads."""
        if self.name == "nano":
            return damage.documents(self.source, TextSource(NANO["search"][0]), NANO["search"][1])
        found = self.part(
            "texts", lambda: [text.ids for text in written_by(self.model, OTHER["texts"], OTHER["tokens"])]
        )
        return [damage.Document(tuple(ids), 1) for ids in found["found"]]

    def search(self) -> tuple[Search, float]:
        """The costs, measured five layers at a time, and how busy the machine was."""
        texts, layers = (
            self.texts(),
            sorted({part.layer for part in self.offer.parts}, key=lambda n: -1 if n is None else n),
        )
        found = []
        for start in range(0, len(layers), 5):
            some = [part for part in self.offer.parts if part.layer in layers[start : start + 5]]
            offer = replace(self.offer, parts=some)
            found.append(
                self.part(
                    f"search_{start}",
                    lambda offer=offer: as_json(search(self.model, offer, texts, self.dtype)),
                )
            )
        kl = {
            n: {k: np.array(v) for k, v in one.items()} for f in found for n, one in f["found"]["kl"].items()
        }
        tokens = np.array(found[0]["found"]["tokens"])
        read, seconds = sum(len(text.ids) for text in texts), sum(f["found"]["seconds"] for f in found)
        made = Search(kl, tokens, read, self.offer.passes, seconds)
        return made, max(f["load"][0] for f in found)

    def budgets(self) -> list[int]:
        """Three budgets, rounded to three digits."""
        least, most = self.offer.cheapest_bytes, self.offer.file_bytes(self.offer.uniform()["W8A8"])
        exact = [least + share * (most - least) for share in BUDGETS]
        return [int(round(b, 3 - len(str(int(b))))) for b in exact]

    def contest(self, costs: Any, budget: int) -> dict[str, Any]:
        """One budget: rows of what was lost, and the fitted recipe against the others. Measured six recipes at a time."""
        entered = contest.entrants(self.offer, costs, budget)
        lost, names = {}, list(entered)
        for start in range(0, len(names), 6):
            some = {name: entered[name] for name in names[start : start + 6]}
            found = self.part(
                f"contest_{budget}_{start}",
                lambda some=some: {
                    name: {key: value.tolist() for key, value in one.items()}
                    for name, one in contest.hold(
                        self.model, self.offer, some, self.judge, self.dtype
                    ).lost.items()
                },
            )
            lost |= {name: {k: np.array(v) for k, v in one.items()} for name, one in found["found"].items()}
        held = contest.Contest(entered, lost)
        return {"rows": with_json(held.rows()), "pairs": with_json(held.pairs())}

    def checkpoint(self, costs: Any, budget: int) -> dict[str, Any]:
        """The fitted recipe made by llm-compressor: its bytes, and what its file lost."""
        recipe = self.offer.recipe(self.offer.choose(costs, budget), f"fit_{budget}")
        out = self.folder / recipe.name
        made = maker.quantize(self.name, recipe, out, sanity=False)
        written = models.open_model(out, dtype="float32")
        found = damage.against_baseline(self.model, written, self.judge)
        return {name: made[name] for name in ("predicted_bytes", "actual_bytes", "problems", "seconds")} | {
            "kl": estimate(damage.per_token(found["kl"])),
            "loss": estimate(damage.paired_difference(found["baseline"], found["candidate"])),
        }


def with_json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their estimates as JSON."""
    return [{k: estimate(v) if isinstance(v, Estimate) else v for k, v in row.items()} for row in rows]


def as_json(found: Search) -> dict[str, Any]:
    """A search as plain data."""
    kl = {name: {label: value.tolist() for label, value in one.items()} for name, one in found.kl.items()}
    return {"kl": kl, "tokens": found.tokens.tolist(), "passes": found.passes, "seconds": found.seconds}


def main() -> None:
    """Measure, and write the record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="nano")
    options.add_argument("--work", type=Path, help="what is kept in between (default: runs/fit/MODEL)")
    options.add_argument("--out", type=Path, help="default: data/measured/fit_MODEL.json")
    options.add_argument("--only", choices=("search", "contests"), help="stop after this part")
    chosen = options.parse_args()
    prepare_process()
    folder = chosen.work or ROOT / "runs" / "fit" / chosen.model
    folder.mkdir(parents=True, exist_ok=True)
    work = Recorder(chosen.model, folder)
    found, busiest = work.search()
    if chosen.only == "search":
        return
    contests = {
        budget: work.part(f"contest_{budget}", lambda b=budget: work.contest(found.costs, b))
        for budget in work.budgets()
    }
    if chosen.only == "contests":
        return
    made = {
        budget: work.part(f"made_{budget}", lambda b=budget: work.checkpoint(found.costs, b))
        for budget in contests
    }
    document = {
        "what": f"recipes fitted to budgets, {chosen.model}",
        "model": chosen.model,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "machine_in_words": machine_sentence(),
        "how": "KL of each part alone under each scheme, in transformers with 32-bit arithmetic; recipes rounded to nearest, "
        "in memory, and judged on text that the search did not see; the fitted ones then made with llm-compressor.",
        "versions": maker.versions(),
        "load": busiest,
        "search": {
            "parts": len(work.offer.parts),
            "texts": len(found.tokens),
            "tokens": int(found.tokens.sum()),
            "read": found.read,
            "passes": found.passes,
            "seconds": found.seconds,
        },
        "smallest_bytes": work.offer.cheapest_bytes,
        "costs": [
            {"part": name, "scheme": label, "kl": value}
            for name, one in found.costs.items()
            for label, value in one.items()
            if value
        ],
        "frontier": [
            {"bytes": size, "kl": estimate(found.foreseen(choice))} for size, choice in frontier(work.offer, found.costs)
        ],
        "budgets": [
            {"budget": budget, "seconds": one["seconds"], "load": one["load"]} | one["found"] | {"made": made[budget]["found"]}
            for budget, one in contests.items()
        ],
    }  # fmt: skip
    out = chosen.out or DATA / "measured" / f"fit_{chosen.model}.json"
    write_json(out, document)
    print(out)


if __name__ == "__main__":
    main()
