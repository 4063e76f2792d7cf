"""The sizes of a reference model, checked when they are written down: an impossible one is named, not computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from exaone_nb import fields
from exaone_nb.architecture.rope import Rope
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
FULL, SLIDING = "full_attention", "sliding_attention"


def layer_pattern(layers: int, local: int) -> tuple[str, ...]:
    """`local` sliding layers, then one full layer, over and over; 0 gives full layers only.

    Raises UsageError when the period `local + 1` does not divide the number of layers.
    """
    period = whole("The number of local layers per global layer", local, least=0) + 1
    whole("The number of layers", layers)
    if layers % period:
        fitting = [str(p - 1) for p in range(1, layers + 1) if layers % p == 0]
        raise UsageError(
            f"A ratio of {local}:1 repeats every {period} layers, which does not divide {layers} layers.",
            expected=f"a number of local layers per global layer out of {', '.join(fitting)}.",
            remedy="Change the ratio or the number of layers.",
        )
    return ((SLIDING,) * local + (FULL,)) * (layers // period)


def require_some(name: str, values: Sized) -> None:
    """Raise UsageError naming the parameter when a list that something is drawn or counted for is empty."""
    if not values:
        raise UsageError(f"{name}: an empty list.", expected="at least one value.")


@dataclass(frozen=True)
class Shape:
    """Sizes in the names of config.json. `layer_types` has one entry per layer.

    `rope_on_full` is False only for EXAONE 4.0's hybrid models: their full layers have no position encoding (NoPE).
    """

    vocab_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 384
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    layer_types: tuple[str, ...] = (FULL,) * 4
    sliding_window: int | None = None
    rms_norm_eps: float = 1e-5
    rope: Rope = field(default_factory=Rope)
    rope_on_full: bool = True
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in SIZES:
            whole(name, getattr(self, name))
        if self.num_attention_heads % self.num_key_value_heads:
            raise UsageError(
                f"num_key_value_heads is {self.num_key_value_heads} with {self.num_attention_heads} query heads.",
                expected="a divisor of num_attention_heads: every key/value head serves equally many query heads.",
            )
        whole("head_dim", self.head_dim, least=2)
        if self.head_dim % 2:
            raise UsageError(
                f"head_dim is {self.head_dim}.", expected="an even number: RoPE rotates its values in pairs."
            )
        if not self.layer_types:
            raise UsageError("layer_types is empty.", expected="one entry per layer.")
        unknown = sorted(set(self.layer_types) - {FULL, SLIDING})
        if unknown:
            raise UsageError(f"layer_types names {unknown}.", expected=f"{FULL} or {SLIDING}.")
        if SLIDING in self.layer_types or self.sliding_window is not None:
            whole("sliding_window", self.sliding_window)
        if not 0 < self.rms_norm_eps < 1:
            raise UsageError(f"rms_norm_eps is {self.rms_norm_eps!r}.", expected="a small positive number.")

    @property
    def num_hidden_layers(self) -> int:
        return len(self.layer_types)

    def window_of(self, layer: int) -> int | None:
        """The window of one layer in tokens, None where attention is full."""
        return self.sliding_window if self.layer_types[layer] == SLIDING else None

    def uses_rope(self, layer: int) -> bool:
        """Whether this layer rotates queries and keys."""
        return self.rope_on_full or self.layer_types[layer] == SLIDING

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """The shape of an `exaone4` or `llama` config.json (transformers 4 or 5 spelling).

        Raises WorkbookError for another architecture, whose layer these reference modules do not describe.
        """
        kind = config.get("model_type")
        if kind not in ("exaone4", "llama"):
            raise WorkbookError(
                f"The reference modules do not describe model_type {kind!r}.",
                expected="exaone4 or llama.",
                remedy="Use nano, EXAONE-4.0-1.2B or another EXAONE 4.0 model.",
            )
        layers = fields.layers(config)
        heads, kv_heads, head_dim = fields.heads(config)
        same = ("vocab_size", "hidden_size", "intermediate_size", "rms_norm_eps")
        return cls(
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            layer_types=tuple(fields.per_layer(config, "layer_types", layers) or (FULL,) * layers),
            sliding_window=config.get("sliding_window"),
            rope=Rope.from_config(config),
            rope_on_full=kind == "llama" or config.get("sliding_window") is None,
            tie_word_embeddings=fields.flag(config, "tie_word_embeddings", False),
            initializer_range=config.get("initializer_range", 0.02),
            **{name: config[name] for name in same},
        )
