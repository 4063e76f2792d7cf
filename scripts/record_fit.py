"""Measure where rounding falls, fit recipes to budgets, and write it down: data/measured/cliff_MODEL.json, fit_MODEL.json.

    exaone-nb fetch smollm2-135m
    python scripts/record_fit.py             # nano and SmolLM2: half an hour on two cores; finished parts are kept

The cliff: all Linear modules rounded to 8 bits and fewer, by who shares a scale. Then each budget is a contest: the fitted
recipe, the uniform ones that fit, and 20 random ones, all rounded in memory; the fitted one is also made with
llm-compressor, and its file judged. The search reads nano's calibration text, or text that the model wrote itself; what it
finds is judged on other text: nano's held-out conversations, our own English prose.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress import cliff, contest, damage, models
from exaone_nb.compress import quantize as maker
from exaone_nb.compress.budget import Choices, Costs
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
MODELS = ("nano", "smollm2-135m")
# What the search reads (a text and how many of it; or how many texts of how many tokens), and what judges.
NANO = {"text": "nano_calibration", "count": 64, "judge": "nano_heldout", "documents": 64, "longest": 512}
OTHER = {
    "count": 8,
    "tokens": 64,
    "judge": str(DATA / "tasks" / "prose_en.jsonl"),
    "documents": 24,
    "longest": 64,
}
LAYERS, RECIPES = 5, 6  # of one part of the record


class Recorder:
    """A model, its offer, and the parts of the record that are finished, one file each in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.texts = name, folder, NANO if name == "nano" else OTHER
        folder.mkdir(parents=True, exist_ok=True)
        self.source = catalog.weights_folder(name)
        self.model = models.open_model(self.source, dtype="float32")
        self.offer = Choices.of(catalog.read_config(self.source / "config.json"), SCHEMES, this_cpu())
        self.dtype = stored_dtype(self.offer.config)
        self.judge = damage.documents(
            self.source, TextSource(self.texts["judge"]), self.texts["documents"], self.texts["longest"]
        )

    def part(self, name: str, work: Callable[[], Any]) -> dict[str, Any]:
        """A part as {seconds, load, found}: from its file, or made now."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            begin = time.monotonic()
            found = work()
            seconds, load = round(time.monotonic() - begin, 1), os.getloadavg()
            write_json(file, {"seconds": seconds, "load": load, "found": found})
            print(self.name, name, seconds, flush=True)
        return json.loads(file.read_text(encoding="utf-8"))

    def cliff(self) -> dict[str, Any]:
        """Loss by bits and sharing."""
        return self.part("cliff", lambda: with_json(cliff.cliff(self.model, self.judge, self.dtype)))

    def search(self) -> Search:
        """The costs, measured some layers at a time."""
        texts = self.search_texts()
        layers = list(dict.fromkeys(part.layer for part in self.offer.parts if part.layer is not None))
        found = []
        for start in range(0, len(layers), LAYERS):
            some = [p for p in self.offer.parts if p.layer in layers[start : start + LAYERS]]
            offer = replace(self.offer, parts=some)
            measure = lambda offer=offer: plain(search(self.model, offer, texts, self.dtype))  # noqa: E731
            found.append(self.part(f"search_{start}", measure)["found"])
        outside = {p.name: self.offer.options[p.name] for p in self.offer.parts if p.layer is None}
        kl = {name: {label: np.zeros(len(texts)) for label in options} for name, options in outside.items()}
        for one in found:
            kl |= {name: {k: np.array(v) for k, v in costs.items()} for name, costs in one["kl"].items()}
        read, seconds = sum(len(text.ids) for text in texts), sum(one["seconds"] for one in found)
        return Search(kl, np.array(found[0]["tokens"]), read, self.offer.passes, seconds)

    def search_texts(self) -> list[damage.Document]:
        """What the search reads."""
        count = self.texts["count"]
        if "text" in self.texts:
            return damage.documents(self.source, TextSource(self.texts["text"]), count)
        write = lambda: [text.ids for text in written_by(self.model, count, self.texts["tokens"])]  # noqa: E731
        return [damage.Document(tuple(ids), 1) for ids in self.part("texts", write)["found"]]

    def budgets(self) -> list[int]:
        """The budgets, rounded to three digits."""
        least, most = self.offer.cheapest_bytes, self.offer.file_bytes(self.offer.uniform()["W8A8"])
        exact = [int(least + share * (most - least)) for share in BUDGETS]
        return [round(size, 3 - len(str(size))) for size in exact]

    def contests(self, random: Sequence[int]) -> list[dict[str, Any]]:
        """All budgets, each with so many random recipes."""
        costs, budgets = self.search().costs, self.budgets()
        return [self.contest(costs, budget, count) for budget, count in zip(budgets, random, strict=True)]

    def contest(self, costs: Costs, budget: int, random: int) -> dict[str, Any]:
        """One budget: what was lost by each recipe, and the fitted one against the others."""
        entered = contest.entrants(self.offer, costs, budget, random)
        names, lost = list(entered), {}
        for start in range(0, len(names), RECIPES):
            some = {name: entered[name] for name in names[start : start + RECIPES]}
            measure = lambda some=some: plain(  # noqa: E731
                contest.hold(self.model, self.offer, some, self.judge, self.dtype).lost
            )
            found = self.part(f"contest_{budget}_{start}", measure)["found"]
            lost |= {name: {k: np.array(v) for k, v in one.items()} for name, one in found.items()}
        held = contest.Contest(entered, lost)
        return {"budget": budget, "rows": with_json(held.rows()), "pairs": with_json(held.pairs())}

    def checkpoint(self, costs: Costs, budget: int) -> dict[str, Any]:
        """The fitted recipe made by llm-compressor: its bytes, and what its file lost."""
        recipe = self.offer.recipe(self.offer.choose(costs, budget), f"fit_{budget}")
        out = self.folder / recipe.name
        made = maker.quantize(self.source, recipe, out, sanity=False)
        found = damage.against_baseline(self.model, models.open_model(out, dtype="float32"), self.judge)
        shown = ("predicted_bytes", "actual_bytes", "problems", "seconds")
        return {name: made[name] for name in shown} | with_json([damage.summary(found)])[0]

    def document(self, what: str) -> dict[str, Any]:
        """What every record says of itself."""
        return {
            "what": f"{what}, {self.name}",
            "model": self.name,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "machine_in_words": machine_sentence(),
            "how": f"Rounded to nearest, in transformers with 32-bit arithmetic; judged on {len(self.judge)} texts of "
            f"{Path(self.texts['judge']).stem}, at most {self.texts['longest']} tokens each, 95 % intervals over texts.",
            "versions": maker.versions(),
        }


def with_json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their estimates as JSON."""
    return [{k: v.document() if isinstance(v, Estimate) else v for k, v in row.items()} for row in rows]


def plain(found: Any) -> Any:
    """Searches and arrays as JSON has them."""
    if isinstance(found, Search):
        return {"kl": plain(found.kl), "tokens": found.tokens.tolist(), "seconds": found.seconds}
    if isinstance(found, np.ndarray):
        return found.tolist()
    return {name: plain(value) for name, value in found.items()}


def record(work: Recorder, out: Path, random: Sequence[int]) -> None:
    """Measure what is not measured yet, and write both records."""
    found = work.search()
    made = [work.part(f"made_{b}", lambda b=b: work.checkpoint(found.costs, b)) for b in work.budgets()]
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in work.folder.glob("*.json")]
    more = {
        "load": max(part["load"][0] for part in parts),
        "seconds": sum(part["seconds"] for part in parts),
        "smallest_bytes": work.offer.cheapest_bytes,
        "search": {
            "parts": len(work.offer.parts),
            "texts": len(found.tokens),
            "tokens": int(found.tokens.sum()),
            "read": found.read,
            "passes": found.passes,
            "seconds": found.seconds,
        },
        "costs": found.costs,
        "frontier": [
            {"bytes": size, "kl": found.foreseen(choice).document()}
            for size, choice in frontier(work.offer, found.costs)
        ],
        "budgets": [
            one | {"made": file["found"]} for one, file in zip(work.contests(random), made, strict=True)
        ],
    }
    write_json(out / f"fit_{work.name}.json", work.document("recipes fitted to budgets") | more)
    fall = work.cliff()
    more = {"load": fall["load"], "seconds": fall["seconds"], "rows": fall["found"]}
    write_json(
        out / f"cliff_{work.name}.json", work.document("loss by bits and by who shares a scale") | more
    )


def main() -> None:
    """Measure, and write the records."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", nargs="+", default=MODELS)
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "fit", help="what is kept in between")
    options.add_argument(
        "--random", type=int, nargs=3, default=[contest.RANDOM] * 3, help="random recipes per budget"
    )
    options.add_argument("--only", choices=("cliff", "contests"), help="stop after this part; write nothing")
    options.add_argument("--out", type=Path, default=DATA / "measured", help="folder of the records")
    chosen = options.parse_args()
    prepare_process()
    for name in chosen.model:
        work = Recorder(name, chosen.work / name)
        if chosen.only == "cliff":
            work.cliff()
        else:
            work.contests(chosen.random)
        if not chosen.only:
            record(work, chosen.out, chosen.random)


if __name__ == "__main__":
    main()
