"""Which modules a recipe means, and which of its groups a module gets, as compressed-tensors 0.19 decides it.

A target is a module's full name, the name of its class (or of a class above it), or `re:` and an expression that
fits from the beginning of the name (compressed_tensors/utils/match.py). Where several fit, a full name beats an
expression, an expression beats a class, and among equals the alphabet decides, not the order of the groups; the same
target in two groups belongs to the later one (quantization/lifecycle/apply.py).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Generic, TypeVar

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs, Scheme

# The torch classes, own and inherited, of the modules that can be quantized, by the kind of their weight.
CLASSES_OF_KIND = {
    "linear": ("Linear", "Module"),
    "head": ("Linear", "Module"),
    "embedding": ("Embedding", "Module"),
}
_ALL_CLASSES = {name for names in CLASSES_OF_KIND.values() for name in names}
S = TypeVar("S")
# The label of a module that gets no scheme.
KEPT = "-"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            say("`re:{text}` is not a regular expression: {reason}.", text=text, reason=error),
            remedy="Remember that a dot matches any character and `.*` any text; a bare `*` at the start is wrong.",
        ) from error


def check_pattern(pattern: str) -> None:
    """Raise UsageError when a `re:` pattern is not a regular expression."""
    if pattern.startswith("re:"):
        _pattern(pattern[3:])


def _names(target: str, module: str) -> bool:
    if target.startswith("re:"):
        return _pattern(target[3:]).match(module) is not None
    return target == module


def matches(module: str, kind: str, targets: Iterable[str]) -> bool:
    """True when one of the targets fits the module."""
    classes = CLASSES_OF_KIND.get(kind, ())
    return any(target in classes or _names(target, module) for target in targets)


def winning_target(module: str, kind: str, targets: Iterable[str]) -> str | None:
    """The target whose group the module gets, None when none fits."""
    ordered = sorted(targets, key=lambda target: ("re:" in target, target))
    classes = CLASSES_OF_KIND.get(kind, ())
    by_class = (target for target in ordered if target in classes)
    return next((target for target in ordered if _names(target, module)), None) or next(by_class, None)


@dataclass(frozen=True)
class Module:
    """One module. `kind` is linear, head, embedding, norm, other or parent; `shape` is its weight's [out, in]."""

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    layer: int | None = None
    class_names: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """The last part of the name, for instance `q_proj`."""
        return self.name.rpartition(".")[2]

    @property
    def quantizable(self) -> bool:
        return self.kind in CLASSES_OF_KIND

    def fits(self, pattern: str) -> bool:
        """True when compressed-tensors would say that `pattern` matches this module."""
        return pattern in self.class_names or matches(self.name, self.kind, (pattern,))


class Groups(Generic[S]):
    """Groups of a recipe, each (value, targets), and what they leave alone; made once, asked for every module."""

    def __init__(self, groups: Iterable[tuple[S, Iterable[str]]], ignore: Iterable[str]) -> None:
        self._value = {target: value for value, targets in groups for target in targets}
        # A plan names every module in full: those are looked up, only the others are tried one by one.
        self._broad = [target for target in self._value if "re:" in target or target in _ALL_CLASSES]
        self._ignore = tuple(ignore)

    def target_for(self, module: str, kind: str) -> str | None:
        """The target that decides a module's group, whether or not it is ignored; None when none fits."""
        if kind not in CLASSES_OF_KIND:
            return None
        return module if module in self._value else winning_target(module, kind, self._broad)

    def value_for(self, module: str, kind: str) -> S | None:
        """The value of the group that the module gets; None when it is ignored or no target fits."""
        target = self.target_for(module, kind)
        return None if target is None or matches(module, kind, self._ignore) else self._value[target]


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

    @property
    def written(self) -> list[int]:
        """The groups with a scheme, in the order of the file, whether or not some module gets them."""
        return [index for index, (scheme, _) in enumerate(self.groups) if scheme.weights]

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
