"""What people write for `plan --fit`, and the parts of a model: what an engine joins is one part and gets one scheme.

Together go q, k and v; gate and up; the experts of a layer; a tied head and its embedding.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.quantization.loading import joined_name
from exaone_nb.quantization.matching import Module
from exaone_nb.quantization.schemes import Scheme, find_scheme

UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("KMGT", 1)
    for kind, base in (("B", 1000), ("IB", 1024))
}


def read_bytes(text: str | int) -> int:
    """Bytes from what people write: "1.2GB" (10^9), "900 MiB" (2^20), "971261368". Raises UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:[,_]\d{3})*(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)", str(text).strip())
    if not found or found[2].upper() not in UNITS or not (number := float(re.sub("[,_]", "", found[1]))):
        raise UsageError(
            say("{text!r} is not a size.", text=str(text)),
            expected=say("a number above 0 and a unit, such as 1.2GB, 900MiB or 971261368."),
        )
    return int(number * UNITS[found[2].upper()])


def read_scheme(name: str) -> Scheme:
    """A preset, or one with groups of another size as `Scheme.label` writes it: "W4A16 g64". Raises UsageError."""
    preset, _, size = name.partition(" g")
    scheme = find_scheme(preset)
    if not size:
        return scheme
    if not size.isdecimal() or not int(size) or scheme.weights.strategy != "group":
        raise UsageError(say("No scheme {name!r}.", name=name), expected=say('a preset, or "W4A16 g64".'))
    return scheme.with_groups(int(size))


@dataclass(frozen=True)
class Part:
    """Modules that an engine joins, so that they get one scheme. `name` is the joined name, `layer` None outside."""

    name: str
    modules: tuple[Module, ...]
    layer: int | None


def parts_of(config: dict[str, Any]) -> list[Part]:
    """The model's parts in its order: what is joined, and each Linear or table that stands alone."""
    found: dict[str, list[Module]] = defaultdict(list)
    tied = is_tied(config)
    for module in modules_of(config):
        if module.quantizable:
            table = tied and module.kind in ("embedding", "head")
            found["table" if table else joined_name(module.name)].append(module)
    return [Part(name, tuple(modules), modules[0].layer) for name, modules in found.items()]


def targets_of(parts: Sequence[Part], layers: set[int]) -> list[str]:
    """Expressions that fit the modules of these parts alone: one per set of layers."""
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    names = []
    for part in parts:
        for module in part.modules:
            if part.layer is None:
                names.append(module.name)
                continue
            stem, _, tail = module.name.partition(f".{part.layer}.")
            tail = re.sub(r"(?<=experts\\.)\d+", r"\\d+", re.escape(tail))
            places[re.escape(stem), tail].add(part.layer)
    tails: dict[tuple[str, frozenset[int]], list[str]] = defaultdict(list)
    for (stem, tail), found in places.items():
        tails[stem, frozenset(found)].append(tail)
    for (stem, found), same in tails.items():
        numbers = r"\d+" if found == layers else f"({'|'.join(map(str, sorted(found)))})"
        names.append(rf"re:{stem}\.{numbers}\.({'|'.join(same)})$")
    return names
