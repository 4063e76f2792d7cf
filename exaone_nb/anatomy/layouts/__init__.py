"""Which tensors a config calls for, family by family, and how many parameters that makes.

`expected_tensors(config)` lists them in the order of the model's modules, before any quantization. A tied head is
not in the list: it is the embedding. A family without a layout is asked of transformers (`asked`), never guessed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts import asked, decoder, multimodal
from exaone_nb.anatomy.layouts.experts import as_linear
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.tensors import TensorSpec

MOST_TENSORS = 500_000  # seven times Kimi-K2; a corrupt config must not fill the memory
Layout = Callable[[dict[str, Any]], Iterator[TensorSpec]]

# model_type -> layout.
LAYOUTS: dict[str, Layout] = {
    **{name: partial(decoder.decoder, model_type=name) for name in decoder.FAMILIES},
    "exaone": decoder.exaone3,
    "exaone4_5": multimodal.exaone4_5,
    "exaone4_5_text": partial(decoder.decoder, model_type="exaone4"),
    "llama4": multimodal.llama4,
    "mistral3": multimodal.mistral3,
}


def has_layout(config: dict[str, Any] | None) -> bool:
    """True when the config's family is laid out here; others are asked of transformers."""
    return bool(config) and isinstance(config.get("model_type"), str) and config["model_type"] in LAYOUTS


def is_known(config: dict[str, Any] | None) -> bool:
    """True when the tensors that a config calls for can be told, here or by transformers."""
    return has_layout(config) or (bool(config) and asked.can_answer(config))


def layout_notes(config: dict[str, Any] | None) -> list[str]:
    """What to say beside an answer whose tensors were not laid out here but asked of transformers."""
    return [] if not config or has_layout(config) else [asked.note(config)]


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of the config that describes the text decoder (the config itself for text-only models)."""
    return fields.table(config, "text_config") or config


def expected_tensors(config: dict[str, Any]) -> list[TensorSpec]:
    """Every tensor the config calls for, unquantized, in the order of the modules.

    Raises WorkbookError for a missing size or one that is not a whole number in range, UsageError for a family that
    neither this workbook nor transformers knows.
    """
    return list(_expected(json.dumps(config)))


@lru_cache(maxsize=4)  # a note asks seven times, and a mixture of experts has 90,000 tensors
def _expected(document: str) -> tuple[TensorSpec, ...]:
    config = json.loads(document)
    layout = LAYOUTS[config["model_type"]] if has_layout(config) else asked.tensors
    if has_layout(config):
        text = text_config(config)
        fields.per_layer(text, "layer_types", fields.layers(text))
    specs = tuple(islice(layout(config), MOST_TENSORS + 1))
    if len(specs) > MOST_TENSORS:
        raise WorkbookError(
            say("This config calls for more than {most:,} tensors.", most=MOST_TENSORS),
            expected="a model of believable size.",
            remedy="Check the numbers of layers and experts in config.json.",
        )
    return specs


def linear_tensors(config: dict[str, Any], rename: bool = True) -> list[TensorSpec]:
    """`expected_tensors` as LLM Compressor sees the model: every expert on its own, as Linear modules (`as_linear`)."""
    return list(as_linear(expected_tensors(config), rename))


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
    if not totals["experts"]:
        return ParameterCount({name: n for name, n in totals.items() if n}, 0, 0)
    text = text_config(config)
    used, held = fields.size(text, "num_experts_per_tok"), fields.size(text, "num_experts")
    return ParameterCount(dict(totals), used, held)
