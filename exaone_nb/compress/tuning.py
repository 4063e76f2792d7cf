"""Training after rounding: the weights move on, and each step sees them rounded (straight-through).

Rounding has no slope, so the step taken is that of the weights without it; the loss is how far the rounded model's
next-token distributions are from the whole model's, on the calibration text (distillation). What comes out is an
unrounded model made for one scheme: quantize it with that scheme, to nearest.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.compress.damage import Document, log_probabilities
from exaone_nb.compress.rounding import rounded_weight
from exaone_nb.library_types import Tensor
from exaone_nb.quantization.schemes import QuantArgs, Scheme


def tune(
    model: Any,
    schemes: Mapping[str, Scheme],
    texts: Sequence[Document],
    *,
    steps: int = 200,
    texts_per_step: int = 8,
    rate: float = 1e-4,
    seed: int = 0,
) -> list[float]:
    """Train the weights of these modules (name -> scheme, weights only) in place, and return each step's loss, nats per token.

    The model computes in 32 bits; the order of the texts is drawn with `seed`.
    """
    import torch
    from torch.nn.utils import parametrize

    whole = copy.deepcopy(model).eval()
    target = [log_probabilities(whole, text) for text in texts]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    modules = [model.get_submodule(name) for name in schemes]
    for module, scheme in zip(modules, schemes.values(), strict=True):
        parametrize.register_parametrization(module, "weight", _rounding(scheme.weights))
    weights = [module.parametrizations.weight.original.requires_grad_() for module in modules]
    optimizer = torch.optim.Adam(weights, lr=rate)
    draw, losses = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        chosen = torch.randint(len(texts), (texts_per_step,), generator=draw).tolist()
        with parametrize.cached():  # rounded once for all texts of a step
            parts = [_divergence(model, texts[i], target[i]) for i in chosen]
            loss = sum(parts) / sum(len(target[i]) for i in chosen)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    for module in modules:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    return losses


def _divergence(model: Any, text: Document, target: Tensor) -> Tensor:
    """D(target || model) of a text, nats over its judged tokens; `target` are log-probabilities [tokens, vocabulary]."""
    import torch

    logits = model(torch.tensor([text.ids]), use_cache=False).logits[0, text.start - 1 : -1]
    return (target.exp() * (target - torch.log_softmax(logits.float(), -1))).sum()


def _rounding(args: QuantArgs) -> Any:
    import torch

    class Rounding(torch.nn.Module):
        """A weight [out, in] as it will be stored; the slope is that of the weight itself."""

        def forward(self, weight: Any) -> Any:
            return weight + (rounded_weight(weight.detach(), args) - weight.detach())

    return Rounding()
