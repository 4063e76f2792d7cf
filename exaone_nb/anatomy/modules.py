"""The modules of a model, from the config alone, as `quantization` asks for them.

llm-compressor matches a pattern against every module, parents included: it fits when it is the module's full name,
or the name of its class (or of a class above it), or when it starts with `re:` and the regular expression fits from
the beginning of the name. A parent that matches does not pull its children in; only Linear and Embedding modules
can be quantized. Which of several fitting targets wins is said in `quantization.matching`.
"""

import re
from typing import Any

from exaone_nb.anatomy.layouts import linear_tensors
from exaone_nb.quantization.matching import CLASSES_OF_KIND, Module

# Prefix of the classes that transformers uses for a family's own modules.
FAMILY = {"exaone4": "Exaone4", "qwen3": "Qwen3", "llama": "Llama", "mistral": "Mistral"}


def modules_of(config: dict[str, Any]) -> list[Module]:
    """Every module with or above a weight, a tied head included, in the model's order."""
    specs = [spec for spec in linear_tensors(config) if not spec.buffer]
    family = FAMILY.get(str(config.get("model_type")), "")
    found: dict[str, Module] = {}
    for spec in specs:
        parts = spec.module.split(".")
        for parent in (".".join(parts[:i]) for i in range(1, len(parts))):
            found.setdefault(
                parent, Module(parent, "parent", layer=_layer(parent), class_names=_class(parent, family))
            )
        if spec.module not in found or spec.name.endswith(".weight"):
            norm = f"{family}RMSNorm" if spec.kind == "norm" and family else ""
            classes = CLASSES_OF_KIND.get(spec.kind) or tuple(filter(None, (norm, "Module")))
            found[spec.module] = Module(spec.module, spec.kind, spec.shape, spec.layer, classes)
    if not any(spec.kind == "head" for spec in specs):
        # Tied: a Linear module that shares the embedding's table.
        table = next(spec for spec in specs if spec.kind == "embedding")
        found["lm_head"] = Module("lm_head", "head", table.shape, None, CLASSES_OF_KIND["head"])
    return list(found.values())


def _layer(name: str) -> int | None:
    found = re.search(r"\.layers\.(\d+)(\.|$)", name)
    return int(found[1]) if found else None


def _class(parent: str, family: str) -> tuple[str, ...]:
    last = parent.rpartition(".")[2]
    if last == "layers":
        return ("ModuleList", "Module")
    own = {"model": "Model", "self_attn": "Attention", "mlp": "MLP"}
    name = own.get(last, "DecoderLayer" if last.isdigit() else "")
    return (family + name, "Module") if family and name else ("Module",)
