"""Small experiments for the chapter: what each setting does to one layer, and how much calibration text matters.

Those on one Linear measure the same thing, the relative error of its output on held-out inputs, so that the numbers
can be compared across tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from exaone_nb.compress.damage import Document, log_probabilities
from exaone_nb.compress.formats import (
    asymmetric_int4,
    dequantize,
    round_to_grid,
    round_to_nearest,
    symmetric_scale,
)
from exaone_nb.compress.gptq import gptq, hessian, output_error
from exaone_nb.compress.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor


def settings_study(weight: Tensor, calibration: Tensor, held_out: Tensor) -> list[dict[str, Any]]:
    """One row per setting: output error on held-out inputs, and the share of 4-bit codes unlike the default's."""
    seen = hessian(calibration)
    default = {"bits": 4, "group_size": 128, "dampening_frac": 0.01, "ordered": True, "block_size": 128}
    base, _ = gptq(weight, seen, **default)
    rows = []
    for label, change in (
        ("GPTQ, all defaults", {}),
        ("block_size 32", {"block_size": 32}),
        ("actorder null", {"ordered": False}),
        ("dampening_frac 0.1", {"dampening_frac": 0.1}),
        ("dampening_frac 0.001", {"dampening_frac": 0.001}),
        ("group_size 64", {"group_size": 64}),
        ("group_size 32", {"group_size": 32}),
        ("8 bits", {"bits": 8}),
    ):
        codes, scale = gptq(weight, seen, **(default | change))
        rows.append(_row(label, weight, codes, scale, held_out, base))
    for label, group_size in (
        ("round to nearest, group 128", 128),
        ("round to nearest, per channel", weight.shape[1]),
    ):
        rows.append(_row(label, weight, *round_to_nearest(weight, 4, group_size), held_out, base))
    return rows


def _row(
    label: str, weight: Tensor, codes: Tensor, scale: Tensor, held_out: Tensor, base: Tensor
) -> dict[str, Any]:
    return {
        "setting": label,
        "output error, held out": output_error(weight, dequantize(codes, scale.float()), held_out),
        "codes unlike the default's": float((codes != base).float().mean()),
        "scales": scale.numel(),
    }


def library_study(weight: Tensor, calibration: Tensor) -> list[dict[str, Any]]:
    """The settings that people take for one another, through llm-compressor's own GPTQ on one layer.

    One row per setting: the share of codes unlike those of the same scheme with nothing set, and whether the layer is
    the same bit by bit.
    """
    seen = hessian(calibration)
    schemes = {"4 bits, groups of 128": (4, 128), "8 bits, one scale per channel": (8, weight.shape[1])}
    changes = {
        "nothing": {},
        "actorder weight": {"actorder": "weight"},
        "actorder null": {"actorder": None},
        "block_size 64": {"block_size": 64},
    }
    rows = []
    for scheme, (bits, group_size) in schemes.items():
        made = {
            name: library_codes(weight, seen, bits, group_size, **change) for name, change in changes.items()
        }
        rows += [
            {
                "scheme": scheme,
                "set": name,
                "codes that change": float((codes != made["nothing"]).float().mean()),
            }
            for name, codes in made.items()
        ]
    return rows


def selection_study(model: Any, plans: dict[str, Plan], texts: Sequence[Document]) -> list[dict[str, Any]]:
    """What `scheme`, `targets` and `ignore` choose, each plan's modules rounded to nearest in memory.

    One row per plan: modules with a scheme, predicted bytes, and KL from the unrounded model in nats, [texts, 2] as in
    `damage`. The model is as before afterwards.
    """
    exact = [log_probabilities(model, text) for text in texts]
    rows = []
    for label, plan in plans.items():
        with rounded(model, plan):
            apart = [
                (float((first.exp() * (first - log_probabilities(model, text))).sum()), len(first))
                for first, text in zip(exact, texts, strict=True)
            ]
        count = sum(index is not None for index in plan.assigned.values())
        rows.append({"label": label, "modules": count, "bytes": plan.predicted_bytes, "kl": np.array(apart)})
    return rows


@contextmanager
def rounded(model: Any, plan: Plan) -> Iterator[None]:
    """The model with each module's weight rounded as the plan's integer scheme says, activations left alone.

    A tied head gets a table of its own while it is rounded, as it would in the file.
    """
    import torch

    kept = []
    try:
        for name, index in plan.assigned.items():
            weights = plan.schemes[index].weights if index is not None else None
            if weights is None:
                continue
            module = model.get_submodule(name)
            kept.append((module, module.weight))
            pair = round_to_nearest(
                module.weight.detach(), weights.num_bits, weights.group_size or module.weight.shape[1]
            )
            module.weight = torch.nn.Parameter(dequantize(*pair), requires_grad=False)
        yield
    finally:
        for module, weight in kept:
            module.weight = weight


def library_codes(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    group_size: int,
    actorder: str | None = "static",
    block_size: int = 128,
) -> Tensor:
    """Codes int8 [out, in] of llm-compressor's GPTQ, with the scales of round-to-nearest; one group is a channel."""
    import torch
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    _, scale = round_to_nearest(weight, bits, group_size)
    scale = scale.float()
    columns = weight.shape[1]
    strategy = (
        {"strategy": "channel"} if group_size == columns else {"strategy": "group", "group_size": group_size}
    )
    arguments = QuantizationArgs(num_bits=bits, type="int", symmetric=True, actorder=actorder, **strategy)
    zero = torch.zeros_like(scale, dtype=torch.int8)
    # It works on what it is given, so it is given copies; a leading dimension because it takes several layers at once.
    made, *_ = quantize_weight(
        weight.float()[None].clone(),
        hessian[None].clone(),
        scale[None],
        zero[None],
        None,
        arguments,
        block_size,
    )
    return (made[0] / scale.repeat_interleave(group_size, 1)).round().to(torch.int8)


def calibration_study(
    weight: Tensor,
    texts: dict[str, Sequence[Tensor]],
    held_out: Tensor,
    sizes: Sequence[int] = (2, 16, 64),
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict[str, Any]]:
    """GPTQ's held-out output error for several amounts of text, contents and seeds.

    `texts` maps a content's name to the layer's inputs, one [tokens, in] per sample; a seed chooses which samples.
    """
    rows = []
    for name, samples in texts.items():
        for size in sizes:
            if size > len(samples):
                continue
            for seed in seeds:
                import torch

                chosen = np.random.default_rng(seed).permutation(len(samples))[:size]
                inputs = torch.cat([samples[i] for i in chosen])
                codes, scale = gptq(weight, hessian(inputs))
                error = output_error(weight, dequantize(codes, scale.float()), held_out)
                rows.append(
                    {"text": name, "samples": size, "seed": seed, "tokens": len(inputs), "error": error}
                )
    return rows


def sharing_study(weight: Tensor) -> list[dict[str, Any]]:
    """Weight error by grid and by how many weights share a scale. `bits` counts 16-bit scales (and zero points)."""
    values = weight.float().numpy()
    rows = []
    for name, bits in (("int4", 4), ("fp4_e2m1", 4), ("int8", 8), ("fp8_e4m3", 8)):
        for sharing, shape in _sharings(values.shape):
            blocks = values.reshape(shape)
            rounded = round_to_grid(blocks, name, symmetric_scale(blocks, name))
            rows.append(_sharing_row(name, sharing, blocks, rounded, bits + 16 / blocks.shape[-1]))
    for sharing, shape in _sharings(values.shape):
        blocks = values.reshape(shape)
        scale, zero = asymmetric_int4(blocks)
        rounded = (np.clip(np.round(blocks / scale + zero), -8, 7) - zero) * scale
        rows.append(_sharing_row("int4 asymmetric", sharing, blocks, rounded, 4 + 20 / blocks.shape[-1]))
    return rows


def _sharings(shape: tuple[int, int]) -> list[tuple[str, tuple[int, ...]]]:
    rows, columns = shape
    found = [("tensor", (1, rows * columns)), ("channel", (rows, columns))]
    return found + [
        (f"group {g}", (rows, columns // g, g)) for g in (128, 32) if columns % g == 0 and columns > g
    ]


def _sharing_row(
    name: str, sharing: str, exact: np.ndarray, rounded: np.ndarray, bits: float
) -> dict[str, Any]:
    error = float(np.linalg.norm(exact - rounded) / np.linalg.norm(exact))
    return {"grid": name, "one scale per": sharing, "bits per weight": bits, "weight error": error}
