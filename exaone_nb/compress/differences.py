"""What differs between two recipes in effect, not in spelling.

Two runs of the hackathon were often compared that were the same run: a regular expression that matched nothing, a
block size taken for a group size. `compare(a, b).identical` says so before an hour is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone_nb.compress import modifiers, smoothing
from exaone_nb.compress.calibration import Calibration
from exaone_nb.compress.plan import Plan
from exaone_nb.quantization.arguments import MINMAX
from exaone_nb.quantization.schemes import QuantArgs

# Arguments written out by hand that a scheme's sentence does not say.
UNSAID = ("observer_kwargs", "scale_dtype", "zp_dtype", "actorder")


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
    if index is None:
        return "kept"
    scheme, observer = plan.recipe.groups[index].scheme, plan.recipe.settings.get("observer")
    words = [plan.schemes[index].sentence()]
    for role, args in scheme.items() if isinstance(scheme, dict) else ():
        if role == "weights":
            observer = observer or args.get("observer")
        elif args and args.get("observer"):
            words.append(f"{role}: observer {args['observer']}")
        words += [f"{role}: {key} {args[key]}" for key in UNSAID if args and args.get(key)]
    if observer and observer not in MINMAX:
        words.append(f"ranges of the weights by {observer}")
    return "; ".join(words)


def _read_settings(plan: Plan) -> dict[str, str]:
    """The settings that something reads, with defaults filled in, so that writing a default is no difference."""
    recipe = plan.recipe
    gptq = recipe.method == "gptq"
    order = recipe.settings.get("actorder", "static")
    return {
        "method": {"rtn": "round to nearest", "gptq": "GPTQ"}[recipe.method],
        "dampening_frac": str(float(recipe.settings.get("dampening_frac", 0.01))) if gptq else "not read",
        "actorder": str("static" if order == "weight" else order) if gptq else "not read",
        "transform": _transform(recipe.transform),
        "KV cache": QuantArgs.read(recipe.kv_cache).sentence() if recipe.kv_cache else "unquantized",
        "calibration": _calibration(recipe.calibration) if modifiers.needs_data(recipe) else "not read",
    }


def _transform(transform: dict[str, Any] | None) -> str:
    if not transform:
        return "none"
    words = [{"awq": "AWQ", "smoothquant": "SmoothQuant"}[transform["type"]]]
    words += [f"{key} {value}" for key, value in transform.items() if key not in ("type", "mappings")]
    for mapping in transform.get("mappings") or ():
        smooth, balance = smoothing.read_mapping(mapping)
        words.append(f"{smooth} -> {', '.join(balance)}")
    return "; ".join(words)


def _calibration(calibration: Calibration) -> str:
    sources = [
        f"{count} from {source.name}" + (f" (field {source.field})" if source.field else "")
        for source, count in zip(calibration.sources, calibration.counts(), strict=True)
    ]
    template = "with the chat template" if calibration.template else "without the chat template"
    prompt = " and a generation prompt" if calibration.generation_prompt else ""
    return (
        f"{', '.join(sources)}, {calibration.length} tokens each, seed {calibration.seed}, {template}{prompt}"
    )
