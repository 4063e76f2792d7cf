"""What differs between two recipes in effect, not in spelling.

Two runs of the hackathon were often compared that were the same run: a regular expression that matched nothing, a
block size taken for a group size. An empty `compare(a, b)` says so before an hour is spent.
"""

from dataclasses import dataclass
from typing import Any

from exaone_nb.compress.plan import Plan
from exaone_nb.compress.recipe import Recipe
from exaone_nb.compress.setting_checks import read_mapping
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
    changed: dict[tuple[str, str], list[str]] = {}
    for name, words in one.items():
        if words != (now := other.get(name, say("no such module"))):
            changed.setdefault((words, now), []).append(name)
    found = [
        RecipeDifference(say("{n} modules ({names})", n=len(names), names=some(names, 3)), *pair)
        for pair, names in changed.items()
    ]
    ours, theirs = _read_settings(first), _read_settings(second)
    return found + [
        RecipeDifference(what, ours[what], theirs[what]) for what in ours if ours[what] != theirs[what]
    ]


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
    recipe, settings = plan.recipe, {"dampening_frac": 0.01, "actorder": "static"} | plan.recipe.settings
    gptq, order = recipe.method == "gptq", settings["actorder"]
    return {
        "method": {"rtn": say("round to nearest"), "gptq": "GPTQ"}[recipe.method],
        "dampening_frac": str(float(settings["dampening_frac"])) if gptq else say("not read"),
        "actorder": str(ACTORDER.get(order, order)) if gptq else say("not read"),
        "transform": _transform(recipe.transform),
        "KV cache": QuantArgs.read(recipe.kv_cache).sentence() if recipe.kv_cache else say("unquantized"),
        "calibration": _calibration(recipe),
    }


def _transform(transform: dict[str, Any] | None) -> str:
    if not transform:
        return say("none")
    words = [{"awq": "AWQ", "smoothquant": "SmoothQuant"}[transform["type"]]]
    words += [f"{key} {value}" for key, value in transform.items() if key not in ("type", "mappings")]
    for smooth, balance in map(read_mapping, transform.get("mappings") or ()):
        words.append(f"{smooth} -> {', '.join(balance)}")
    return "; ".join(words)


def _calibration(recipe: Recipe) -> str:
    if not recipe.needs_data:
        return say("not read")
    text = recipe.calibration
    sources = [
        say("{count} from {name}", count=count, name=source.name)
        + (say(" (field {field})", field=source.field) if source.field else "")
        for source, count in zip(text.sources, text.counts(), strict=True)
    ]
    return say(
        "{sources}, {length} tokens each, seed {seed}, {template}{prompt}",
        sources=", ".join(sources),
        length=text.length,
        seed=text.seed,
        template=say("with the chat template") if text.template else say("without the chat template"),
        prompt=say(" and a generation prompt") if text.generation_prompt else "",
    )
