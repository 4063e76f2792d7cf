"""Small experiments for the chapter: what each setting does to one layer, and how much calibration text matters.

All of them measure the same thing, the relative error of one Linear's output on held-out inputs, so that the numbers
can be compared across tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exaone_nb.compress.formats import dequantize, round_to_grid, round_to_nearest
from exaone_nb.compress.gptq import gptq, hessian, output_error

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
    for name, bits, top in (
        ("int4", 4, 7.5),
        ("fp4_e2m1", 4, 6.0),
        ("int8", 8, 127.5),
        ("fp8_e4m3", 8, 448.0),
    ):
        for sharing, shape in _sharings(values.shape):
            blocks = values.reshape(shape)
            scale = np.maximum(np.abs(blocks).max(axis=-1, keepdims=True), 1e-12) / top
            rounded = round_to_grid(blocks, name, scale)
            rows.append(_sharing_row(name, sharing, blocks, rounded, bits + 16 / blocks.shape[-1]))
    for sharing, shape in _sharings(values.shape):
        blocks = values.reshape(shape)
        low, high = np.minimum(blocks.min(-1, keepdims=True), 0), np.maximum(blocks.max(-1, keepdims=True), 0)
        scale = np.maximum(high - low, 1e-12) / 15
        zero = np.round(-8 - low / scale)
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
