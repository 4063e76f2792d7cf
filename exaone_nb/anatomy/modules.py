"""The modules of a model, from the config alone, as `quantization` asks for them.

llm-compressor matches a pattern against every module, parents included: it fits when it is the module's full name,
or the name of its class (or of a class above it), or when it starts with `re:` and the regular expression fits from
the beginning of the name. A parent that matches does not pull its children in; only Linear and Embedding modules
can be quantized. Which of several fitting targets wins is said in `quantization.matching`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.quantization.matching import CLASSES_OF_KIND, Module

# Prefix of the classes that transformers uses for a family's own modules.
FAMILY = {"exaone4": "Exaone4", "qwen3": "Qwen3", "llama": "Llama", "mistral": "Mistral"}


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
