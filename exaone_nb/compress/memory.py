"""How much memory quantizing will take, estimated before anything is loaded.

    peak = 1.2 GB for the libraries
         + the weights as stored, twice: mapped from the file, and the copies that are worked on
         + the compressed checkpoint, which is whole before it is written
         + the largest module in float32, with what quantizing it needs beside it
         + GPTQ: one float32 Hessian [in, in] per module of a layer, and the calibration activations of two layers

The factors are checked against measured peaks in the benchmark (`make bench-quantize`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.compress import modifiers
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError

LIBRARIES_BYTES = 1_200_000_000


def estimate_memory(config: dict[str, Any], weight_bytes: int, compressed_bytes: int, recipe: Recipe) -> int:
    """Peak resident bytes of `quantize`: a model with this config, its weights in bytes before and after."""
    from exaone_nb.anatomy.layouts import expected_tensors

    linears = [spec for spec in expected_tensors(config) if spec.kind == "linear"]
    largest = max((spec.elements for spec in linears), default=0)
    peak = LIBRARIES_BYTES + 2 * weight_bytes + compressed_bytes + 4 * 4 * largest
    if recipe.method == "gptq" and linears:
        first = [spec for spec in linears if spec.layer == linears[0].layer]
        peak += (
            sum(4 * spec.shape[1] ** 2 for spec in first) + 3 * 4 * max(spec.shape[1] for spec in first) ** 2
        )
    if modifiers.needs_data(recipe):
        hidden = config.get("hidden_size", 0)
        peak += 2 * 2 * recipe.calibration.samples * recipe.calibration.length * hidden
    return peak


def check_memory(source: Path, recipe: Recipe, compressed_bytes: int, *, ignore: bool = False) -> int:
    """The estimate for the model in `source`. Raises WorkbookError when it is more than is free, unless `ignore`."""
    import psutil

    weight_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    needed = estimate_memory(
        catalog.read_config(source / "config.json"), weight_bytes, compressed_bytes, recipe
    )
    free = psutil.virtual_memory().available
    if needed > free and not ignore:
        raise WorkbookError(
            f"Quantizing {source.name} with {recipe.name} is estimated to take {needed / 1e9:.1f} GB of memory; "
            f"{free / 1e9:.1f} GB are free.",
            remedy="Close other programs, use fewer or shorter calibration samples, a round-to-nearest recipe, or "
            "--ignore-memory to try anyway.",
        )
    return needed
