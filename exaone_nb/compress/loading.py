"""Why vLLM would not load a planned checkpoint at all, whatever the kernels. Read in the vLLM 0.32 sources.

vLLM joins q, k, v into one matrix, gate, up into another, and all experts of a layer into one, so that each of these
needs one scheme (compressed_tensors/utils.py, should_ignore_layer). It also looks the schemes up anew: of several
fitting targets the first in the file wins, not the first of the alphabet, and a head or an embedding is not the class
that a target names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from exaone_nb.anatomy.modules import Module, winning_target
from exaone_nb.compress.plan import Plan
from exaone_nb.quantization.matching import matches
from exaone_nb.quantization.schemes import QuantArgs

JOINED = {"q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj"}
JOINED |= {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj"}
# Families whose embedding vLLM makes without its name, so that no target but a class finds it.
NAMELESS_EMBEDDING = ("exaone4", "exaone_moe", "llama")
Numbers = tuple[QuantArgs | None, QuantArgs | None] | None


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps vLLM from loading. `certain` is False where it was not tried and the source is not clear.

    `text` explains it once, in the findings; `short` is the reason beside each place.
    """

    code: str
    short: str
    text: str
    remedy: str = ""
    certain: bool = True


def obstacles(plan: Plan) -> list[Obstacle]:
    """Everything that vLLM would stumble over, the certain ones first."""
    found = [*_split(plan), *_misread(plan), *_tables(plan)]
    return sorted(found, key=lambda obstacle: not obstacle.certain)


def _numbers(plan: Plan, index: int | None) -> Numbers:
    """What decides the format; None for a module that is kept, which is a scheme of its own to vLLM."""
    return None if index is None else (plan.schemes[index].weights, plan.schemes[index].activations)


def joined_name(module: str) -> str:
    """The vLLM layer a module becomes a part of; its own name when it stays alone."""
    if expert := re.match(r"(.*\.experts)\.\d+\.", module):
        return expert.group(1)
    parent, _, part = module.rpartition(".")
    return f"{parent}.{JOINED[part]}" if part in JOINED else module


def _split(plan: Plan) -> Iterator[Obstacle]:
    numbers = [_numbers(plan, i) for i in range(len(plan.recipe.groups))]
    layers: dict[str, list[str]] = {}
    for name in plan.assigned:
        layers.setdefault(joined_name(name), []).append(name)

    def differs(names: list[str]) -> bool:
        found = [None if plan.assigned[n] is None else numbers[plan.assigned[n]] for n in names]
        return any(other != found[0] for other in found)

    split = {layer: names for layer, names in layers.items() if len(names) > 1 and differs(names)}
    for part in dict.fromkeys(layer.rpartition(".")[2] for layer in split):
        same = [names for layer, names in split.items() if layer.rpartition(".")[2] == part]
        shown = ", ".join(f"{name} ({_words(plan, name)})" for name in same[0][:3])
        more = f", and so in {len(same) - 1} more layers" if len(same) > 1 else ""
        yield Obstacle(
            "fused-split",
            f"parts of {part} have different schemes",
            f"vLLM joins these into one {part} and needs one scheme for them: {shown}{more}.",
            f"Give all parts of {part} the same scheme, or ignore all of them.",
        )


def _words(plan: Plan, module: str) -> str:
    return "kept" if plan.assigned[module] is None else plan.label_of(module)


def _misread(plan: Plan) -> Iterator[Obstacle]:
    """Modules for which the first fitting target in the file belongs to another scheme than the one they got."""
    used = dict.fromkeys(index for index in plan.assigned.values() if index is not None)
    order = {target: i for i in used for target in plan.recipe.groups[i].targets}
    if len(used) < 2:
        return
    told = set()
    for name, index in plan.assigned.items():
        if index is None or name == "lm_head":
            continue
        for asked in dict.fromkeys((name if ".experts." in name else joined_name(name), name)):
            target = next((t for t in order if matches(asked, "", (t,))), None)
            if target is None:
                continue
            if _numbers(plan, order[target]) != _numbers(plan, index) and target not in told:
                told.add(target)
                yield Obstacle(
                    "file-order",
                    f"vLLM takes `{target}` for {asked}",
                    f"{asked} was made with {plan.labels[index]}, but vLLM takes the first target in the file that fits, "
                    f"`{target}` with {plan.labels[order[target]]}, and stops.",
                    "Make the expressions exclude each other, joined names such as qkv_proj included.",
                )
            break


def _tables(plan: Plan) -> Iterator[Obstacle]:
    """A quantized head or embedding."""
    owner = {target: i for i, group in enumerate(plan.recipe.groups) for target in group.targets}
    for module in plan.quantizable:
        if plan.assigned[module.name] is None or module.kind not in ("head", "embedding"):
            continue
        by_class = winning_target(module, owner) in module.class_names
        yield _head(module, by_class) if module.kind == "head" else _embedding(plan, module, by_class)


def _head(module: Module, by_class: bool) -> Obstacle:
    if by_class:
        return Obstacle(
            "head-by-class",
            f"no module or parameter named '{module.name}.weight_…'",
            f"vLLM's head is no Linear, so it looks for an unquantized {module.name} and stops at `no module or parameter "
            f"named '{module.name}.weight_…'`.",
            f"Add {module.name} to ignore.",
        )
    text = f"a quantized {module.name}, named in the recipe: only nano's with W4A16 and W8A8 on a CPU was tried, and ran"
    return Obstacle("head-by-name", text, text, certain=False)


def _embedding(plan: Plan, module: Module, by_class: bool) -> Obstacle:
    if not by_class and plan.config.get("model_type") in NAMELESS_EMBEDDING:
        return Obstacle(
            "embedding-by-name",
            f"no module or parameter named '{module.name}.weight_packed'",
            f"vLLM makes this family's embedding without its name, finds no scheme for {module.name}, and stops at `no "
            f"module or parameter named '{module.name}.weight_packed'`.",
            "Leave the embedding out; what is saved cannot be served.",
        )
    text = "a quantized embedding: vLLM support depends on version and format, so try it before relying on it"
    return Obstacle("embedding", text, text, certain=False)
