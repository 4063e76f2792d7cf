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
from exaone_nb.findings import some
from exaone_nb.messages import say
from exaone_nb.quantization.arguments import MINMAX
from exaone_nb.quantization.schemes import ACTORDER, QuantArgs

# Arguments written out by hand that a scheme's sentence does not say.
UNSAID = ("observer_kwargs", "scale_dtype", "zp_dtype", "actorder")


@dataclass(frozen=True)
class RecipeDifference:
    """`what` differs: the value in the first recipe and in the second."""

    what: str
    first: str
    second: str


def compare(first: Plan, second: Plan) -> list[RecipeDifference]:
    """All differences that change the checkpoint; an empty list means identical in effect."""
    one, other = ({name: _sentence(plan, name) for name in plan.assigned} for plan in (first, second))
    absent = say("no such module")
    changed: dict[tuple[str, str], list[str]] = {}
    for name, words in one.items():
        if words != other.get(name):
            changed.setdefault((words, other.get(name, absent)), []).append(name)
    found = [
        RecipeDifference(say("{n} modules ({names})", n=len(names), names=some(names, 3)), *pair)
        for pair, names in changed.items()
    ]
    settings = _read_settings(second)
    for what, words in _read_settings(first).items():
        if words != settings[what]:
            found.append(RecipeDifference(what, words, settings[what]))
    return found


def _sentence(plan: Plan, module: str) -> str:
    index = plan.assigned[module]
    if index is None:
        return say("kept")
    scheme, observer = plan.recipe.groups[index].scheme, plan.recipe.settings.get("observer")
    words = [plan.schemes[index].sentence()]
    for role, args in scheme.items() if isinstance(scheme, dict) else ():
        if role == "weights":
            observer = observer or args.get("observer")
        elif args and args.get("observer"):
            words.append(say("{role}: observer {observer}", role=role, observer=args["observer"]))
        words += [f"{role}: {key} {args[key]}" for key in UNSAID if args and args.get(key)]
    if observer and observer not in MINMAX:
        words.append(say("ranges of the weights by {observer}", observer=observer))
    return "; ".join(words)


def _read_settings(plan: Plan) -> dict[str, str]:
    """The settings that something reads, with defaults filled in, so that writing a default is no difference."""
    recipe, unread = plan.recipe, say("not read")
    gptq = recipe.method == "gptq"
    order = recipe.settings.get("actorder", "static")
    cache = QuantArgs.read(recipe.kv_cache).sentence() if recipe.kv_cache else say("unquantized")
    return {
        "method": {"rtn": say("round to nearest"), "gptq": "GPTQ"}[recipe.method],
        "dampening_frac": str(float(recipe.settings.get("dampening_frac", 0.01))) if gptq else unread,
        "actorder": str(ACTORDER.get(order, order)) if gptq else unread,
        "transform": _transform(recipe.transform),
        "KV cache": cache,
        "calibration": _calibration(recipe.calibration) if modifiers.needs_data(recipe) else unread,
    }


def _transform(transform: dict[str, Any] | None) -> str:
    if not transform:
        return say("none")
    words = [{"awq": "AWQ", "smoothquant": "SmoothQuant"}[transform["type"]]]
    words += [f"{key} {value}" for key, value in transform.items() if key not in ("type", "mappings")]
    for mapping in transform.get("mappings") or ():
        smooth, balance = smoothing.read_mapping(mapping)
        words.append(f"{smooth} -> {', '.join(balance)}")
    return "; ".join(words)


def _calibration(calibration: Calibration) -> str:
    sources = [
        say("{count} from {name}", count=count, name=source.name)
        + (say(" (field {field})", field=source.field) if source.field else "")
        for source, count in zip(calibration.sources, calibration.counts(), strict=True)
    ]
    template = say("with the chat template") if calibration.template else say("without the chat template")
    prompt = say(" and a generation prompt") if calibration.generation_prompt else ""
    return say(
        "{sources}, {length} tokens each, seed {seed}, {template}{prompt}",
        sources=", ".join(sources), length=calibration.length, seed=calibration.seed, template=template, prompt=prompt,
    )  # fmt: skip
