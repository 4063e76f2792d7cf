"""What differs between two recipes in effect, not in spelling.

Two runs of the hackathon were often compared that were the same run: a regular expression that matched nothing, a
block size taken for a group size. `compare(a, b).identical` says so before an hour is spent.
"""

from __future__ import annotations

from dataclasses import dataclass

from exaone_nb.compress import modifiers
from exaone_nb.compress.plan import Plan


@dataclass(frozen=True)
class Difference:
    """`what` differs: the value in the first recipe and in the second."""

    what: str
    first: str
    second: str


def compare(first: Plan, second: Plan) -> list[Difference]:
    """All differences that change the checkpoint; an empty list means identical in effect."""
    found = []
    sentences = [{name: _sentence(plan, name) for name in plan.assigned} for plan in (first, second)]
    changed = [name for name in sentences[0] if sentences[0][name] != sentences[1].get(name)]
    for pair in dict.fromkeys(
        (sentences[0][name], sentences[1].get(name, "no such module")) for name in changed
    ):
        names = [n for n in changed if (sentences[0][n], sentences[1].get(n, "no such module")) == pair]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        found.append(Difference(f"{len(names)} modules ({shown})", *pair))
    for what, values in _read_settings(first).items():
        other = _read_settings(second)[what]
        if values != other:
            found.append(Difference(what, values, other))
    return found


def _sentence(plan: Plan, module: str) -> str:
    index = plan.assigned[module]
    return "kept" if index is None else plan.schemes[index].sentence()


def _read_settings(plan: Plan) -> dict[str, str]:
    """The settings that something reads, with defaults filled in, so that writing a default is no difference."""
    recipe = plan.recipe
    gptq = recipe.method == "gptq"
    order = recipe.settings.get("actorder", "static")
    return {
        "method": {"rtn": "round to nearest", "gptq": "GPTQ"}[recipe.method],
        "dampening_frac": str(float(recipe.settings.get("dampening_frac", 0.01))) if gptq else "not read",
        "actorder": str("static" if order == "weight" else order) if gptq else "not read",
        "observer": str(recipe.settings.get("observer", "memoryless_minmax")),
        "transform": str(recipe.transform or "none"),
        "KV cache": str(recipe.kv_cache or "unquantized"),
        "calibration": str(recipe.calibration) if modifiers.needs_data(recipe) else "not read",
    }
