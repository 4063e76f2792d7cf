"""The modules of a model, and which of them a pattern matches, from the config alone.

llm-compressor matches a pattern against every module, parents included: it fits when it is the module's full name,
or the name of its class (or of a class above it), or when it starts with `re:` and the regular expression fits from
the beginning of the name. A parent that matches does not pull its children in; only Linear and Embedding modules
can be quantized. Which of several fitting targets wins is said in `quantization.matching`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.errors import UsageError
from exaone_nb.quantization import matching
from exaone_nb.quantization.matching import CLASSES_OF_KIND, matches

QUANTIZABLE = tuple(CLASSES_OF_KIND)
# Prefix of the classes that transformers uses for a family's own modules.
FAMILY = {"exaone4": "Exaone4", "qwen3": "Qwen3", "llama": "Llama", "mistral": "Mistral"}


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
        return self.kind in QUANTIZABLE

    def fits(self, pattern: str) -> bool:
        """True when compressed-tensors would say that `pattern` matches this module."""
        return pattern in self.class_names or matches(self.name, self.kind, (pattern,))


def modules_of(config: dict[str, Any]) -> list[Module]:
    """Every module with or above a weight, a tied head included, in the model's order."""
    specs = [spec for spec in expected_tensors(config) if not spec.buffer]
    family = FAMILY.get(str(config.get("model_type")), "")
    found: dict[str, Module] = {}
    for spec in specs:
        for parent in _parents(spec.module):
            found.setdefault(
                parent, Module(parent, "parent", layer=_layer(parent), class_names=_class(parent, family))
            )
        if spec.module not in found or spec.name.endswith(".weight"):
            classes = CLASSES_OF_KIND.get(spec.kind) or _norm_class(spec.kind, family)
            found[spec.module] = Module(spec.module, spec.kind, spec.shape, spec.layer, classes)
    if not any(
        spec.kind == "head" for spec in specs
    ):  # tied: a Linear module that shares the embedding's table
        table = next(spec for spec in specs if spec.kind == "embedding")
        found["lm_head"] = Module("lm_head", "head", table.shape, None, CLASSES_OF_KIND["head"])
    return list(found.values())


def _parents(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))


def _layer(name: str) -> int | None:
    found = re.search(r"\.layers\.(\d+)$|\.layers\.(\d+)\.", name)
    return int(found.group(1) or found.group(2)) if found else None


def _class(parent: str, family: str) -> tuple[str, ...]:
    last = parent.rpartition(".")[2]
    if last == "layers":
        return ("ModuleList", "Module")
    if not family:
        return ("Module",)
    own = {"model": "Model", "self_attn": "Attention", "mlp": "MLP"}.get(
        last, "DecoderLayer" if last.isdigit() else ""
    )
    return (family + own, "Module") if own else ("Module",)


def _norm_class(kind: str, family: str) -> tuple[str, ...]:
    return (f"{family}RMSNorm", "Module") if kind == "norm" and family else ("Module",)


def winning_target(module: Module, targets: Iterable[str]) -> str | None:
    """The target whose scheme the module gets, by compressed-tensors' order, or None when none fits."""
    return matching.winning_target(module.name, module.kind, targets)


def check_pattern(pattern: str) -> None:
    """Raise UsageError when a `re:` pattern is not a regular expression."""
    if pattern.startswith("re:"):
        try:
            re.compile(pattern[3:])
        except re.error as error:
            raise UsageError(f"Pattern {pattern!r} is not a regular expression: {error}.") from error


def suggest(pattern: str, modules: list[Module]) -> str:
    """What someone who wrote a pattern that matches nothing probably meant, as a sentence; "" when unclear."""
    import difflib

    names = [module.name for module in modules]
    plain = pattern.removeprefix("re:")
    layers = [module.layer for module in modules if module.layer is not None]
    number = re.search(r"layers\\*\.(\d+)", plain)
    if number and layers and int(number.group(1)) > max(layers):
        return f"The layers of this model are 0 to {max(layers)}."
    if pattern.startswith("re:"):
        for changed, why in (
            (
                plain.replace("\\\\", "\\"),
                "a backslash is written twice, so it asks for a backslash in the name",
            ),
            (".*" + plain, "the expression must fit from the beginning of the name"),
            (
                ".*" + plain.replace("\\\\", "\\"),
                "it must fit from the beginning, and a backslash is written twice",
            ),
        ):
            try:
                count = sum(bool(re.match(changed, name)) for name in names)
            except re.error:
                continue
            if changed != plain and count:
                return f"{why[0].upper()}{why[1:]}; `re:{changed}` matches {count}."
    else:
        last = [name for name in names if name.endswith("." + plain)]
        if len(last) == 1:
            return f"The full name is `{last[0]}`."
        if last:
            return f"{len(last)} modules end in it; `re:.*\\.{re.escape(plain)}` matches them."
        if "*" in plain:
            expression = re.escape(plain).replace("\\*", ".*")
            count = sum(bool(re.match(expression, name)) for name in names)
            if count:
                return f"A star means something only after `re:`; `re:{expression}` matches {count}."
    parts = sorted({module.part for module in modules if module.quantizable})
    near = difflib.get_close_matches(plain, [*names, *parts], n=3, cutoff=0.6)
    return (
        f"Nearest names: {', '.join(near)}."
        if near
        else f"Modules that can be quantized end in {', '.join(parts)}."
    )
