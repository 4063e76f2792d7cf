"""Recipes as the tests make them: of every method, but with little text and few steps."""

from __future__ import annotations

from dataclasses import replace

from exaone_nb.compress.recipe import Recipe


def quick(recipe: Recipe) -> Recipe:
    """8 samples of 64 tokens; AutoRound learns for 2 steps where 200 are usual."""
    few = recipe.with_calibration(samples=8, length=64)
    return replace(few, settings=few.settings | {"iters": 2}) if few.method == "autoround" else few
