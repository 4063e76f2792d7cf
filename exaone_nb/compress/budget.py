"""Which part of a model gets which scheme, so that the file weighs at most so much and the parts lose least.

What an engine joins is one part (`parts`). A scheme is offered to a part only where the target is known to serve it. The
choice is an integer program: one scheme per part, the least sum of costs, the bytes as the constraint
(scipy.optimize.milp, which runs HiGHS).

    offer = Choices.of(config, ["W4A16", "W8A8", "BF16"], find_gpu("L4").machine)
    offer.cheapest_bytes              # 971,261,368 for EXAONE-4.0-1.2B: below that nothing is served
    offer.recipe(offer.choose(costs, 1_100_000_000))   # costs: part -> label -> loss, see `search`

The bytes of the tensors add up. Those of the header do not quite: how many digits an offset takes depends on what stands
before it. The solver therefore counts each entry of the header at its shortest, which is a bound from below; the exact
predictor confirms what it chose, and tightens the bound where that is too heavy.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.anatomy.safetensors_layout import METADATA
from exaone_nb.compress.parts import Part, parts_of, read_scheme, targets_of
from exaone_nb.compress.recipe import Recipe, parse
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import model_dtype
from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.processes import nothing_written
from exaone_nb.quantization.kernels import TODAY
from exaone_nb.quantization.loading import serve
from exaone_nb.quantization.matching import KEPT, Assignment
from exaone_nb.quantization.schemes import UNQUANTIZED_NAMES, Scheme
from exaone_nb.quantization.stored import StoredTensor, fitting, stored_linear

Costs = Mapping[str, Mapping[str, float]]  # part -> scheme's label -> what it loses


@dataclass(frozen=True)
class Refusal:
    """Parts to which a scheme is not offered, by the last word of their names, and why."""

    scheme: str
    part: str
    why: str


@dataclass(frozen=True)
class Choices:
    """What each part may get. `options` maps part -> label -> scheme; the label of what is kept is `-`, its scheme None."""

    config: dict[str, Any]
    parts: Sequence[Part]
    options: Mapping[str, Mapping[str, Scheme | None]]
    refused: Sequence[Refusal]

    @classmethod
    def of(
        cls, config: dict[str, Any], schemes: Sequence[str], machine: Machine, engine: str = TODAY
    ) -> "Choices":
        """The schemes of `schemes` that `machine` serves, part by part. BF16 among them allows to keep a part.

        A preset whose groups do not divide the model's inputs gets the largest groups that do. Raises UsageError for a
        name that is no scheme, WorkbookError for a model that is quantized already.
        """
        if config.get("quantization_config"):
            raise WorkbookError(
                say("This model is already quantized."), remedy=say("Start from the unquantized checkpoint.")
            )
        parts, family = parts_of(config), str(config.get("model_type", ""))
        names = [name.strip() for name in schemes]
        kept = any(name.upper() in UNQUANTIZED_NAMES for name in names)
        inputs = {m.shape[1] for part in parts for m in part.modules if m.kind == "linear"}
        asked = [
            fitting(read_scheme(name), inputs) for name in names if name.upper() not in UNQUANTIZED_NAMES
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
        with nothing_written():  # HiGHS prints what it repairs, past Python and past its own switch
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
            targets[label] = targets_of(parts, layers)
        scheme = {label: s for options in self.options.values() for label, s in options.items()}
        groups = [{"scheme": scheme[label].document(), "targets": words} for label, words in targets.items()]
        return parse({"method": "rtn", "groups": groups}, name)


def sum_of(costs: Costs, chosen: Mapping[str, str]) -> float:
    """The sum of the costs of a choice."""
    return math.fsum(costs[name][label] for name, label in chosen.items())


def _least_bytes(tensor: StoredTensor) -> int:
    """Bytes of a tensor and of its entry in the header, with offsets of one digit."""
    entry = {tensor.name: {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [0, 0]}}
    # A comma stands where the braces would.
    return tensor.bytes + len(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()) - 1
