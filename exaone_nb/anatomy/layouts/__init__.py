"""Which tensors a config calls for, family by family, and how many parameters that makes.

`expected_tensors(config)` lists them in the order of the model's modules, before any quantization. A tied head is
not in the list: it is the embedding. An unknown family is refused, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts import dense, experts
from exaone_nb.anatomy.layouts.deepseek import deepseek_v3
from exaone_nb.anatomy.layouts.vision import mistral3
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.tensors import TensorSpec

MOST_TENSORS = 500_000  # seven times Kimi-K2; a corrupt config must not fill the memory
Layout = Callable[[dict[str, Any]], Iterator[TensorSpec]]


def _llama4_text_of_pair(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """The text decoder inside a Llama 4 image-and-text checkpoint; its vision tower is not laid out here."""
    text = fields.table(config, "text_config")
    return experts.llama4(text, prefix="language_model.")


# model_type -> layout.
LAYOUTS: dict[str, Layout] = {
    "exaone4": dense.exaone4,
    "exaone": dense.exaone3,
    "exaone_moe": experts.exaone_moe,
    "qwen3": dense.qwen3,
    "qwen3_moe": experts.qwen3_moe,
    "smollm3": dense.smollm3,
    "gemma3_text": dense.gemma3,
    "gpt_oss": experts.gpt_oss,
    "deepseek_v3": deepseek_v3,
    "kimi_k2": deepseek_v3,
    "llama4": _llama4_text_of_pair,
    "llama4_text": experts.llama4,
    "phi3": dense.phi3,
    "mistral": dense.llama,
    "mistral3": mistral3,
}


def model_type(config: dict[str, Any]) -> str:
    """The config's `model_type`. Raises UsageError when it is missing or not a family laid out here."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in LAYOUTS:
        raise UsageError(
            say("No layout for model_type {name}.", name=repr(name))
            if name
            else say("The config has no model_type."),
            expected=f"one of {', '.join(sorted(LAYOUTS))}.",
            remedy="Inspect the checkpoint itself (its header lists every tensor), or add a layout in "
            "exaone_nb/anatomy/layouts/ with a test.",
        )
    return name


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of the config that describes the text decoder (the config itself for text-only models)."""
    return fields.table(config, "text_config") or config


def expected_tensors(config: dict[str, Any]) -> list[TensorSpec]:
    """Every tensor the config calls for, unquantized, in the order of the modules.

    Raises WorkbookError for an unknown family, a missing size, or a size that is not a whole number in range.
    """
    layout = LAYOUTS[model_type(config)]
    decoder = text_config(config)
    layers = fields.layers(decoder)
    fields.per_layer(decoder, "layer_types", layers)
    specs = list(islice(layout(config), MOST_TENSORS + 1))
    if len(specs) > MOST_TENSORS:
        raise WorkbookError(
            f"This config calls for more than {MOST_TENSORS:,} tensors.",
            expected="a model of believable size.",
            remedy="Check the numbers of layers and experts in config.json.",
        )
    return specs


def is_tied(config: dict[str, Any]) -> bool:
    """True when the head is the embedding table (no `head` tensor is called for)."""
    return not any(spec.kind == "head" for spec in expected_tensors(config))


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model. `by_component` adds up to `total`; buffers are not parameters."""

    by_component: dict[str, int]
    experts_used: int  # experts each token passes through
    experts_held: int

    @property
    def total(self) -> int:
        """All parameters, a tied head counted once."""
        return sum(self.by_component.values())

    @property
    def non_embedding(self) -> int:
        """Without the embedding and without an untied head."""
        return self.total - self.by_component.get("embedding", 0) - self.by_component.get("head", 0)

    @property
    def active(self) -> int:
        """What one token passes through: of the experts only those it is routed to."""
        held = self.by_component.get("experts", 0)
        return self.total - held + (held * self.experts_used // self.experts_held if held else 0)


def count_parameters(config: dict[str, Any]) -> ParameterCount:
    """Parameters by component, from the config alone."""
    totals: Counter[str] = Counter()
    for spec in expected_tensors(config):
        if not spec.buffer:
            totals[spec.component] += spec.elements
    decoder = text_config(config)
    held = next(
        (key for key in ("num_experts", "num_local_experts", "n_routed_experts") if key in decoder), None
    )
    if not totals["experts"]:
        return ParameterCount({name: n for name, n in totals.items() if n}, 0, 0)
    used = fields.size(decoder, "num_experts_per_tok")
    return ParameterCount(dict(totals), used, fields.size(decoder, held))
