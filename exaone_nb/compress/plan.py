"""A recipe applied to a model's config: what every module gets, and what the checkpoint will weigh. Data only.

Only the config is read. `make_plan("EXAONE-4.0-1.2B", "w4a16_gptq").predicted_bytes` is 971,261,368 with no weights
on this disk. What is wrong with a plan, and where it can be served, says `analysis.analyse(plan)`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
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
from exaone_nb.quantization.assignment import KEPT as KEPT
from exaone_nb.quantization.assignment import Assignment
from exaone_nb.quantization.matching import Module, check_pattern
from exaone_nb.quantization.patterns import Pattern, patterns_of
from exaone_nb.quantization.schemes import Scheme, find_scheme


@dataclass(frozen=True)
class Plan:
    """A recipe applied to a config. `made` says which module gets which group."""

    model: str
    recipe: Recipe
    config: dict[str, Any]
    made: Assignment

    @property
    def modules(self) -> list[Module]:
        """All modules, parents included."""
        return list(self.made.modules)

    @property
    def assigned(self) -> dict[str, int | None]:
        """Each module that can be quantized -> its group's index, or None."""
        return self.made.assigned

    @property
    def schemes(self) -> list[Scheme]:
        """The scheme of each group."""
        return [scheme for scheme, _ in self.made.groups]

    @property
    def labels(self) -> list[str]:
        """A short name of each group's scheme."""
        return [scheme.label for scheme in self.schemes]

    def label_of(self, module: str) -> str:
        """The scheme's label of a module, or `-` when it is kept as it is."""
        return self.made.label_of(module)

    @property
    def quantizable(self) -> list[Module]:
        """The Linear and Embedding modules."""
        return self.made.quantizable

    @property
    def kept(self) -> list[str]:
        """Modules that could be quantized and are not."""
        return [name for name, index in self.assigned.items() if index is None]

    @cached_property
    def patterns(self) -> list[Pattern]:
        """What each pattern of the recipe matched."""
        return patterns_of(self.made)

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
        changed = {name for name, index in self.assigned.items() if index is not None}
        return sum(t.bytes for t in self.prediction.tensors if t.name.rpartition(".")[0] not in changed)

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
            "patterns": [vars(pattern) for pattern in self.patterns],
        }


def make_plan(model: str | Path, recipe: str | Path | dict[str, Any] | Recipe) -> Plan:
    """Plan `recipe` for `model` (anything the catalog can resolve to a config). Loads no weights.

    Raises UsageError for a pattern that is no regular expression.
    """
    place = catalog.resolve(model)
    return plan_for(place.config(), recipes.load(recipe), place.name)


def plan_for(config: dict[str, Any], recipe: Recipe, model: str = "model") -> Plan:
    """The same, from a config that is already read."""
    for pattern in (*recipe.ignore, *(target for group in recipe.groups for target in group.targets)):
        check_pattern(pattern)
    groups = [(find_scheme(group.scheme), group.targets) for group in recipe.groups]
    made = Assignment(modules_of(config), groups, recipe.ignore, str(config.get("model_type", "")))
    return Plan(model, recipe, config, made)


def parts_the_table(plan: Plan) -> bool:
    """True when a tied head is quantized by what it sees (GPTQ, imatrix_mse): the embedding sees something else."""
    by_sight = plan.recipe.method == "gptq" or plan.recipe.settings.get("observer") == "imatrix_mse"
    return by_sight and is_tied(plan.config) and plan.assigned["lm_head"] is not None


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
