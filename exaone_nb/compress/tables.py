"""Rows of the chapter's tables, as plain dicts with the words that a reader sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress import damage
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.damage import Interval
from exaone_nb.compress.differences import compare
from exaone_nb.compress.plan import KEPT, Plan, make_plan
from exaone_nb.compress.recipe import Recipe

Row = dict[str, Any]


def recipe_rows(recipes: dict[str, Recipe]) -> list[Row]:
    """What each recipe is."""
    return [
        {
            "recipe": name,
            "method": recipe.method,
            "schemes": ", ".join(str(group.scheme) for group in recipe.groups),
            "what it is for": recipe.purpose,
        }
        for name, recipe in recipes.items()
    ]


def plan_rows(plans: Sequence[Plan]) -> list[Row]:
    """Predicted bytes, the part that stays, and where each plan can be served."""
    return [
        {
            "model": plan.model,
            "recipe": plan.recipe.name,
            "modules": sum(count for label, count in plan.counts().items() if label != KEPT),
            "predicted bytes": f"{plan.predicted_bytes:,}",
            "of the unquantized": f"{plan.predicted_bytes / plan.unquantized_bytes:.1%}",
            "stays unquantized": f"{plan.kept_bytes / plan.predicted_bytes:.1%}",
            **{verdict.where: verdict.answer for verdict in analyse(plan).verdicts},
        }
        for plan in plans
    ]


def finding_rows(model: str | Path, trials: dict[str, Row]) -> list[Row]:
    """What the plan of each attempt has to say."""
    return [
        {"trial": label, "": finding.level, "what the plan says": finding.text, "what to do": finding.remedy}
        for label, document in trials.items()
        for finding in analyse(make_plan(model, document)).findings
    ]


def difference_rows(plain: Plan, model: str | Path, trials: dict[str, Row]) -> list[Row]:
    """How each attempt differs in effect from `plain`, calibrated alike."""
    rows = []
    for label, document in trials.items():
        calibration = {"samples": plain.recipe.calibration.samples, "length": plain.recipe.calibration.length}
        found = compare(plain, make_plan(model, document | {"calibration": calibration}))
        text = "; ".join(f"{d.what}: {d.first} → {d.second}" for d in found)
        rows.append({"trial": label, f"against {plain.recipe.name}": text or "identical in effect"})
    return rows


def manifest_rows(manifests: dict[str, Row]) -> list[Row]:
    """Predicted against measured."""
    return [
        {
            "recipe": name,
            "predicted bytes": f"{m['predicted_bytes']:,}",
            "actual bytes": f"{m['actual_bytes']:,}",
            "equal": "yes" if m["predicted_bytes"] == m["actual_bytes"] else "NO",
            "seconds": "found finished" if m["reused"] else f"{m['seconds']:.1f}",
            "peak memory, GB": f"{m['peak_bytes'] / 1e9:.2f}",
            "table of embedding and head": "stored twice"
            if m["duplicates"]
            else "once"
            if m["tied"]
            else "two tables",
            "problems": "; ".join(m["problems"]) or "none",
        }
        for name, m in manifests.items()
    ]


def answer_rows(manifests: dict[str, Row]) -> list[Row]:
    """The short answers from the saved files."""
    return [
        {"recipe": name, "mode": mode.replace("_", " "), "answer to “Who are you?”": text}
        for name, m in manifests.items()
        for mode, text in m.get("generations", {}).items()
    ]


def damage_rows(judged: dict[str, dict[str, np.ndarray]], baseline: str) -> list[Row]:
    """Perplexity, paired loss difference and KL of every recipe, with intervals; the baseline first."""
    first = next(iter(judged.values()))
    rows = [{"recipe": baseline, "perplexity": words(damage.perplexity(first["baseline"]))}]
    for name, measured in judged.items():
        difference = damage.paired_difference(measured["baseline"], measured["candidate"])
        rows.append(
            {
                "recipe": name,
                "perplexity": words(damage.perplexity(measured["candidate"])),
                "loss minus baseline's, nats per token": words(difference, sign="+"),
                "KL from baseline, nats per token": words(damage.per_token(measured["kl"])),
            }
        )
    return rows


def selection_rows(rows: Sequence[Row]) -> list[Row]:
    """What each choice of modules rounds, weighs and costs (`study.selection_study`)."""
    return [
        {
            "choice": row["label"],
            "modules rounded": row["modules"],
            "predicted bytes": f"{row['bytes']:,}",
            "KL from the model, nats per token": words(damage.per_token(row["kl"])),
        }
        for row in rows
    ]


def part_rows(rows: Sequence[Row], errors: dict[str, float]) -> list[Row]:
    """Each part rounded alone, most harm first, beside the error of its weights (`damage.weight_errors`)."""
    made = []
    for row in sorted(rows, key=lambda row: -damage.per_token(row["kl"]).value):
        mine = [error for name, error in errors.items() if name.endswith(f".{row['label']}")]
        made.append(
            {
                "rounded alone": row["label"],
                "error of its weights": f"{np.mean(mine):.4f}",
                "KL from the model, nats per token": words(damage.per_token(row["kl"])),
            }
        )
    return made


def paired_rows(judged: dict[str, dict[str, np.ndarray]]) -> list[tuple[str, Interval]]:
    """Each recipe against the baseline, then each `X_gptq` against its `X_rtn`."""
    rows = [(name, damage.paired_difference(m["baseline"], m["candidate"])) for name, m in judged.items()]
    for name in judged:
        other = name.removesuffix("_gptq") + "_rtn"
        if name.endswith("_gptq") and other in judged:
            pair = damage.paired_difference(judged[other]["candidate"], judged[name]["candidate"])
            rows.append((f"{name} minus {other}", pair))
    return rows


def verdict(interval: Interval) -> str:
    """What a paired interval of the loss says, in words."""
    if interval.low <= 0 <= interval.high:
        return "no difference that these texts can show"
    return "better" if interval.value < 0 else "worse"


def share_rows(plans: Sequence[Plan]) -> list[Row]:
    """Which share of the predicted file each component takes."""
    return [
        {
            "recipe": plan.recipe.name,
            "file bytes": f"{plan.predicted_bytes:,}",
            **{k: f"{v / plan.prediction.data_bytes:.1%}" for k, v in plan.prediction.by_component().items()},
        }
        for plan in plans
    ]


def published_rows(models: Sequence[str]) -> list[Row]:
    """How published configs are quantized."""
    rows = []
    for model in models:
        stored = catalog.resolve(model).config().get("quantization_config") or {}
        group = next(iter(stored.get("config_groups", {}).values()), {}).get("weights", {})
        detail = f", int{group['num_bits']} in groups of {group['group_size']}" if group else ""
        kept = stored.get("modules_to_not_convert", stored.get("ignore", []))
        rows.append(
            {
                "model": model,
                "format": stored.get("quant_method", "not quantized") + detail,
                "kept unquantized": ", ".join(kept),
            }
        )
    return rows


def words(interval: Interval, sign: str = "") -> str:
    """Value and interval as text."""
    digits = ".5f" if abs(interval.value) < 0.01 else ".4f"
    value, low, high = (format(x, sign + digits) for x in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"
