"""The chapter's tables: columns in words, rows of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress import damage
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.plan import Plan, compare, make_plan
from exaone_nb.messages import say
from exaone_nb.quantization.config import read_quantization
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.statistics.estimate import Estimate

Row = dict[str, Any]
COLUMNS = {
    column.name: column
    for column in (
        Column("recipe", say("recipe"), code=True),
        Column("model", say("model")),
        Column("modules", say("modules rounded")),
        Column("predicted_bytes", say("predicted bytes"), ","),
        Column("share", say("of the unquantized"), ".1%"),
        Column("kept", say("stays unquantized"), ".1%"),
        Column("trial", say("trial")),
        Column("level", say("kind")),
        Column("text", say("what the plan says"), ours=True, join=" "),
        Column("actual_bytes", say("actual bytes"), ","),
        Column("equal", say("equal")),
        Column("seconds", say("seconds"), ".1f", missing=say("found finished")),
        Column("peak_bytes", say("peak memory, GB"), ".2f", 1e-9),
        Column("table", say("table of embedding and head")),
        Column("problems", say("problems"), missing=say("none")),
        Column("mode", say("mode")),
        Column("answer", say("answer to “Who are you?”")),
        Column("perplexity", say("perplexity"), ".5g"),
        Column("ratio", say("its change"), "+.2%"),
        Column("kl", say("KL from the model, nats per token"), ".5f"),
        Column("kl_tail", say("KL, 99th percentile"), ".4f"),
        Column("p_change", say("change of the token's probability"), "+.3%"),
        Column("p_rms", say("the same, root mean square"), ".2%"),
        Column("same_top", say("same most likely token"), ".2%"),
        Column("choice", say("choice")),
        Column("part", say("rounded alone"), code=True),
        Column("error", say("error of its weights"), ".4f"),
        Column("pair", say("pair")),
        Column("change", say("change of loss, nats per token"), "+.5f"),
        Column("verdict", say("so the second is")),
        Column("format", say("format"), missing=say("not quantized")),
        Column("weights", say("weights")),
        Column("untouched", say("kept unquantized"), code=True),
    )
}


def _table(rows: Sequence[Row], names: str, more: Iterable[Column] = ()) -> Table:
    return Table([*(COLUMNS[name] for name in names.split()), *more], rows)


def plans(made: Sequence[Plan]) -> Table:
    """Predicted bytes, and the part that stays."""
    rows = [
        {
            "model": plan.model,
            "recipe": plan.recipe.name,
            "modules": len(plan.by_module),
            "predicted_bytes": plan.predicted_bytes,
            "share": plan.predicted_bytes / plan.unquantized_bytes,
            "kept": plan.kept_bytes / plan.predicted_bytes,
        }
        for plan in made
    ]
    return _table(rows, "model recipe modules predicted_bytes share kept")


def served(made: Mapping[str, Plan]) -> Table:
    """Where the checkpoint of each plan can be served, and what is to be said where it cannot."""
    rows, places = [], {}
    for trial, plan in made.items():
        found = analyse(plan)
        answers = {verdict.where: verdict.answer for verdict in found.verdicts}
        places |= answers
        refusals = [v.why for v in found.verdicts if v.answer != "yes"]
        ignored = [f.text for f in found.findings if f.code == "kv-cache-ignored"]
        # What no vLLM loads is explained once, by the finding.
        stops = [f.text for f in found.unloadable]
        why = [f"{each.rstrip('.')}." for each in dict.fromkeys((stops or refusals) + ignored)]
        rows.append({"trial": trial, "why": why or None, **answers})
    return _table(
        rows, "trial", [*columns(places, ours=True), Column("why", say("why"), join=" ", ours=True)]
    )


def attempts(plain: Plan, model: str | Path, trials: Mapping[str, Row]) -> Table:
    """What a plan says of each attempt, and how it differs in effect from `plain`, calibrated alike."""
    text = plain.recipe.calibration
    calibration = {"samples": text.samples, "length": text.length}
    rows = []
    for trial, document in trials.items():
        made = make_plan(model, document | {"calibration": calibration})
        changed = [d.what for d in compare(plain, made)] or say("nothing")
        said = [
            {"level": f.level, "text": [f.text, f.remedy] if f.remedy else [f.text]}
            for f in analyse(made).findings
        ]
        rows += [{"trial": trial, "changed": changed} | one for one in said or [{}]]
    changes = say("what changes against {recipe}", recipe=plain.recipe.name)
    return _table(rows, "trial level text", [Column("changed", changes)])


def manifests(made: dict[str, Row]) -> Table:
    kinds = {True: say("once"), False: say("two tables")}
    rows = [
        m
        | {
            "recipe": name,
            "equal": m["predicted_bytes"] == m["actual_bytes"],
            "seconds": None if m["reused"] else m["seconds"],
            "table": say("stored twice") if m["duplicates"] else kinds[m["tied"]],
            "problems": m["problems"] or None,
        }
        for name, m in made.items()
    ]
    return _table(rows, "recipe predicted_bytes actual_bytes equal seconds peak_bytes table problems")


def answers(made: dict[str, Row]) -> Table:
    rows = [
        {"recipe": name, "mode": mode.replace("_", " "), "answer": text}
        for name, m in made.items()
        for mode, text in m.get("generations", {}).items()
    ]
    return _table(rows, "recipe mode answer")


def lost(judged: dict[str, dict[str, np.ndarray]], baseline: str) -> Table:
    """The loss table as llama.cpp's users know it (`damage.summary`): the baseline, then the recipes, least KL first."""
    first = next(iter(judged.values()))
    rows = [{"recipe": name} | damage.summary(measured) for name, measured in judged.items()]
    rows.sort(key=lambda row: row["kl"].value)
    unrounded = {"recipe": baseline, "perplexity": damage.perplexity(first["baseline"])}
    return _table([unrounded, *rows], "recipe perplexity ratio kl kl_tail p_change p_rms same_top")


def selection(rows: Sequence[Row]) -> Table:
    """What each choice of modules rounds, weighs and costs (`study.selection_study`)."""
    rows = [row | {"choice": row["label"], "kl": damage.per_token(row["kl"])} for row in rows]
    return _table(rows, "choice modules predicted_bytes kl")


def parts(rows: Sequence[Row], errors: dict[str, float]) -> Table:
    """Each part rounded alone, most harm first, beside the error of its weights (`damage.weight_errors`)."""
    made = [
        {
            "part": row["label"],
            "error": np.mean([e for name, e in errors.items() if name.endswith(f".{row['label']}")]).item(),
            "kl": damage.per_token(row["kl"]),
        }
        for row in rows
    ]
    return _table(sorted(made, key=lambda row: -row["kl"].value), "part error kl")


def pairs(judged: dict[str, dict[str, np.ndarray]]) -> Table:
    """Each recipe against the baseline, then each `X_gptq` against its `X_rtn`: change of loss and what it says."""
    found = {name: damage.paired_difference(m["baseline"], m["candidate"]) for name, m in judged.items()}
    for name in judged:
        other = name.removesuffix("_gptq") + "_rtn"
        if name.endswith("_gptq") and other in judged:
            pair = say("{one} minus {other}", one=name, other=other)
            found[pair] = damage.paired_difference(judged[other]["candidate"], judged[name]["candidate"])
    rows = [{"pair": name, "change": change, "verdict": verdict(change)} for name, change in found.items()]
    return _table(rows, "pair change verdict")


def verdict(change: Estimate) -> str:
    """What a paired change of a loss says of the second."""
    if not change.excludes_zero:
        return say("unclear")
    return say("better") if change.value < 0 else say("worse")


def published(models: Sequence[str]) -> Table:
    rows = [{"model": model} for model in models]
    for row in rows:
        if stored := read_quantization(catalog.resolve(row["model"]).config()):
            weights = [scheme.weights.sentence() for scheme, _ in stored.groups if scheme.weights]
            row |= {"format": stored.method, "weights": weights, "untouched": stored.ignore}
    return _table(rows, "model format weights untouched")
