"""The blocks that decoder families share: embedding, attention, gated MLP, norm, head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.arrangements import Arrangement
from exaone_nb.tensors import Kind, TensorSpec


def tensor(
    name: str, shape: tuple[int, ...], component: str, layer: int | None, kind: Kind = "other", **more: Any
) -> TensorSpec:
    """A spec whose module is everything before the last dot of its name."""
    return TensorSpec(name, shape, component, layer, name.rpartition(".")[0], kind, **more)


def linear(
    module: str, out: int, inp: int, component: str, layer: int | None, *, bias: bool = False
) -> Iterator[TensorSpec]:
    """An nn.Linear: weight [out, in] and, when asked, bias [out]."""
    yield tensor(f"{module}.weight", (out, inp), component, layer, "linear")
    if bias:
        yield tensor(f"{module}.bias", (out,), component, layer)


def norm(name: str, width: int, layer: int | None) -> TensorSpec:
    """An RMSNorm weight [width]."""
    return tensor(f"{name}.weight", (width,), "norm", layer, "norm")


def attention(
    prefix: str,
    layer: int,
    config: dict[str, Any],
    *,
    qk_norm: bool = False,
    bias: bool = False,
    out_name: str = "o_proj",
) -> Iterator[TensorSpec]:
    """Grouped-query attention: q, k, v, output, and RMSNorms of width head_dim on q and k when asked."""
    hidden = fields.size(config, "hidden_size")
    query, key_value, head_dim = fields.heads(config)
    yield from linear(f"{prefix}.q_proj", query * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{prefix}.k_proj", key_value * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{prefix}.v_proj", key_value * head_dim, hidden, "attention", layer, bias=bias)
    yield from linear(f"{prefix}.{out_name}", hidden, query * head_dim, "attention", layer, bias=bias)
    if qk_norm:
        yield norm(f"{prefix}.q_norm", head_dim, layer)
        yield norm(f"{prefix}.k_norm", head_dim, layer)


def gated_mlp(
    prefix: str,
    layer: int | None,
    hidden: int,
    width: int,
    *,
    component: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Iterator[TensorSpec]:
    """down(act(gate(x)) * up(x)), three matrices without biases."""
    gate, up, down = names
    yield from linear(f"{prefix}.{gate}", width, hidden, component, layer)
    yield from linear(f"{prefix}.{up}", width, hidden, component, layer)
    yield from linear(f"{prefix}.{down}", hidden, width, component, layer)


def separate_experts(prefix: str, layer: int, hidden: int, width: int, count: int) -> Iterator[TensorSpec]:
    """Routed experts that are each stored as a gated MLP of their own."""
    for expert in range(count):
        yield from gated_mlp(f"{prefix}.experts.{expert}", layer, hidden, width, component="experts")


def shared_experts(prefix: str, layer: int, hidden: int, width: int, count: int) -> Iterator[TensorSpec]:
    """The experts every token passes through: one gated MLP as wide as all of them, or nothing."""
    if count:
        yield from gated_mlp(
            f"{prefix}.shared_experts", layer, hidden, width * count, component="shared_experts"
        )


def embedding(name: str, config: dict[str, Any]) -> TensorSpec:
    """The token table [vocab_size, hidden_size]."""
    shape = (fields.size(config, "vocab_size"), fields.size(config, "hidden_size"))
    return tensor(f"{name}.weight", shape, "embedding", None, "embedding")


def head(name: str, config: dict[str, Any]) -> TensorSpec:
    """The output projection [vocab_size, hidden_size]; stored only when it is not tied to the embedding."""
    shape = (fields.size(config, "vocab_size"), fields.size(config, "hidden_size"))
    return tensor(f"{name}.weight", shape, "head", None, "head")


def layer_norms(at: str, arrangement: Arrangement, hidden: int, layer: int) -> Iterator[TensorSpec]:
    """The norms of one decoder layer, outside its attention."""
    for name in arrangement.norms:
        yield norm(f"{at}.{name}", hidden, layer)


def ending(config: dict[str, Any], *, tied_default: bool = False, prefix: str = "") -> Iterator[TensorSpec]:
    """The last norm, and the head where it is not tied to the embedding."""
    yield norm(f"{prefix}model.norm", fields.size(config, "hidden_size"), None)
    if not fields.flag(config, "tie_word_embeddings", tied_default):
        yield head(f"{prefix}lm_head", config)
