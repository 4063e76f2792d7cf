"""Which part of a model gets which scheme, so that the file weighs at most so much and the parts lose least.

What an engine joins is one part and gets one scheme: q, k and v; gate and up; the experts of a layer; a tied head and its
embedding. A scheme is offered to a part only where the target is known to serve it. The choice is an integer program:
one scheme per part, the least sum of costs, the bytes as the constraint (scipy.optimize.milp, which runs HiGHS).

    offer = Offer.of(config, ["W4A16", "W8A8", "BF16"], find_gpu("L4").machine)
    offer.cheapest_bytes              # 971,261,368 for EXAONE-4.0-1.2B: below that nothing is served
    offer.recipe(offer.choose(costs, 1_100_000_000))   # costs: part -> label -> loss, see `search`

The bytes of the tensors add up. Those of the header do not quite: how many digits an offset takes depends on what stands
before it. The solver therefore counts each entry of the header at its shortest, which is a bound from below; the exact
predictor confirms what it chose, and tightens the bound where that is too heavy.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.anatomy.safetensors_layout import METADATA
from exaone_nb.compress.recipe import Recipe, parse
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import model_dtype
from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import TODAY
from exaone_nb.quantization.loading import joined_name, serve
from exaone_nb.quantization.matching import KEPT, Assignment, Module
from exaone_nb.quantization.schemes import UNQUANTIZED_NAMES, Scheme, find_scheme
from exaone_nb.quantization.stored import StoredTensor, stored_linear

UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("KMGT", 1)
    for kind, base in (("B", 1000), ("IB", 1024))
}
GROUPS = (128, 64, 32, 16)
Costs = Mapping[str, Mapping[str, float]]  # part -> scheme's label -> what it loses


def read_bytes(text: str | int) -> int:
    """Bytes from what people write: "1.2GB" (10^9), "900 MiB" (2^20), "971261368". Raises UsageError for anything else."""
    found = re.fullmatch(r"([\d_,]*\.?\d+)\s*([A-Za-z]*)", str(text).strip())
    if not found or found[2].upper() not in UNITS or not (number := float(found[1].replace(",", ""))):
        raise UsageError(
            say("{text!r} is not a size.", text=str(text)),
            expected=say("a number above 0 and a unit, such as 1.2GB, 900MiB or 971261368."),
        )
    return int(number * UNITS[found[2].upper()])


@dataclass(frozen=True)
class Part:
    """Modules that an engine joins, so that they get one scheme. `name` is the joined name, `layer` None outside."""

    name: str
    modules: tuple[Module, ...]
    layer: int | None


@dataclass(frozen=True)
class Refusal:
    """Parts to which a scheme is not offered, by the last word of their names, and why."""

    scheme: str
    part: str
    why: str


@dataclass(frozen=True)
class Offer:
    """What each part may get. `options` maps part -> label -> scheme; the label of what is kept is `-`, its scheme None."""

    config: dict[str, Any]
    parts: Sequence[Part]
    options: Mapping[str, Mapping[str, Scheme | None]]
    refused: Sequence[Refusal]

    @classmethod
    def of(
        cls, config: dict[str, Any], schemes: Sequence[str], machine: Machine, engine: str = TODAY
    ) -> "Offer":
        """The schemes of `schemes` that `machine` serves, part by part. BF16 among them allows to keep a part.

        A preset whose groups do not divide the model's inputs gets the largest groups that do. Raises UsageError for a
        name that is no scheme, WorkbookError for a model that is quantized already.
        """
        if config.get("quantization_config"):
            raise WorkbookError(
                say("This model is already quantized."), remedy=say("Start from the unquantized checkpoint.")
            )
        parts, family = parts_of(config), str(config.get("model_type", ""))
        kept = any(name.upper() in UNQUANTIZED_NAMES for name in schemes)
        linear = [m for part in parts for m in part.modules if m.kind == "linear"]
        asked = [
            fitting(read_scheme(name), linear) for name in schemes if name.upper() not in UNQUANTIZED_NAMES
        ]
        options: dict[str, dict[str, Scheme | None]] = {}
        refused: dict[Refusal, None] = {}
        for part in parts:
            served = {}
            for scheme in asked:
                made = Assignment(part.modules, [(scheme, tuple(m.name for m in part.modules))], (), family)
                verdict = serve(made, machine, engine)
                if verdict.answer == "yes":
                    served[scheme.label] = scheme
                else:
                    refused[Refusal(scheme.label, part.name.rpartition(".")[2], verdict.why)] = None
            # What nothing is offered for stays as it is.
            options[part.name] = served | ({KEPT: None} if kept or not served else {})
        return cls(config, parts, options, list(refused))

    @cached_property
    def dtype(self) -> str:
        """The model's own dtype, in which kept parts are stored."""
        return model_dtype(self.config)

    @cached_property
    def weights(self) -> dict[str, dict[str, int]]:
        """Part -> label -> bytes of its tensors and, at their shortest, of their entries in the header."""
        return {
            part.name: {
                label: sum(map(_least_bytes, self._tensors(part, scheme)))
                for label, scheme in self.options[part.name].items()
            }
            for part in self.parts
        }

    def _tensors(self, part: Part, scheme: Scheme | None) -> Iterator[StoredTensor]:
        # A tied head and its embedding stay one table.
        modules = (
            part.modules[:1] if {m.kind for m in part.modules} == {"embedding", "head"} else part.modules
        )
        for module in modules:
            if scheme is None:
                yield StoredTensor(f"{module.name}.weight", self.dtype, module.shape)
            else:
                yield from stored_linear(module.name, module.shape, scheme, self.dtype)

    @cached_property
    def rest(self) -> int:
        """Bytes of everything that nobody chooses (norms, the header's frame), its entries at their shortest."""
        tensors = self._prediction(self.cheapest).tensors
        frame = 8 + len(json.dumps({"__metadata__": METADATA}, separators=(",", ":")))
        return frame + sum(map(_least_bytes, tensors)) - self.total(self.cheapest)

    def total(self, chosen: Mapping[str, str]) -> int:
        """What the solver adds up for a choice (part -> label)."""
        return sum(self.weights[name][label] for name, label in chosen.items())

    def file_bytes(self, chosen: Mapping[str, str]) -> int:
        """Bytes of the file, by the exact predictor."""
        return self._prediction(chosen).file_bytes

    def _prediction(self, chosen: Mapping[str, str]) -> Prediction:
        groups = [{"scheme": scheme, "targets": [name]} for name, scheme in self.schemes(chosen).items()]
        return predict_checkpoint(self.config, config_groups=groups, ignore=(), dtype=self.dtype)

    @cached_property
    def cheapest(self) -> dict[str, str]:
        """The choice with the smallest file."""
        return {name: min(options, key=self.weights[name].get) for name, options in self.options.items()}

    @cached_property
    def cheapest_bytes(self) -> int:
        """Bytes of the smallest file."""
        return self.file_bytes(self.cheapest)

    @property
    def parameters(self) -> int:
        """Parameters of the model; a tied table, through which every token passes as the head, is counted once."""
        return self._prediction(self.cheapest).parameters

    @cached_property
    def passes(self) -> float:
        """Passes over the texts that measuring every option takes: one, and one per part and scheme from the part's layer
        on; a pass that begins later counts as the share of the layers that it runs."""
        layers = 1 + max((part.layer for part in self.parts if part.layer is not None), default=0)
        first = [part.layer or 0 for part in self.parts for s in self.options[part.name].values() if s]
        return 1 + sum(1 - layer / layers for layer in first)

    def uniform(self) -> dict[str, dict[str, str]]:
        """Label -> the choice that gives it to every part that may have it; the other parts are kept."""
        labels = dict.fromkeys(label for options in self.options.values() for label in options)
        return {
            label: {name: label if label in options else KEPT for name, options in self.options.items()}
            for label in labels
            if all(label in options or KEPT in options for options in self.options.values())
        }

    def choose(self, costs: Costs, budget: int) -> dict[str, str]:
        """The choice with the least sum of costs whose file has at most `budget` bytes.

        Raises WorkbookError, naming the smallest file, when there is none.
        """
        self.check(budget)
        limit = budget - self.rest
        chosen = self._solve(costs, limit)
        while (over := self.file_bytes(chosen) - budget) > 0:
            limit = max(self.total(chosen) - over, self.total(self.cheapest))
            chosen = self._solve(costs, limit)
        # The bound may cost a few bytes: a uniform recipe that is exactly as heavy as allowed must not be missed.
        uniform = [other for other in self.uniform().values() if self.file_bytes(other) <= budget]
        return min([chosen, *uniform], key=lambda other: sum_of(costs, other))

    def check(self, budget: int) -> None:
        """Raise WorkbookError when no choice has a file of at most `budget` bytes."""
        if budget < self.cheapest_bytes:
            raise WorkbookError(
                say("No recipe makes a file of at most {budget:,} bytes.", budget=budget),
                expected=say("at least {least:,} bytes, the smallest file.", least=self.cheapest_bytes),
                remedy=say("Raise --fit, or offer a smaller scheme with --schemes (they must be served)."),
            )

    def _solve(self, costs: Costs, limit: int) -> dict[str, str]:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        pairs = [(name, label) for name, options in self.options.items() for label in options]
        cost = np.array([costs[name][label] for name, label in pairs])
        weight = np.array([self.weights[name][label] for name, label in pairs], dtype=float)
        rows = {name: i for i, name in enumerate(self.options)}
        ones = [rows[name] for name, _ in pairs], range(len(pairs))
        one_each = LinearConstraint(csr_array((np.ones(len(pairs)), ones)), 1, 1)
        found = milp(
            # Scaled, so that neither nats nor bytes come near the solver's tolerances.
            cost / (cost.max() or 1),
            integrality=np.ones(len(pairs)),
            bounds=Bounds(0, 1),
            constraints=[one_each, LinearConstraint(weight[None] / limit, -np.inf, 1)],
            options={"mip_rel_gap": 1e-9},
        )
        if found.x is None:
            raise WorkbookError(say("The solver found no choice: {why}", why=found.message))
        return {name: label for (name, label), taken in zip(pairs, found.x.round(), strict=True) if taken}

    def draw(self, budget: int, rng: np.random.Generator) -> dict[str, str]:
        """A random choice that fits: parts in random order, each with a random option that leaves room for the others."""
        self.check(budget)
        limit = budget - self.rest
        while limit > self.total(self.cheapest):
            chosen, total = dict(self.cheapest), self.total(self.cheapest)
            for name in rng.permutation(list(chosen)):
                least = total - self.weights[name][chosen[name]]
                fits = [k for k, weight in self.weights[name].items() if least + weight <= limit] or [
                    chosen[name]
                ]
                chosen[name] = fits[rng.integers(len(fits))]
                total = least + self.weights[name][chosen[name]]
            over = self.file_bytes(chosen) - budget
            if over <= 0:
                return chosen
            limit -= over
        return self.cheapest

    def schemes(self, chosen: Mapping[str, str]) -> dict[str, Scheme]:
        """Module -> scheme of every module that gets one."""
        return {
            module.name: scheme
            for part in self.parts
            if (scheme := self.options[part.name][chosen[part.name]])
            for module in part.modules
        }

    def recipe(self, chosen: Mapping[str, str], name: str = "fitted") -> Recipe:
        """The recipe of a choice, rounded to nearest; its targets name layers and modules by expressions."""
        layers = {part.layer for part in self.parts if part.layer is not None}
        targets: dict[str, list[str]] = {}
        for label in dict.fromkeys(label for label in chosen.values() if label != KEPT):
            parts = [part for part in self.parts if chosen[part.name] == label]
            targets[label] = _targets(parts, layers)
        scheme = {label: s for options in self.options.values() for label, s in options.items()}
        groups = [{"scheme": scheme[label].document(), "targets": words} for label, words in targets.items()]
        ignore = [
            m.name
            for part in self.parts
            if chosen[part.name] == KEPT
            for m in part.modules
            if m.kind == "head"
        ]
        return parse({"method": "rtn", "groups": groups, "ignore": ignore}, name)


def sum_of(costs: Costs, chosen: Mapping[str, str]) -> float:
    """The sum of the costs of a choice."""
    return math.fsum(costs[name][label] for name, label in chosen.items())


def parts_of(config: dict[str, Any]) -> list[Part]:
    """The model's parts in its order: what is joined, and each Linear or table that stands alone."""
    found: dict[str, list[Module]] = defaultdict(list)
    tied = is_tied(config)
    for module in modules_of(config):
        if module.quantizable:
            table = tied and module.kind in ("embedding", "head")
            found["table" if table else joined_name(module.name)].append(module)
    return [Part(name, tuple(modules), modules[0].layer) for name, modules in found.items()]


def read_scheme(name: str) -> Scheme:
    """A preset, or one with groups of another size as `Scheme.label` writes it: "W4A16 g64". Raises UsageError."""
    preset, _, size = name.strip().partition(" g")
    scheme = find_scheme(preset)
    if not size:
        return scheme
    if not size.isdecimal() or not int(size) or scheme.weights.strategy != "group":
        raise UsageError(say("No scheme {name!r}.", name=name), expected=say('a preset, or "W4A16 g64".'))
    return scheme.with_groups(int(size))


def fitting(scheme: Scheme, modules: Sequence[Module]) -> Scheme:
    """The scheme, with smaller groups where its own do not divide the inputs of every module."""
    size = scheme.weights.group_size
    if scheme.weights.type != "int" or not size or all(m.shape[1] % size == 0 for m in modules):
        return scheme
    dividing = [g for g in GROUPS if g < size and all(m.shape[1] % g == 0 for m in modules)]
    return scheme.with_groups(dividing[0]) if dividing else scheme


def _least_bytes(tensor: StoredTensor) -> int:
    """Bytes of a tensor and of its entry in the header, with offsets of one digit."""
    entry = {tensor.name: {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [0, 0]}}
    # A comma stands where the braces would.
    return tensor.bytes + len(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()) - 1


def _targets(parts: Sequence[Part], layers: set[int]) -> list[str]:
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
