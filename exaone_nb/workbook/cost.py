"""What a chapter will cost on this machine with this model, said before it starts; its studies cut to their budget.

A notebook declares its work in `metadata.exaone_nb`, as formulas over its parameters and the model's sizes (SIZES):

    "minutes": 0.8, "memory_gb": 2,                 recorded with the defaults on nano: what does not grow with the model
    "work": {"tokens": "72 * DOCUMENTS",            a name of its own, for the formulas below it
             "flop": "2 * active * 12 * tokens",    16-bit operations where models run
             "starts": "1 + len(RECIPES)"},         see KINDS
    "usual": {"TOKENS": "4096 if gpu else 512"},    what a parameter that is 0 stands for
    "memory": "10 * parameters",                    bytes beside memory_gb
    "card_memory": "4 * parameters",                bytes on the card, where there is one
    "budget_minutes": "12 if gpu else 8",           what its work may take
    "shrink": {"DOCUMENTS": 16, "FIT_TEXTS": 0}     parameters that are halved until it does, and how far at most

Speeds are those that the first chapter measured in this run, or the recorded ones of the reference machine. What a person
set is never changed. The studies of tiny models, nano's among them, keep their size.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb import schema
from exaone_nb.anatomy.layouts import count_parameters, expected_tensors, text_config
from exaone_nb.catalog import resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import layers, size
from exaone_nb.gpus import Gpu
from exaone_nb.hardware import REFERENCE, TOKENS, MachineSpeed, this_gpu
from exaone_nb.processes import total_bytes
from exaone_nb.results import RunFolder
from exaone_nb.schema import Whole, is_number, kind
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.formulas import evaluate

Number = kind(float, is_number, "a number.")
MACHINE = "machine"  # the kind of result that holds the speeds
# Of an engine: Python, on a card also compiling and capturing graphs. It goes with the machine, hardly with the model, whose
# loading a chapter counts as `bytes`. The CPU's is of the reference machine, a card's by arithmetic.
START_SECONDS, START_SECONDS_ON_A_CARD = 6.0, 45.0
KINDS = ("flop", "bytes", "host_flop", "host_bytes", "starts", "seconds")
SIZES = (
    "parameters", "active", "linears", "layers", "hidden", "widest", "vocabulary", "gpu", "tiny", "hub",
)  # fmt: skip
TINY_BELOW = 50_000_000  # parameters; such models take nano's time
OFFLINE = {
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
}  # where one is set, chapters take the texts and tasks that are here
# A limit is for what hangs: estimates may be wrong by two, and a neighbour may take half the machine.
PATIENCE = 4
WORTH = 0.01  # of the work: a parameter whose half saves less is left as it is
FEWEST = 8  # texts, rounds or items: a study of fewer says nothing
ROOM = 0.8  # of a memory: the rest is the system's, the desktop's, a neighbour's
REACHED = 0.5  # of a card's data sheet, by programs that nobody tuned


@dataclass(frozen=True)
class Cost:
    """Predicted seconds and bytes of one chapter, and the limit it gets. `work_seconds` is the part that the model makes.

    `smaller` names the parameters that were cut to the budget (in seconds, 0 for none). `measured` says whether the
    speeds are this run's own, `known` is false where the model's config could not be read and only the recorded part stands.
    """

    seconds: Number
    work_seconds: Number
    bytes: Whole
    card_bytes: Whole
    limit_s: Number
    measured: bool
    known: bool = True
    budget_s: Number = 0.0
    smaller: tuple[str, ...] = ()


def speeds(run: Path) -> MachineSpeed | None:
    """What the first chapter measured in this run; None before it did, or where the file is of another version."""
    try:
        (found,) = RunFolder.at(run).read_results(MACHINE)
        return schema.read(found["details"], MachineSpeed, MACHINE)
    except (WorkbookError, ValueError):
        return None


def speeds_on(card: Gpu) -> MachineSpeed:
    """What a card's data sheet lets expect, beside the reference machine's CPU: by arithmetic, nothing was measured.

    A short text reads two bytes for every 2 * TOKENS operations, so most cards wait for their memory.
    """
    memory, compute = card.bandwidth * REACHED, card.peak["16-bit"] * REACHED
    return replace(
        REFERENCE, name=card.name, forward_flops=min(compute, TOKENS * memory), forward_bytes=memory
    )


def room_on(card: Gpu | None = None) -> dict[str, float]:
    """The most bytes that a chapter should take here; on a card that is not here nobody knows the memory beside it."""
    if card:
        return {"card_bytes": ROOM * card.memory_bytes}
    here = this_gpu()
    return {"bytes": ROOM * total_bytes()} | ({"card_bytes": ROOM * here.memory_bytes} if here else {})


@cache
def sizes_of(model: str) -> dict[str, float] | None:
    """The model's sizes by name (SIZES), from its config alone; None where there is none to read."""
    try:
        config = resolve(model).config()
        specs, counts, text = expected_tensors(config), count_parameters(config), text_config(config)
        linears = [spec for spec in specs if spec.kind == "linear" and len(spec.shape) == 2]
        table = next(spec for spec in specs if spec.kind == "embedding")
        found = (
            counts.total, counts.active, sum(spec.elements for spec in linears), layers(text),
            size(text, "hidden_size"), max((spec.shape[1] for spec in linears), default=0), table.shape[0],
            this_gpu() is not None, counts.total < TINY_BELOW, not OFFLINE.intersection(os.environ),
        )  # fmt: skip
    except (WorkbookError, OSError, StopIteration):
        return None
    return dict(zip(SIZES, found, strict=True))


def _names(chapter: Chapter, values: Mapping[str, Any], sizes: Mapping[str, float] | None) -> dict[str, Any]:
    """What the formulas of a chapter may name: parameters, sizes, and what stands above in `work`.

    A parameter of 0 has the value that it stands for. Without sizes there are no formulas.
    """
    names = {**values, **(sizes or {})}
    if not sizes:
        return names
    for name, formula in chapter.usual.items():
        names[name] = names.get(name) or type(values.get(name, 0))(evaluate(formula, names))
    for name, formula in chapter.work.items():
        names[name] = evaluate(formula, names)
    return names


def memory_bytes(chapter: Chapter, values: Mapping[str, Any], sizes: Mapping[str, float] | None) -> int:
    """Bytes that a chapter takes with this model: what was recorded on nano, and what its formula adds."""
    more = evaluate(chapter.memory, _names(chapter, values, sizes)) if sizes and chapter.memory else 0
    return int(chapter.memory_gb * 1e9 + more)


def estimate(
    chapter: Chapter, values: Mapping[str, Any], sizes: Mapping[str, float] | None, found: MachineSpeed | None
) -> Cost:
    """The cost of a chapter with these values of all its parameters. Raises WorkbookError for a formula that is none."""
    here, on_a_card = found or REFERENCE, bool(sizes and sizes["gpu"])
    slower = REFERENCE.flops_per_second / here.flops_per_second
    each = {
        "flop": 1 / here.forward_flops, "bytes": 1 / here.forward_bytes, "host_flop": 1 / here.flops_per_second,
        "host_bytes": 1 / here.bytes_per_second, "seconds": 1.0,
        "starts": START_SECONDS_ON_A_CARD if on_a_card else START_SECONDS * slower,
    }  # fmt: skip
    names = _names(chapter, values, sizes)
    work = sum(names[name] * each[name] for name in chapter.work if name in each) if sizes else 0.0
    seconds = 60 * chapter.minutes * slower + work
    return Cost(
        seconds=round(seconds, 1),
        work_seconds=round(work, 1),
        bytes=memory_bytes(chapter, values, sizes),
        card_bytes=int(evaluate(chapter.card_memory, names)) if on_a_card and chapter.card_memory else 0,
        limit_s=math.ceil(max(chapter.timeout_s, PATIENCE * seconds)),
        measured=found is not None,
        known=sizes is not None or not (chapter.work or chapter.memory),
    )


def fit(
    chapter: Chapter,
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    sizes: Mapping[str, float] | None,
    found: MachineSpeed | None,
    room: Mapping[str, float] | None = None,
) -> tuple[Cost, dict[str, Any]]:
    """The cost, and the parameters that are made smaller to keep to the budget and to `room`, with their new values.

    `room` are the most `bytes` and `card_bytes`. Of what is exceeded most, the parameter is cut that saves most of it,
    again and again; what is in `given` was set by a person and stays.
    """
    names = _names(chapter, values, sizes)
    budget = 60 * evaluate(chapter.budget_minutes, names) if sizes and chapter.budget_minutes else 0
    most = {"work_seconds": budget or math.inf} | dict(room or {})
    if not sizes or sizes["tiny"]:  # on a busy machine, too, they are whole
        most = {}
    values = {name: names[name] for name in values}
    cost, smaller = estimate(chapter, values, sizes, found), dict[str, Any]()
    while most:
        worst = max(most, key=lambda measure: getattr(cost, measure) / most[measure])
        now = getattr(cost, worst)
        if now <= most[worst]:
            break
        tried: dict[str, tuple[Cost, Any]] = {}
        for name, least in chapter.shrink.items():
            value = None if name in given else values.get(name)
            # A half may change nothing where there is less text than was asked for.
            while value is not None and (half := _half(value, least)) != value:
                tried[name], value = (estimate(chapter, values | {name: half}, sizes, found), half), half
                if getattr(tried[name][0], worst) <= (1 - WORTH) * now:
                    break
        best = min(tried, key=lambda name: getattr(tried[name][0], worst), default="")
        if not best or getattr(tried[best][0], worst) > (1 - WORTH) * now:
            del most[worst]  # nothing helps
            continue
        cost, values[best] = tried[best]
        smaller[best] = values[best]
    return replace(cost, budget_s=budget, smaller=tuple(smaller)), smaller


def _half(value: Any, least: float) -> Any:
    """Half of a number, or the first half of a list; not below `least`. What may be left out is, once it is below FEWEST."""
    if isinstance(value, list):
        return value[: max(int(least), (len(value) + 1) // 2 if len(value) > 1 else 0)]
    half = value / 2 if isinstance(value, float) else value // 2
    return max(half if least or half >= FEWEST else 0, type(value)(least))
