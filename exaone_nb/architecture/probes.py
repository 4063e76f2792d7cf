"""Looking inside a model: the residual stream, attention logits, gradients, routers, outliers.

Every function takes a `Decoder` (`linear_inputs` any decoder model) and token ids, and changes nothing in the model.

W8A8 gives every token one scale, its largest |value| / 127. One channel far above the others makes that scale coarse
for all the rest. Kurtosis says how heavy the tails are: 3 for a normal distribution, more with outliers.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exaone_nb.architecture import masks
from exaone_nb.architecture.layers import MixtureOfExperts
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.smoothing import find_layers


def _watched(
    model: nn.Module, ids: Tensor, modules: Iterable[nn.Module], look: Callable[[Any, Tensor], Any]
) -> list[Any]:
    """Run the model; what `look(module, input)` makes of each of the modules, in the order in which they run."""
    found: list[Any] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, args: found.append(look(module, args[0])))
        for module in modules
    ]
    try:
        with torch.no_grad():
            model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def stream_rms(model: Decoder, ids: Tensor) -> list[float]:
    """Root mean square of the residual stream before layer 0, 1, … and after the last: length layers + 1."""
    with torch.no_grad():
        return [stream.pow(2).mean().sqrt().item() for stream in model(ids).streams]


def stream_if_independent(model: Decoder) -> list[float]:
    """What `stream_rms` would be if all blocks added vectors in independent directions, from the norms' weights alone.

    Only for Reorder-LN, where a norm comes last on every branch: it adds the root mean square of its weight.
    """
    squares = [model.embed_tokens.weight.pow(2).mean().item() * model.shape.embedding_scale**2]
    for layer in model.layers:
        added = (getattr(layer, name).weight.pow(2).mean().item() for name in model.arrangement.norms)
        squares.append(squares[-1] + sum(added))
    return [square**0.5 for square in squares]


def routing(model: Decoder, ids: Tensor) -> list[Tensor]:
    """What the router of every mixture gives each expert for each token, first layer first: [batch, tokens, experts] each."""
    mixtures = [layer.mlp for layer in model.layers if isinstance(layer.mlp, MixtureOfExperts)]
    return _watched(model, ids, mixtures, lambda mixture, x: mixture.given(x))


@dataclass(frozen=True)
class AttentionStats:
    """Over visible (query, key) pairs of one layer: largest |logit| and the mean entropy.

    `entropy` is a share of the largest possible, log(keys visible): 1 is uniform, 0 is one key only.
    """

    largest_logit: float
    entropy: float


def attention_stats(model: Decoder, ids: Tensor) -> list[AttentionStats]:
    """One AttentionStats per layer, over all heads and all queries that see at least two keys."""
    slots = torch.arange(ids.shape[1])
    layers = {layer.self_attn: index for index, layer in enumerate(model.layers)}

    def look(attention: nn.Module, x: Tensor) -> AttentionStats:
        mask = masks.visible(slots, slots, model.shape.window_of(layers[attention]))
        scores = attention.scores(x, model.angles(slots[None], layers[attention]))[0].float()
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1)  # [B, H, Q]
        largest = mask.sum(-1).float().log()  # [1, 1, Q]
        several = (largest > 0).expand_as(entropy)
        share = (entropy / largest.clamp_min(1e-9))[several].mean().item()
        return AttentionStats(scores[mask.expand_as(scores)].abs().max().item(), share)

    return _watched(model, ids, layers, look)


def with_larger_queries_and_keys(model: Decoder, gain: float) -> Decoder:
    """A copy whose q_proj and k_proj weights are `gain` times as large, as if training had let them grow."""
    grown = deepcopy(model)
    with torch.no_grad():
        for layer in grown.layers:
            layer.self_attn.q_proj.weight.mul_(gain)
            layer.self_attn.k_proj.weight.mul_(gain)
    return grown


def next_token_loss(model: Decoder, ids: Tensor) -> Tensor:
    """Mean cross-entropy of every token after the first, in nats."""
    logits = model(ids[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def gradient_norms(model: Decoder, ids: Tensor) -> list[float]:
    """Norm of the next-token loss's gradient with respect to each layer's matrices, first layer first."""
    layers = [[p for p in layer.parameters() if p.dim() == 2] for layer in model.layers]
    loss = next_token_loss(model, ids)
    gradients = iter(torch.autograd.grad(loss, [p for layer in layers for p in layer]))
    return [sum(next(gradients).pow(2).sum().item() for _ in layer) ** 0.5 for layer in layers]


@dataclass(frozen=True)
class Input:
    """The input of one Linear over all tokens seen.

    `channel_max` is the largest |value| of each channel [in_features]. `peak` is the largest of them over their
    median, `int8_error` the relative error of the Linear's output under W8A8 (round to nearest, no calibration).
    """

    layer: int
    module: str
    channel_max: Tensor
    kurtosis: float
    int8_error: float

    @property
    def peak(self) -> float:
        return (self.channel_max.max() / self.channel_max.median().clamp_min(1e-12)).item()


def rounded_per_row(x: Tensor) -> Tensor:
    """Round to symmetric int8 with one scale per row (a token's values, or an output channel's weights)."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return (x / scale).round().clamp(-128, 127) * scale


def linear_inputs(model: nn.Module, ids: Tensor) -> list[Input]:
    """One Input per Linear of every decoder layer, in the order they run.

    q, k, v see the same input, as do gate and up: each group is listed once, under its first name. Experts are left out:
    each sees other tokens.
    """
    names = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")
    places = {
        module: (index, name)
        for index, layer in enumerate(find_layers(model))
        for name, module in layer.named_modules()
        if name in names
    }

    def look(module: nn.Linear, given: Tensor) -> Input:
        x, weight = given.flatten(0, -2).float(), module.weight.float()  # [tokens, in], [out, in]
        exact = x @ weight.T
        lost = rounded_per_row(x) @ rounded_per_row(weight).T - exact
        centred = x - x.mean()
        spread = centred.pow(2).mean().clamp_min(1e-30)
        kurtosis = (centred.pow(4).mean() / spread.pow(2)).item()
        error = (lost.norm() / exact.norm().clamp_min(1e-30)).item()
        return Input(*places[module], x.abs().amax(0), kurtosis, error)

    return _watched(model, ids, places, look)
