"""How much memory quantizing will take, estimated before anything is loaded, and how much it took.

    peak = 1.2 GB for the libraries
         + the weights as stored, twice: mapped from the file, and the copies that are worked on
         + the compressed checkpoint, which is whole before it is written
         + the largest module in float32, with what quantizing it needs beside it
         + GPTQ: one float32 Hessian [in, in] per module of a layer, and the calibration activations of two layers

The factors are checked against measured peaks in the benchmark (`make bench-quantize`).
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.layouts import expected_tensors, text_config
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.processes import Watch, available_bytes

LIBRARIES_BYTES = 1_200_000_000
SAMPLE_SECONDS = 0.02


def estimate_memory(config: dict[str, Any], weight_bytes: int, compressed_bytes: int, recipe: Recipe) -> int:
    """Peak resident bytes of `quantize`: a model with this config, its weights in bytes before and after."""
    linears = [spec for spec in expected_tensors(config) if spec.kind == "linear"]
    largest = max((spec.elements for spec in linears), default=0)
    peak = LIBRARIES_BYTES + 2 * weight_bytes + compressed_bytes + 4 * 4 * largest
    if recipe.method == "gptq" and linears:
        inputs = [spec.shape[1] for spec in linears if spec.layer == linears[0].layer]
        peak += sum(4 * width**2 for width in inputs) + 3 * 4 * max(inputs) ** 2
    if recipe.needs_data:
        tokens = recipe.calibration.samples * recipe.calibration.length
        peak += 2 * 2 * tokens * fields.size(text_config(config), "hidden_size")
    return peak


def check_memory(source: Path, recipe: Recipe, compressed_bytes: int, *, ignore: bool = False) -> int:
    """The estimate for the model in `source`. Raises WorkbookError when it is more than is free, unless `ignore`."""
    weight_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    config = catalog.read_config(source / "config.json")
    needed, free = estimate_memory(config, weight_bytes, compressed_bytes, recipe), available_bytes()
    if needed > free and not ignore:
        raise WorkbookError(
            f"Quantizing {source.name} with {recipe.name} is estimated to take {needed / 1e9:.1f} GB of memory; "
            f"{free / 1e9:.1f} GB are free.",
            remedy="Close other programs, use fewer or shorter calibration samples, a round-to-nearest recipe, or "
            "--ignore-memory to try anyway.",
        )
    return needed


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Yield a dict that holds, after the block, `seconds`, `peak_bytes` (resident), `start_bytes`, `gpu_peak_bytes`.

    Resident memory is sampled every 20 ms, so a peak shorter than that can be missed.
    """
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()
    watch = Watch(os.getpid(), SAMPLE_SECONDS, descendants=False)
    used: dict[str, float] = {"start_bytes": watch.first_bytes}
    began = time.perf_counter()
    try:
        yield used
    finally:
        seconds = time.perf_counter() - began
        watch.stop()
    cuda = _cuda()  # torch may have been imported meanwhile
    gpu_peak = cuda.max_memory_allocated() if cuda else 0
    used |= {"seconds": round(seconds, 2), "peak_bytes": watch.peak_bytes, "gpu_peak_bytes": gpu_peak}


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None
