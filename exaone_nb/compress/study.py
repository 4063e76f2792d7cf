"""Small experiments for the chapter: what each setting does to one layer, and how much calibration text matters.

Those on one Linear measure the same thing, the relative error of its output on held-out inputs, so that the numbers
can be compared across tables.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from exaone_nb.compress.damage import Document
from exaone_nb.compress.formats import dequantize, fit, round_to_grid, round_to_nearest
from exaone_nb.compress.gptq import gptq, hessian, output_error
from exaone_nb.compress.plan import Plan
from exaone_nb.compress.search import measure
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table, columns

SETTINGS = (
    ("GPTQ, all defaults", {}),
    ("block_size 32", {"block_size": 32}),
    ("actorder null", {"ordered": False}),
    ("dampening_frac 0.1", {"dampening_frac": 0.1}),
    ("dampening_frac 0.001", {"dampening_frac": 0.001}),
    ("8 bits", {"bits": 8}),
)


def settings_study(weight: Tensor, calibration: Tensor, held_out: Tensor, group: int = 128) -> Table:
    """One row per setting: output error on held-out inputs, and the share of 4-bit codes unlike the default's.

    Groups are of `group` inputs where the setting does not say otherwise.
    """
    weight, seen = weight.to(calibration.device), hessian(calibration)
    smaller = [(f"group_size {size}", {"group_size": size}) for size in (group // 2, group // 4)]
    changes = {label: {"group_size": group} | change for label, change in (*SETTINGS, *smaller)}
    made = {label: gptq(weight, seen, **change) for label, change in changes.items()}
    base, _ = made[SETTINGS[0][0]]
    made[say("round to nearest, group {group}", group=group)] = round_to_nearest(weight, 4, group)
    made[say("round to nearest, per channel")] = round_to_nearest(weight, 4, weight.shape[1])
    rows = [
        {
            "setting": label,
            "error": output_error(weight, dequantize(codes, scale.float()), held_out),
            "changed": float((codes != base).float().mean()),
            "scales": scale.numel(),
        }
        for label, (codes, scale) in made.items()
    ]
    error = Column("error", say("output error, held out"), ".4f")
    changed = Column("changed", say("codes unlike the default's"), ".2%")
    return Table(
        [Column("setting", say("setting")), error, changed, Column("scales", say("scales"), ",")], rows
    )


def library_study(weight: Tensor, calibration: Tensor, group: int = 128) -> Table:
    """The settings that people take for one another, through llm-compressor's own GPTQ on one layer.

    One row per setting: the share of codes unlike those of the same scheme with nothing set.
    """
    from exaone_nb.compress.llmcompressor_adapter import library_codes

    seen = hessian(calibration)
    schemes = {
        say("4 bits, groups of {group}", group=group): (4, group),
        say("8 bits, one scale per channel"): (8, weight.shape[1]),
    }
    changes = {
        "nothing": {},
        "actorder weight": {"actorder": "weight"},
        "actorder null": {"actorder": None},
        "block_size 64": {"block_size": 64},
    }
    rows = []
    for scheme, sizes in schemes.items():
        plain = library_codes(weight, seen, *sizes)
        for name, change in changes.items():
            codes = library_codes(weight, seen, *sizes, **change) if change else plain
            rows.append({"scheme": scheme, "set": name, "changed": float((codes != plain).float().mean())})
    changed = Column("changed", say("codes that change"), ".3%")
    return Table([Column("scheme", say("scheme")), Column("set", say("set")), changed], rows)


def selection_study(model: Any, plans: dict[str, Plan], texts: Sequence[Document]) -> list[dict[str, Any]]:
    """What `scheme`, `targets` and `ignore` choose, each plan's modules rounded to nearest in memory.

    One row per plan: modules with a scheme, predicted bytes, and KL from the unrounded model in nats, [texts, 2] as in
    `damage`. The model is as before afterwards.
    """
    found = measure(model, {label: plan.by_module for label, plan in plans.items()}, texts)
    return [
        {"label": label, "modules": len(plan.by_module), "predicted_bytes": plan.predicted_bytes}
        | {"kl": found[label]["kl"]}
        for label, plan in plans.items()
    ]


def calibration_study(
    weight: Tensor,
    texts: dict[str, Sequence[Tensor]],
    held_out: Tensor,
    sizes: Sequence[int] = (2, 16, 64),
    group: int = 128,
) -> list[dict[str, Any]]:
    """GPTQ's held-out output error for several amounts of text and contents, with three seeds each.

    `texts` maps a content's name to the layer's inputs, one [tokens, in] per sample; a seed chooses which samples.
    """
    import torch

    rows = []
    for (name, samples), size, seed in product(texts.items(), sizes, range(3)):
        if size <= len(samples):
            chosen = np.random.default_rng(seed).permutation(len(samples))[:size]
            inputs = torch.cat([samples[i] for i in chosen])
            codes, scale = gptq(weight, hessian(inputs), group_size=group)
            error = output_error(weight, dequantize(codes, scale.float()), held_out)
            row = {"text": name, "samples": size, "seed": seed, "tokens": len(inputs), "error": error}
            rows.append(row)
    return rows


def sharing_study(weight: Tensor) -> Table:
    """Relative error of the weights by grid (down) and by how many weights share a scale (across)."""
    values = weight.float().cpu().numpy()
    height, width = values.shape
    sharings: dict[str, tuple[int, ...]] = {"tensor": (1, -1), "channel": (height, -1)}
    sharings |= {f"group {g}": (height, -1, g) for g in (128, 32) if width % g == 0 and width > g}
    rows = []
    for name in ("int4", "int4 asymmetric", "fp4_e2m1", "int8", "fp8_e4m3"):
        row: dict[str, Any] = {"grid": name}
        for sharing, shape in sharings.items():
            blocks = values.reshape(shape)
            wrong = blocks - round_to_grid(blocks, name, *fit(blocks, name))
            row[sharing] = float(np.linalg.norm(wrong) / np.linalg.norm(blocks))
        rows.append(row)
    return Table([Column("grid", say("grid"), code=True), *columns(sharings, ".4f")], rows)
