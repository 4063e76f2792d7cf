"""Looking inside a reference model: the residual stream, the attention logits, the gradients.

Every function takes a `Decoder` and token ids, changes nothing in the model, and returns plain numbers per layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from exaone_nb.architecture import masks
from exaone_nb.architecture.model import Decoder


def stream_rms(model: Decoder, ids: Tensor) -> list[float]:
    """Root mean square of the residual stream before layer 0, 1, … and after the last: length layers + 1."""
    with torch.no_grad():
        return [stream.pow(2).mean().sqrt().item() for stream in model(ids).streams]


@dataclass(frozen=True)
class AttentionStats:
    """Over visible (query, key) pairs of one layer: largest |logit|, their spread, and the mean entropy.

    `entropy` is a share of the largest possible, log(keys visible): 1 is uniform, 0 is one key only.
    """

    largest_logit: float
    logit_std: float
    entropy: float


def attention_stats(model: Decoder, ids: Tensor) -> list[AttentionStats]:
    """One AttentionStats per layer, over all heads and all queries that see at least two keys."""
    seen: list[Tensor] = []
    hooks = [
        layer.self_attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        for layer in model.layers
    ]
    try:
        with torch.no_grad():
            model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    slots = torch.arange(ids.shape[1])
    angles = model.shape.rope.angles(slots[None], model.shape.head_dim)
    found = []
    for index, (layer, x) in enumerate(zip(model.layers, seen, strict=True)):
        mask = masks.visible(slots, slots, model.shape.window_of(index))
        with torch.no_grad():
            scores = layer.self_attn.scores(x, angles)[0].float()
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1)  # [B, H, Q]
        largest = mask.sum(-1).float().log()  # [1, 1, Q]
        several = (largest > 0).expand_as(entropy)
        share = (entropy / largest.clamp_min(1e-9))[several].mean().item()
        pairs = scores[mask.expand_as(scores)]
        found.append(AttentionStats(pairs.abs().max().item(), pairs.std().item(), share))
    return found


def with_larger_queries_and_keys(model: Decoder, gain: float) -> Decoder:
    """A copy whose q_proj and k_proj weights are `gain` times as large, as if training had let them grow."""
    import copy

    grown = copy.deepcopy(model)
    with torch.no_grad():
        for layer in grown.layers:
            layer.self_attn.q_proj.weight.mul_(gain)
            layer.self_attn.k_proj.weight.mul_(gain)
    return grown


def gradient_norms(model: Decoder, ids: Tensor) -> list[float]:
    """Norm of the next-token loss's gradient with respect to each layer's matrices, first layer first."""
    model.zero_grad(set_to_none=True)
    logits = model(ids).logits[:, :-1]
    F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    found = [
        sum(p.grad.pow(2).sum().item() for p in layer.parameters() if p.dim() == 2) ** 0.5
        for layer in model.layers
    ]
    model.zero_grad(set_to_none=True)
    return found
