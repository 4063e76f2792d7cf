"""Which module gets which scheme: one record for a recipe that is planned and for a checkpoint that is finished."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from exaone_nb.quantization.matching import Groups, Module
from exaone_nb.quantization.schemes import QuantArgs, Scheme

KEPT = "-"


@dataclass(frozen=True)
class Assignment:
    """Groups (scheme, targets) in the order of the file, and what they do to a model's modules.

    `modules` are all modules, parents included; `family` is the config's model_type.
    """

    modules: Sequence[Module]
    groups: Sequence[tuple[Scheme, tuple[str, ...]]]
    ignore: Sequence[str] = ()
    family: str = ""

    @cached_property
    def by_target(self) -> Groups[int]:
        """Asked for the target or the group of a module."""
        return Groups(((i, targets) for i, (_, targets) in enumerate(self.groups)), self.ignore)

    @cached_property
    def assigned(self) -> dict[str, int | None]:
        """Module that can be quantized -> its group's index, None when it is kept."""
        return {m.name: self.by_target.value_for(m.name, m.kind) for m in self.quantizable}

    @cached_property
    def quantizable(self) -> list[Module]:
        """The Linear and Embedding modules."""
        return [module for module in self.modules if module.quantizable]

    @cached_property
    def used(self) -> dict[int, Scheme]:
        """The schemes that some module gets, by group, in the order of the model."""
        indices = dict.fromkeys(index for index in self.assigned.values() if index is not None)
        return {index: self.groups[index][0] for index in indices if self.groups[index][0].weights}

    def numbers_of(self, module: str) -> tuple[QuantArgs | None, QuantArgs | None] | None:
        """What decides a module's format; None when it is kept, which is a scheme of its own to an engine."""
        index = self.assigned[module]
        return None if index is None else (self.groups[index][0].weights, self.groups[index][0].activations)

    def members(self, index: int) -> list[Module]:
        """The modules that get a group."""
        return [module for module in self.quantizable if self.assigned[module.name] == index]

    def label_of(self, module: str) -> str:
        """The scheme's label of a module, or `-` when it is kept as it is."""
        index = self.assigned.get(module)
        return KEPT if index is None else self.groups[index][0].label
