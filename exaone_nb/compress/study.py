"""Small experiments for the chapter: what each setting does to one layer, and how much calibration text matters.

Those on one Linear measure the same thing, the relative error of its output on held-out inputs, so that the numbers
can be compared across tables.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from exaone_nb.compress.damage import Document
from exaone_nb.compress.formats import dequantize, fit, output_error, relative_error, round_to_grid
from exaone_nb.compress.plan import Plan
from exaone_nb.compress.search import measure
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table, columns

Rounded = tuple[Tensor, Tensor]  # codes [out, in] and scales [out, groups]


def layer_errors(weight: Tensor, made: Mapping[str, Rounded], calibration: Tensor, held_out: Tensor) -> Table:
    """Method -> relative errors of the weights, and of the layer's output on inputs that it saw and did not see."""
    rows = []
    for method, (codes, scale) in made.items():
        matrix = dequantize(codes, scale.float())
        row = {"method": method, "weights": relative_error(weight.to(matrix.device), matrix)}
        row["calibration"] = output_error(weight, matrix, calibration)
        rows.append(row | {"held out": output_error(weight, matrix, held_out)})
    heads = columns(("weights", "calibration", "held out"), ".4f")
    return Table([Column("method", say("method")), *heads], rows)


def settings_table(weight: Tensor, made: Mapping[str, Rounded], held_out: Tensor) -> Table:
    """One row per setting: output error on held-out inputs, and the share of codes unlike those of the first."""
    base, _ = next(iter(made.values()))
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
    changed = Column("changed", say("codes unlike the first row's"), ".2%")
    return Table(
        [Column("setting", say("setting")), error, changed, Column("scales", say("scales"), ",")], rows
    )


def library_study(weight: Tensor, hessian: Tensor, group: int = 128) -> Table:
    """The settings that people take for one another, through llm-compressor's own GPTQ on one layer.

    One row per setting: the share of codes unlike those of the same scheme with nothing set.
    """
    from exaone_nb.compress.llmcompressor_adapter import library_codes

    schemes = {
        say("4 bits, groups of {group}", group=group): (4, group),
        say("8 bits, one scale per channel"): (8, weight.shape[1]),
    }
    changes = {
        say("nothing"): {},
        "actorder weight": {"actorder": "weight"},
        "actorder null": {"actorder": None},
        "block_size 64": {"block_size": 64},
    }
    rows = []
    for scheme, sizes in schemes.items():
        plain = library_codes(weight, hessian, *sizes)
        for name, change in changes.items():
            codes = library_codes(weight, hessian, *sizes, **change) if change else plain
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
    texts: Mapping[str, Sequence[Tensor]],
    error: Callable[[Tensor], float],
    sizes: Sequence[int] = (2, 16, 64),
) -> list[dict[str, Any]]:
    """`error` of calibrating on several amounts of text and contents, with three seeds each.

    `texts` maps a content's name to a layer's inputs, one [tokens, in] per sample; a seed chooses which samples.
    """
    import torch

    rows = []
    for (name, samples), size, seed in product(texts.items(), sizes, range(3)):
        if size <= len(samples):
            chosen = np.random.default_rng(seed).permutation(len(samples))[:size]
            inputs = torch.cat([samples[i] for i in chosen])
            row = {"text": name, "samples": size, "seed": seed, "tokens": len(inputs)}
            rows.append(row | {"error": error(inputs)})
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
    words = {"tensor": say("tensor"), "channel": say("channel")}
    words |= {name: say("group {size}", size=shape[2]) for name, shape in sharings.items() if len(shape) > 2}
    heads = [Column("grid", say("grid"), code=True)]
    return Table([*heads, *(Column(name, words[name], ".4f") for name in sharings)], rows)
