"""Does a smoothing pair leave the model's function alone? Scale both sides and look at the logits.

SmoothQuant and AWQ divide the output of one module by a vector s and multiply the input columns of the Linears that
read it by s. Nothing changes if those Linears are the *only* readers and *nothing else* stands between. Whether that
holds is a property of the architecture, not of the names: EXAONE 4.0 has a `post_attention_layernorm`, as Llama has,
but its output is added to the residual stream and is never what gate_proj and up_proj read.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exaone_nb.errors import UsageError
from exaone_nb.messages import say

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
VALUES = Pair("self_attn.v_proj", ("self_attn.o_proj",))
PAIRS: tuple[Pair, ...] = (
    Pair("input_layernorm", QKV),
    Pair("post_attention_layernorm", GATE_UP),
    Pair("pre_feedforward_layernorm", GATE_UP),
    Pair("post_feedforward_layernorm", QKV, across_layers=True),
    Pair("mlp.up_proj", ("mlp.down_proj",)),
    VALUES,
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


def prove(model: nn.Module, ids: Tensor, pair: Pair) -> Proof:
    """Scale `pair` in every layer of `model` by factors between 1/2 and 2, and compare the logits; it is as before afterwards.

    `model` needs its layers at `.layers` or `.model.layers`. Run it in float32: in bfloat16 rounding alone changes
    the logits.
    """
    layers = find_layers(model)
    generator = torch.Generator().manual_seed(0)
    there = set.intersection(*({name for name, _ in layer.named_modules()} for layer in layers))
    if missing := [name for name in (pair.source, *pair.targets) if name not in there]:
        lacking = say("the layer has no {modules}", modules=", ".join(missing))
        return Proof(pair, None, float("nan"), float("nan"), lacking)
    before = _logits(model, ids)
    with ExitStack() as undo, torch.no_grad():
        # Across layers the last one has no reader.
        for layer, readers in zip(layers, layers[1:] if pair.across_layers else layers, strict=False):
            source = layer.get_submodule(pair.source)
            targets = [readers.get_submodule(name) for name in pair.targets]
            s = _factors(len(source.weight), generator).to(source.weight)
            columns = _columns(layer, s, targets[0].weight.shape[1])
            _multiply(source.weight, 1 / (s if source.weight.dim() == 1 else s[:, None]), undo)
            if getattr(source, "bias", None) is not None:
                _multiply(source.bias, 1 / s, undo)
            for target in targets:
                _multiply(target.weight, columns, undo)
        return _compared(pair, before, _logits(model, ids))


def _multiply(parameter: nn.Parameter, by: Tensor, undo: ExitStack) -> None:
    """A parameter times `by` until `undo` ends. Only what is changed is kept twice: the whole model may not fit twice."""
    undo.callback(setattr, parameter, "data", parameter.data)
    parameter.data = parameter.data * by


@torch.no_grad()
def _logits(model: nn.Module, ids: Tensor) -> Tensor:
    return model(ids).logits.float()


def _factors(count: int, generator: torch.Generator) -> Tensor:
    return torch.exp2(torch.rand(count, generator=generator) * 2 - 1)


def _columns(layer: nn.Module, s: Tensor, width: int) -> Tensor:
    """s for the reader's input columns: itself, or under GQA once per query head that shares the value head."""
    if len(s) == width:
        return s
    return s.view(-1, layer.self_attn.head_dim).repeat_interleave(width // len(s), dim=0).flatten()


def _compared(pair: Pair, before: Tensor, after: Tensor, reason: str = "") -> Proof:
    change = ((after - before).norm() / before.norm()).item()
    same = (after.argmax(-1) == before.argmax(-1)).float().mean().item()
    return Proof(pair, change < UNCHANGED, change, same, reason)


def prove_all(model: nn.Module, ids: Tensor) -> list[Proof]:
    """A Proof for every one of PAIRS, in order."""
    return [prove(model, ids, pair) for pair in PAIRS]


def find_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder layers. Raises UsageError when the model keeps them somewhere else."""
    modules = dict(model.named_modules())
    for path in ("layers", "model.layers"):
        if path in modules:
            return modules[path]
    raise UsageError(f"{type(model).__name__} has no layers or model.layers.", expected="a decoder model.")


def prove_free_columns(model: nn.Module, ids: Tensor) -> Proof:
    """v_proj → o_proj with one free factor per o_proj column, as if there were no GQA.

    Query heads of a group read the same values, so one value channel would need several factors at once. It gets
    their geometric mean, the best a single number can do.
    """
    before = _logits(model, ids)
    generator = torch.Generator().manual_seed(0)
    with ExitStack() as undo, torch.no_grad():
        for layer in find_layers(model):
            attention = layer.self_attn
            o, v = attention.o_proj.weight, attention.v_proj.weight
            s = _factors(o.shape[1], generator).to(o)
            groups = s.view(v.shape[0] // attention.head_dim, -1, attention.head_dim)
            shared = groups.log().mean(1).exp().flatten()
            _multiply(v, 1 / shared[:, None], undo)
            if attention.v_proj.bias is not None:
                _multiply(attention.v_proj.bias, 1 / shared, undo)
            _multiply(o, s, undo)
        return _compared(VALUES, before, _logits(model, ids), say("one factor per query head's channel"))
