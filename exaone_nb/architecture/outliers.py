"""Activation outliers: what stands at the input of each Linear, and what rounding it to 8 bits costs there.

W8A8 gives every token one scale, its largest |value| / 127. One channel far above the others makes that scale coarse
for all the rest. Kurtosis says how heavy the tails are: 3 for a normal distribution, more with outliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exaone_nb.architecture.smoothing import find_layers


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

    q, k, v see the same input, as do gate and up: each group is listed once, under its first name.
    """
    found: list[Input] = []
    hooks = []
    for index, layer in enumerate(find_layers(model)):
        for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):

            def look(module: nn.Linear, args: tuple[Tensor], index: int = index, name: str = name) -> None:
                found.append(_describe(index, name, args[0].flatten(0, -2).float(), module.weight.float()))

            hooks.append(layer.get_submodule(name).register_forward_pre_hook(look))
    try:
        with torch.no_grad():
            model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _describe(layer: int, name: str, x: Tensor, weight: Tensor) -> Input:
    """x [tokens, in_features], weight [out_features, in_features]."""
    exact = x @ weight.T
    rounded = rounded_per_row(x) @ rounded_per_row(weight).T
    centred = x - x.mean()
    spread = centred.pow(2).mean().clamp_min(1e-30)
    return Input(
        layer=layer,
        module=name,
        channel_max=x.abs().amax(0),
        kurtosis=(centred.pow(4).mean() / spread.pow(2)).item(),
        int8_error=((rounded - exact).norm() / exact.norm().clamp_min(1e-30)).item(),
    )
