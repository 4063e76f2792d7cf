"""Rotary position embedding: pair i of a head's values turns by `position * inverse_frequency[i]`.

The score of two rotated vectors depends on their positions only through the distance. Slow pairs (long wavelengths)
have not turned once within the trained context, so longer contexts show the model angles it never saw. Llama 3's
scaling slows exactly those pairs by `factor`, keeps the fast ones, and blends in between.

Source: Su et al. 2021 (arXiv 2104.09864); scaling as in transformers 5.17, `modeling_rope_utils.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from exaone_nb import fields
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say


@dataclass(frozen=True)
class Rope:
    """`factor` 1 is plain RoPE; otherwise llama3 scaling with the fields of config.json."""

    theta: float = 1e6
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self) -> None:
        if not self.theta > 1:
            raise UsageError(say("rope_theta is {theta!r}.", theta=self.theta), expected="a number above 1.")
        if not self.factor >= 1:
            got = say("The RoPE factor is {factor!r}.", factor=self.factor)
            raise UsageError(got, expected="a number of at least 1.")
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            got = say(
                "low_freq_factor is {low_freq_factor}, high_freq_factor {high_freq_factor}.",
                low_freq_factor=self.low_freq_factor,
                high_freq_factor=self.high_freq_factor,
            )
            raise UsageError(got, expected="0 < low_freq_factor < high_freq_factor.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read `rope_theta` and `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5)."""
        values = {"rope_theta": 10000.0, **fields.rope(dict(config))}
        kind = values.get("rope_type") or values.get("type") or "default"
        if kind == "default":
            return cls(theta=values["rope_theta"])
        if kind != "llama3":
            raise WorkbookError(say("RoPE scaling of type {kind!r}.", kind=kind), expected="none, or llama3.")
        return cls(
            theta=values["rope_theta"],
            original_context=values["original_max_position_embeddings"],
            **{name: values[name] for name in ("factor", "low_freq_factor", "high_freq_factor")},
        )

    def unscaled(self) -> Self:
        """The same theta without scaling."""
        return type(self)(theta=self.theta)

    def inverse_frequencies(self, head_dim: int) -> Tensor:
        """Radians per token of each pair, fastest first: float32 [head_dim / 2]. Raises UsageError for odd head_dim."""
        import torch

        if head_dim < 2 or head_dim % 2:
            got = say("head_dim is {head_dim}.", head_dim=head_dim)
            raise UsageError(got, expected="an even number of at least 2.")
        plain = 1.0 / (self.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
        if self.factor == 1:
            return plain
        turns = self.original_context * plain / (2 * math.pi)  # within the context it was first trained on
        blend = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        blend = blend.clamp(0, 1)  # 0: fewer turns than low_freq_factor, slowed fully; 1: kept
        return (1 - blend) * plain / self.factor + blend * plain

    def wavelengths(self, head_dim: int) -> Tensor:
        """Tokens per full turn of each pair, shortest first: float32 [head_dim / 2]."""
        return 2 * math.pi / self.inverse_frequencies(head_dim)

    def angles(self, positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
        """cos and sin for `positions` [batch, query]: each [batch, 1, query, head_dim], the halves repeated."""
        import torch

        turned = positions[..., None].float() * self.inverse_frequencies(head_dim)
        both = torch.cat((turned, turned), dim=-1).unsqueeze(1)
        return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [batch, heads, query, head_dim]; value i is paired with value i + head_dim / 2."""
    import torch

    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def scores_over_distance(rope: Rope | None, head_dim: int, distances: Tensor) -> Tensor:
    """Score of a key identical to the query, by distance, as a share of the score at distance 0: [distances].

    With all values equal the rotated score is the mean of cos(distance * inverse_frequency) over the pairs.
    `None` (NoPE) gives 1 everywhere: without rotation the distance does not enter.
    """
    import torch

    if rope is None:
        return torch.ones(len(distances))
    return torch.cos(distances[:, None].double() * rope.inverse_frequencies(head_dim).double()).mean(-1)
