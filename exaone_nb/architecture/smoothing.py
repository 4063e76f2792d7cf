"""Does a smoothing pair leave the model's function alone? Scale both sides and look at the logits.

SmoothQuant and AWQ divide the output of one module by a vector s and multiply the input columns of the Linears that
read it by s. Nothing changes if those Linears are the *only* readers and *nothing else* stands between. Whether that
holds is a property of the architecture, not of the names: EXAONE 4.0 has a `post_attention_layernorm`, as Llama has,
but its output is added to the residual stream and is never what gate_proj and up_proj read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exaone_nb.errors import UsageError

# float32 arithmetic in another order changes the last digits only.
UNCHANGED = 1e-4


@dataclass(frozen=True)
class Pair:
    """`source` is divided by s, the input columns of `targets` are multiplied by s. Module names of one layer.

    `across_layers`: the targets belong to the next layer.
    """

    source: str
    targets: tuple[str, ...]
    across_layers: bool = False

    @property
    def name(self) -> str:
        ends = ", ".join(target.rpartition(".")[2] for target in self.targets)
        return f"{self.source.rpartition('.')[2]} → {'next ' if self.across_layers else ''}{ends}"


QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
PAIRS: tuple[Pair, ...] = (
    Pair("input_layernorm", QKV),
    Pair("post_attention_layernorm", GATE_UP),
    Pair("post_feedforward_layernorm", QKV, across_layers=True),
    Pair("mlp.up_proj", ("mlp.down_proj",)),
    Pair("self_attn.v_proj", ("self_attn.o_proj",)),
)


@dataclass(frozen=True)
class Proof:
    """`change` is |new logits - old| / |old| over all positions; `same_top` the share of equal top tokens.

    `valid` is None when the model has no such module: then `reason` says which.
    """

    pair: Pair
    valid: bool | None
    change: float
    same_top: float
    reason: str = ""


def logits_of(model: nn.Module, ids: Tensor) -> Tensor:
    """Logits [batch, query, vocab] in float32, of a reference model or a transformers one."""
    with torch.no_grad():
        return model(ids).logits.float()


def prove(
    model: nn.Module,
    ids: Tensor,
    pair: Pair,
    *,
    seed: int = 0,
    logits: Callable[[nn.Module, Tensor], Tensor] = logits_of,
) -> Proof:
    """Scale `pair` in every layer of a copy of `model` by seeded factors between 1/2 and 2, and compare the logits.

    `model` needs its layers at `.layers` or `.model.layers`. Run it in float32: in bfloat16 rounding alone changes
    the logits.
    """
    scaled = copy.deepcopy(model)
    layers = find_layers(scaled)
    generator = torch.Generator().manual_seed(seed)
    missing = [name for name in (pair.source, *pair.targets) if not _has(layers[0], name)]
    if missing:
        return Proof(pair, None, float("nan"), float("nan"), f"the layer has no {', '.join(missing)}")
    with torch.no_grad():
        for index, layer in enumerate(layers):
            readers = layer
            if pair.across_layers:
                if index + 1 == len(layers):
                    break
                readers = layers[index + 1]
            source = layer.get_submodule(pair.source)
            targets = [readers.get_submodule(name) for name in pair.targets]
            width = source.weight.shape[0]
            s = torch.exp2(torch.rand(width, generator=generator) * 2 - 1).to(source.weight)
            columns = _columns(layer, s, targets[0].weight.shape[1])
            source.weight.div_(s if source.weight.dim() == 1 else s[:, None])
            for target in targets:
                target.weight.mul_(columns)
    before, after = logits(model, ids), logits(scaled, ids)
    change = ((after - before).norm() / before.norm()).item()
    same = (after.argmax(-1) == before.argmax(-1)).float().mean().item()
    return Proof(pair, change < UNCHANGED, change, same)


def prove_all(model: nn.Module, ids: Tensor, pairs: Sequence[Pair] = PAIRS, *, seed: int = 0) -> list[Proof]:
    """A Proof for every pair, in order."""
    return [prove(model, ids, pair, seed=seed) for pair in pairs]


def find_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder layers. Raises UsageError when the model keeps them somewhere else."""
    for path in ("layers", "model.layers"):
        try:
            return model.get_submodule(path)
        except AttributeError:
            continue
    raise UsageError(f"{type(model).__name__} has no layers or model.layers.", expected="a decoder model.")


def _columns(layer: nn.Module, s: Tensor, width: int) -> Tensor:
    """s for the reader's input columns: itself, or under GQA once per query head that shares the value head."""
    if len(s) == width:
        return s
    head_dim = layer.self_attn.head_dim
    group = width // len(s)
    return s.view(-1, head_dim).repeat_interleave(group, dim=0).flatten()


def _has(layer: nn.Module, name: str) -> bool:
    try:
        layer.get_submodule(name)
    except AttributeError:
        return False
    return True


def prove_free_columns(model: nn.Module, ids: Tensor, *, seed: int = 0) -> Proof:
    """v_proj → o_proj with one free factor per o_proj column, as if there were no GQA.

    Query heads of a group read the same values, so one value channel would need several factors at once. It gets
    their geometric mean, the best a single number can do.
    """
    scaled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in find_layers(scaled):
            attention = layer.self_attn
            o, v = attention.o_proj.weight, attention.v_proj.weight
            s = torch.exp2(torch.rand(o.shape[1], generator=generator) * 2 - 1).to(o)
            groups = s.view(v.shape[0] // attention.head_dim, -1, attention.head_dim)
            v.div_(groups.log().mean(1).exp().flatten()[:, None])
            o.mul_(s)
    before, after = logits_of(model, ids), logits_of(scaled, ids)
    change = ((after - before).norm() / before.norm()).item()
    same = (after.argmax(-1) == before.argmax(-1)).float().mean().item()
    pair = Pair("self_attn.v_proj", ("self_attn.o_proj",))
    return Proof(pair, change < UNCHANGED, change, same, "one factor per query head's channel")
