"""A recipe applied to a model's config: what every module gets, and what the checkpoint will weigh. Data only.

Only the config is read. `make_plan("EXAONE-4.0-1.2B", "w4a16_gptq").predicted_bytes` is 971,261,368 with no weights
on this disk. `compare` says what differs between two plans; what is wrong with one, and where it can be served, says
`analysis.analyse(plan)`.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import model_dtype
from exaone_nb.findings import some
from exaone_nb.messages import say
from exaone_nb.quantization.arguments import MINMAX, TRANSFORM_DEFAULTS, read_mapping
from exaone_nb.quantization.matching import Assignment, check_pattern
from exaone_nb.quantization.patterns import patterns_of
from exaone_nb.quantization.schemes import ACTORDER, QuantArgs, Scheme, find_scheme
from exaone_nb.quantization.stored import fitting

# Arguments written out by hand that a scheme's sentence does not say.
UNSAID = ("observer_kwargs", "scale_dtype", "zp_dtype", "actorder")
# What llm-compressor takes where a recipe says nothing; a block size is a matter of speed.
READ_SETTINGS: dict[str, dict[str, Any]] = {
    "gptq": {"dampening_frac": 0.01, "actorder": "static"},
    "autoround": {"iters": 200, "batch_size": 8, "lr": None},
}
EXPERT = re.compile(r"(?<=experts\.)\d+")


@dataclass(frozen=True, kw_only=True)
class Plan(Assignment):
    """A recipe applied to a config: which module gets which scheme, and what comes of it."""

    model: str
    recipe: Recipe
    config: dict[str, Any]
    fitted: str = ""  # which groups were made smaller, and why

    @property
    def written(self) -> list[int]:
        """LLM Compressor writes the groups that some module gets, in the order of the model."""
        return list(self.used)

    @property
    def schemes(self) -> list[Scheme]:
        return [scheme for scheme, _ in self.groups]

    @cached_property
    def by_module(self) -> dict[str, Scheme]:
        """Module -> its scheme, for those that get one."""
        return {name: self.schemes[index] for name, index in self.assigned.items() if index is not None}

    @cached_property
    def prediction(self) -> Prediction:
        """The checkpoint this recipe writes. Raises WorkbookError when a group size does not divide a matrix."""
        groups = [
            {"scheme": scheme, "targets": [name for name, index in self.assigned.items() if index == i]}
            for i, scheme in enumerate(self.schemes)
        ]
        return predict_checkpoint(
            self.config,
            config_groups=groups,
            ignore=(),
            kv_cache=self.recipe.kv_cache,
            untied_head=parts_the_table(self),
            dtype=model_dtype(self.config),
        )

    @property
    def predicted_bytes(self) -> int:
        """Bytes of all safetensors files."""
        return self.prediction.file_bytes

    @property
    def unquantized_bytes(self) -> int:
        """Data bytes of the same model without quantization."""
        return self.prediction.unquantized_bytes

    @property
    def kept_bytes(self) -> int:
        """Data bytes of the tensors that stay as they are: norms, and modules that the recipe leaves out."""
        return sum(
            t.bytes for t in self.prediction.tensors if t.name.rpartition(".")[0] not in self.by_module
        )

    def by_part(self) -> list[dict[str, str]]:
        """Rows {module, scheme, layers}: a part with one scheme is one row for all layers and experts."""
        rows: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for module in sorted(self.quantizable, key=lambda module: module.layer is None):
            part = module.name.split(f".{module.layer}.", 1)[-1]
            key = (EXPERT.sub("{}", part), self.label_of(module.name))
            layers, experts = rows.setdefault(key, ([], []))
            layers += [] if module.layer is None else [module.layer]
            experts += map(int, EXPERT.findall(part))
        return [
            {"module": part.format(_ranges(experts)), "scheme": scheme, "layers": _ranges(layers)}
            for (part, scheme), (layers, experts) in rows.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data for --json. Predicted bytes are null when the recipe cannot be applied."""
        names = ("predicted_bytes", "unquantized_bytes", "kept_bytes")
        try:
            sizes = {name: getattr(self, name) for name in names}
        except WorkbookError:
            sizes = dict.fromkeys(names)
        return {
            "model": self.model,
            "recipe": self.recipe.name,
            "effective_recipe": self.recipe.effective(),
            **sizes,
            "modules": {name: self.label_of(name) for name in self.assigned},
            "patterns": [vars(pattern) for pattern in patterns_of(self)],
        }


def make_plan(
    model: str | Path, recipe: str | Path | dict[str, Any] | Recipe, *, fit_groups: bool = False
) -> Plan:
    """Plan `recipe` for `model` (anything the catalog can resolve to a config). Loads no weights.

    `fit_groups` makes the groups of a preset small enough for the model's matrices (`fitted` then says so). Raises
    UsageError for a pattern that is no regular expression.
    """
    place = catalog.resolve(model)
    plan = plan_for(place.config(), recipes.load(recipe), place.name)
    return _with_fitting_groups(plan) if fit_groups else plan


def _with_fitting_groups(plan: Plan) -> Plan:
    """The plan of the same recipe with the largest groups that divide this model's inputs.

    SmolLM2 has 576 inputs, which 128 does not divide and 64 does. A scheme that was written out keeps its group size.
    """
    groups, changes = list(plan.recipe.groups), {}
    for i, (group, scheme) in enumerate(zip(groups, plan.schemes, strict=True)):
        inputs = {module.shape[1] for module in plan.members(i)}
        fitted = fitting(scheme, inputs)
        if isinstance(group.scheme, str) and fitted is not scheme:
            groups[i] = replace(group, scheme=fitted.arguments())
            was, size = scheme.weights.group_size, fitted.weights.group_size
            changes |= {(was, size, width): None for width in sorted(inputs) if width % was}
    if not changes:
        return plan
    words = [
        say(
            "{recipe} on {model}: groups of {size}, since {was} does not divide {inputs} inputs.",
            recipe=plan.recipe.name, model=plan.model, size=size, was=was, inputs=inputs,
        )
        for was, size, inputs in changes
    ]  # fmt: skip
    made = plan_for(plan.config, replace(plan.recipe, groups=tuple(groups)), plan.model)
    return replace(made, fitted=" ".join(words))


def plan_for(config: dict[str, Any], recipe: Recipe, model: str = "model") -> Plan:
    for pattern in (*recipe.ignore, *(target for group in recipe.groups for target in group.targets)):
        check_pattern(pattern)
    groups = [(find_scheme(group.scheme), group.targets) for group in recipe.groups]
    family = str(config.get("model_type", ""))
    return Plan(modules_of(config), groups, recipe.ignore, family, model=model, recipe=recipe, config=config)


def parts_the_table(plan: Plan) -> bool:
    """True when a tied head is quantized by what it sees (GPTQ, imatrix_mse): the embedding sees something else."""
    by_sight = plan.recipe.method == "gptq" or plan.recipe.settings.get("observer") == "imatrix_mse"
    return by_sight and is_tied(plan.config) and plan.assigned["lm_head"] is not None


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    consecutive = groupby(enumerate(sorted(set(numbers))), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in run] for _, run in consecutive]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@dataclass(frozen=True)
class RecipeDifference:
    """`what` differs: the value in the first recipe and in the second."""

    what: str
    first: str
    second: str


def compare(first: Plan, second: Plan) -> list[RecipeDifference]:
    """All differences that change the checkpoint, in effect and not in spelling; an empty list means identical in effect.

    Two runs of the hackathon were often compared that were the same run: a regular expression that matched nothing, a
    block size taken for a group size.
    """
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
    differing = [what for what in ours if ours[what] != theirs[what]]
    if "calibration" in differing and _same_text(first.recipe, second.recipe):
        differing.remove("calibration")
    return found + [RecipeDifference(what, ours[what], theirs[what]) for what in differing]


def _same_text(first: Recipe, second: Recipe) -> bool:
    """Whether both read the same samples, whatever the paths are called."""
    try:
        return first.needs_data == second.needs_data and (
            first.calibration.fingerprint() == second.calibration.fingerprint()
        )
    except WorkbookError:
        return False


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
    recipe, settings = plan.recipe, dict(plan.recipe.settings)
    if (order := settings.get("actorder")) is not None:
        settings["actorder"] = ACTORDER.get(order, order)
    read = {
        name: _plain((default | settings)[name]) if method == recipe.method else say("not read")
        for method, default in READ_SETTINGS.items()
        for name in default
    }
    return (
        {"method": method_name(recipe.method)}
        | read
        | {
            "transform": _transform(recipe.transform),
            "KV cache": QuantArgs.read(recipe.kv_cache).sentence() if recipe.kv_cache else say("unquantized"),
            "calibration": _calibration(recipe),
        }
    )


def method_name(method: str) -> str:
    return {"rtn": say("round to nearest"), "gptq": "GPTQ", "autoround": "AutoRound"}[method]


def _plain(value: Any) -> str:
    return str(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _transform(transform: dict[str, Any] | None) -> str:
    if not transform:
        return say("none")
    kind, default = transform["type"], TRANSFORM_DEFAULTS[transform["type"]]
    words = [{"awq": "AWQ", "smoothquant": "SmoothQuant"}[kind]]
    options = {key: value for key, value in transform.items() if key not in ("type", "mappings")}
    words += [f"{key} {value}" for key, value in options.items() if value not in (None, default.get(key))]
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
