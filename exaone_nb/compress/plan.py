"""The dry run of a recipe on a model: what every module gets, what was meant but does nothing, what it will weigh.

Only the config is read. `make_plan("EXAONE-4.0-1.2B", "w4a16_gptq").predicted_bytes` is 971,261,368 with no weights
on this disk.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from exaone_nb import catalog
from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.modules import Module, modules_of, winning_target
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.schemes import Scheme, find_scheme
from exaone_nb.tensors import TORCH_DTYPES

Level = Literal["error", "no-op", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "no-op", "warning", "note")
KEPT = "-"


@dataclass(frozen=True)
class Finding:
    """Something the plan has to say. `code` names the kind for tests and tools; `remedy` says what to do."""

    level: Level
    code: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Pattern:
    """One pattern of the recipe and what it matched. `role` is ignore or the scheme's label."""

    role: str
    pattern: str
    modules: int
    parents: int
    effective: int


@dataclass
class Plan:
    """A recipe applied to a config. `assigned` maps each module that can be quantized to a group's index, or None."""

    model: str
    recipe: Recipe
    config: dict[str, Any]
    modules: list[Module]
    assigned: dict[str, int | None]
    patterns: list[Pattern]
    findings: list[Finding] = field(default_factory=list)

    @property
    def schemes(self) -> list[Scheme]:
        """The scheme of each group."""
        return [find_scheme(group.scheme) for group in self.recipe.groups]

    @property
    def labels(self) -> list[str]:
        """A short name of each group's scheme."""
        return [
            g.scheme if isinstance(g.scheme, str) else _label(find_scheme(g.scheme))
            for g in self.recipe.groups
        ]

    def label_of(self, module: str) -> str:
        """The scheme's label of a module, or `-` when it is kept as it is."""
        index = self.assigned.get(module)
        return KEPT if index is None else self.labels[index]

    @property
    def quantizable(self) -> list[Module]:
        return [module for module in self.modules if module.quantizable]

    @property
    def kept(self) -> list[str]:
        """Modules that could be quantized and are not."""
        return [name for name, index in self.assigned.items() if index is None]

    @cached_property
    def prediction(self) -> Prediction:
        """The checkpoint this recipe writes. Raises WorkbookError when a group size does not divide a matrix."""
        groups = [
            {"scheme": scheme, "targets": [name for name, index in self.assigned.items() if index == i]}
            for i, scheme in enumerate(self.schemes)
        ]
        kept = [] if self.recipe.kv_cache is None else [self.recipe.kv_cache]
        return predict_checkpoint(
            self.config,
            config_groups=groups,
            ignore=(),
            kv_cache=kept[0] if kept else None,
            untied_head=parts_the_table(self),
            dtype=dtype_of(self.config),
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
        changed = tuple(f"{name}." for name, index in self.assigned.items() if index is not None)
        return sum(t.bytes for t in self.prediction.tensors if not t.name.startswith(changed or ("\0",)))

    @property
    def has_errors(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)

    def raise_if_errors(self) -> None:
        """Raise WorkbookError with every error of the plan."""
        errors = [finding for finding in self.findings if finding.level == "error"]
        if errors:
            raise WorkbookError(
                f"The recipe {self.recipe.name} does not fit {self.model}: "
                + " ".join(f.text for f in errors),
                remedy=" ".join(dict.fromkeys(f.remedy for f in errors if f.remedy)),
            )

    def counts(self) -> dict[str, int]:
        """Modules per scheme label."""
        return dict(Counter(self.label_of(name) for name in self.assigned))

    def by_part(self) -> list[dict[str, str]]:
        """Rows {module, scheme, layers}: a part with one scheme is one row for all layers and experts."""
        rows: dict[tuple[str, str], list[int]] = {}
        experts: dict[tuple[str, str], list[int]] = {}
        outside = []
        for module in self.quantizable:
            if module.layer is None:
                outside.append({"module": module.name, "scheme": self.label_of(module.name), "layers": ""})
            else:
                part = module.name.split(f".{module.layer}.", 1)[-1]
                expert = re.search(r"(?<=experts\.)\d+", part)
                key = (re.sub(r"(?<=experts\.)\d+", "{}", part), self.label_of(module.name))
                rows.setdefault(key, []).append(module.layer)
                experts.setdefault(key, []).extend([int(expert.group())] if expert else [])
        inside = [
            {"module": key[0].format(_ranges(experts[key])), "scheme": key[1], "layers": _ranges(layers)}
            for key, layers in rows.items()
        ]
        return inside + outside

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data for --json. Predicted bytes are null when the recipe cannot be applied."""
        from exaone_nb.compress.serving import verdicts

        try:
            sizes = {
                "predicted_bytes": self.predicted_bytes,
                "unquantized_bytes": self.unquantized_bytes,
                "kept_bytes": self.kept_bytes,
            }
        except WorkbookError:
            sizes = dict.fromkeys(("predicted_bytes", "unquantized_bytes", "kept_bytes"))
        return {
            "model": self.model,
            "recipe": self.recipe.name,
            "effective_recipe": self.recipe.effective(),
            **sizes,
            "modules": {name: self.label_of(name) for name in self.assigned},
            "patterns": [vars(pattern) for pattern in self.patterns],
            "findings": [vars(finding) for finding in self.findings],
            "serving": [vars(verdict) for verdict in verdicts(self)],
        }


def make_plan(model: str | Path, recipe: str | Path | dict[str, Any] | Recipe) -> Plan:
    """Plan `recipe` for `model` (anything the catalog can resolve to a config). Loads no weights."""
    place = catalog.resolve(model)
    return plan_for(place.config(), recipes.load(recipe), place.name)


def plan_for(config: dict[str, Any], recipe: Recipe, model: str = "model") -> Plan:
    """The same, from a config that is already read."""
    from exaone_nb.anatomy.modules import check_pattern
    from exaone_nb.compress.checks import all_findings

    for pattern in (*recipe.ignore, *(t for group in recipe.groups for t in group.targets)):
        check_pattern(pattern)
    modules = modules_of(config)
    # The same target in two groups: the later group has it, as in apply_quantization_config.
    owner = {target: i for i, group in enumerate(recipe.groups) for target in group.targets}
    assigned: dict[str, int | None] = {}
    for module in modules:
        if module.quantizable:
            ignored = any(module.fits(pattern) for pattern in recipe.ignore)
            target = None if ignored else winning_target(module, owner)
            assigned[module.name] = None if target is None else owner[target]
    plan = Plan(model, recipe, config, modules, assigned, [])
    plan.patterns = _patterns(plan)
    plan.findings = sorted(all_findings(plan), key=lambda finding: LEVELS.index(finding.level))
    return plan


def _patterns(plan: Plan) -> list[Pattern]:
    """How many modules each pattern matched, how many of them are parents, and on how many it had an effect.

    A target has an effect on a module whose scheme it decides; an ignore entry on one that would else be quantized.
    """
    found = []
    owner = {target: group for group in plan.recipe.groups for target in group.targets}
    for i, group in enumerate(plan.recipe.groups):
        for target in group.targets:
            fitting = [m for m in plan.modules if m.fits(target)]
            decided = [
                m for m in fitting if plan.assigned.get(m.name) == i and winning_target(m, owner) == target
            ]
            found.append(_pattern(plan.labels[i], target, fitting, len(decided)))
    for pattern in plan.recipe.ignore:
        fitting = [m for m in plan.modules if m.fits(pattern)]
        would = [m for m in fitting if m.quantizable and winning_target(m, owner) is not None]
        found.append(_pattern("ignore", pattern, fitting, len(would)))
    return found


def _pattern(role: str, pattern: str, fitting: list[Module], effective: int) -> Pattern:
    return Pattern(role, pattern, len(fitting), sum(m.kind == "parent" for m in fitting), effective)


def dtype_of(config: dict[str, Any]) -> str:
    """The model's stored dtype in the names of safetensors; BF16 when the config does not say."""
    text = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return TORCH_DTYPES.get(text.removeprefix("torch."), "BF16")


def parts_the_table(plan: Plan) -> bool:
    """True when a tied head is quantized by what it sees (GPTQ, imatrix_mse): the embedding sees something else."""
    by_sight = plan.recipe.method == "gptq" or plan.recipe.settings.get("observer") == "imatrix_mse"
    return by_sight and is_tied(plan.config) and plan.assigned["lm_head"] is not None


def stays_tied(plan: Plan) -> bool:
    """True when a tied embedding is still one table after this recipe."""
    return is_tied(plan.config) and plan.prediction.tied


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _label(scheme: Scheme) -> str:
    weights, activations = scheme.weights, scheme.activations
    if weights is None:
        return "UNQUANTIZED"
    name = f"{'W' if weights.type == 'int' else 'FP'}{weights.num_bits}A{activations.num_bits if activations else 16}"
    if weights.group_size:
        name += f" g{weights.group_size}"
    return name if weights.symmetric else f"{name} asym"
