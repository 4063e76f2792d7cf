"""From a Recipe to what llm-compressor runs: a list of modifiers, and the `recipe.yaml` it would write."""

from __future__ import annotations

from typing import Any

import yaml

from exaone_nb.compress.recipe import GPTQ_SETTINGS, Recipe
from exaone_nb.quantization.schemes import find_scheme


def arguments(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    """(modifier class name, its arguments) in the order in which they run. Plain data, nothing imported."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if recipe.transform:
        options = {k: v for k, v in recipe.transform.items() if k != "type"}
        steps.append(
            ({"awq": "AWQModifier", "smoothquant": "SmoothQuantModifier"}[recipe.transform["type"]], options)
        )
    quantization: dict[str, Any] = {"ignore": list(recipe.ignore)}
    if len(recipe.groups) == 1 and isinstance(recipe.groups[0].scheme, str):
        quantization |= {"scheme": recipe.groups[0].scheme, "targets": list(recipe.groups[0].targets)}
    elif all(isinstance(group.scheme, str) for group in recipe.groups) and len(
        {group.scheme for group in recipe.groups}
    ) == len(recipe.groups):
        quantization["scheme"] = {group.scheme: list(group.targets) for group in recipe.groups}
    else:
        quantization["config_groups"] = {
            f"group_{i}": explicit(group.scheme) | {"targets": list(group.targets)}
            for i, group in enumerate(recipe.groups)
        }
    if recipe.kv_cache:
        quantization["kv_cache_scheme"] = dict(recipe.kv_cache)
    if "observer" in recipe.settings:
        quantization["weight_observer"] = recipe.settings["observer"]
    if recipe.method == "gptq":
        quantization |= {k: v for k, v in recipe.settings.items() if k in GPTQ_SETTINGS}
        steps.append(("GPTQModifier", quantization))
    else:
        steps.append(("QuantizationModifier", quantization))
    return steps


def explicit(scheme: str | dict[str, Any]) -> dict[str, Any]:
    """A scheme as explicit compressed-tensors arguments; a preset name is looked up in compressed-tensors."""
    if isinstance(scheme, dict):
        return dict(scheme)
    from compressed_tensors.quantization import preset_name_to_scheme

    document = preset_name_to_scheme(scheme, ["Linear"]).model_dump(
        mode="json", exclude={"targets", "format"}
    )
    return {key: value for key, value in document.items() if value is not None}


def recipe_yaml(recipe: Recipe) -> str:
    """The same recipe in llm-compressor's own YAML, for use without this package."""
    steps = dict(arguments(recipe))
    return yaml.safe_dump({"default_stage": {"default_modifiers": steps}}, sort_keys=False)


def needs_data(recipe: Recipe) -> bool:
    """True when the result depends on calibration text: GPTQ, AWQ, static activation or KV-cache scales."""
    if (
        recipe.method == "gptq"
        or recipe.transform
        or recipe.kv_cache
        or recipe.settings.get("observer") == "imatrix_mse"
    ):
        return True
    return any(find_scheme(group.scheme).needs_data for group in recipe.groups)
