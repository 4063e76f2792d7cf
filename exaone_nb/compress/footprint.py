"""What quantizing takes: memory of the host and of the card, estimated before it starts and measured while it runs."""

import gc
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
from exaone_nb.hardware import this_gpu
from exaone_nb.messages import say
from exaone_nb.processes import Watch, available_bytes

LIBRARIES_BYTES = 1_200_000_000
# The same with CUDA's libraries loaded: what nano's chapters on number formats and quantization took on an H200.
CUDA_LIBRARIES_BYTES = 2_350_000_000
# cuBLAS's workspace, 32 MiB on Hopper, and what the allocator rounds up.
WORKSPACE_BYTES = 100_000_000
SAMPLE_SECONDS = 0.02


def estimate_host(
    config: dict[str, Any], weight_bytes: int, compressed_bytes: int, recipe: Recipe, *, card: bool = False
) -> int:
    """Peak resident bytes of `quantize`: a model with this config, its weights in bytes before and after.

        peak = 1.2 GB for the libraries, 2.35 GB with CUDA's
             + the weights as stored, twice: mapped from the file, and the copies that are worked on
             + the compressed checkpoint, which is whole before it is written
             + the largest module in float32, with what quantizing it needs beside it
             + GPTQ: one float32 Hessian [in, in] per module of a layer, and the calibration activations of two layers
             + AutoRound: what it learns for each weight of a layer, its slope and the best so far, in float32

    With a card what is worked on lies there instead. The factors are checked against measured peaks in the
    benchmark (`make bench-quantize`) and in tests/gpu.
    """
    peak = (CUDA_LIBRARIES_BYTES if card else LIBRARIES_BYTES) + 2 * weight_bytes + compressed_bytes
    linears = [spec for spec in expected_tensors(config) if spec.kind == "linear"]
    if not card:
        peak += 4 * 4 * max((spec.elements for spec in linears), default=0)
    if recipe.method == "gptq" and linears and not card:
        inputs = [spec.shape[1] for spec in linears if spec.layer == linears[0].layer]
        peak += sum(4 * width**2 for width in inputs) + 3 * 4 * max(inputs) ** 2
    if recipe.method == "autoround" and linears and not card:
        peak += 4 * 4 * sum(spec.elements for spec in linears if spec.layer == linears[0].layer)
    if recipe.needs_data:
        tokens = recipe.calibration.samples * recipe.calibration.length
        peak += 2 * 2 * tokens * fields.size(text_config(config), "hidden_size")
    return peak


def estimate_card(config: dict[str, Any], recipe: Recipe) -> int:
    """Peak bytes of `quantize` on a GPU. The model stays in the host's memory, and what is worked on comes to the card:

        saving       embedding and head in 16 bits, to see whether they are equal, and a byte per element for the answer
        calibrating  the embedding, one layer in 16 bits, and the logits of one sample
        GPTQ         besides, the layer's matrices and their Hessians [in, in] in float32, three times each
        AutoRound    besides, four numbers in float32 for each weight of the layer

    The largest of these, and a workspace. Of llm-compressor 0.14: `_retie_embeddings`, the sequential pipeline,
    `quantize_weight`.
    """
    specs = expected_tensors(config)
    linears = [spec for spec in specs if spec.kind == "linear"]
    table = max((spec.elements for spec in specs if spec.layer is None), default=0)
    first = [spec for spec in linears if spec.layer is not None and spec.layer == linears[0].layer]
    layer = sum(spec.elements for spec in first)
    steps = [5 * table]
    if recipe.needs_data:
        logits = 4 * recipe.calibration.length * fields.size(text_config(config), "vocab_size")
        steps += [2 * table + logits, 2 * (table + layer)]
    if recipe.method == "gptq":
        hessians = sum(spec.shape[1] ** 2 for spec in first)
        steps.append(2 * (table + layer) + 3 * 4 * (layer + hessians))
    if recipe.method == "autoround":
        steps.append(2 * (table + layer) + 4 * 4 * layer)
    return max(steps) + WORKSPACE_BYTES


def check_memory(
    source: Path, recipe: Recipe, compressed_bytes: int, *, ignore: bool = False
) -> dict[str, int]:
    """`estimated_peak_bytes` of host and `estimated_gpu_peak_bytes` of the card (0 without one), for the model in `source`.

    Raises WorkbookError when one of them is more than there is, unless `ignore`.
    """
    weight_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    config, card = catalog.read_config(source / "config.json"), this_gpu()
    needed = estimate_host(config, weight_bytes, compressed_bytes, recipe, card=card is not None)
    on_card = estimate_card(config, recipe) if card else 0
    fewer = say(
        "Close other programs, use fewer or shorter calibration samples, a round-to-nearest recipe, or --ignore-memory to "
        "try anyway."
    )
    hidden = say("Set CUDA_VISIBLE_DEVICES to nothing to work on the CPU, or --ignore-memory to try anyway.")
    places = [(needed, available_bytes(), say("free memory"), fewer)]
    if card:
        places.append((on_card, card.memory_bytes, say("memory on the {card}", card=card.name), hidden))
    for takes, there, what, remedy in places:
        if takes > there and not ignore:
            words = {"model": source.name, "recipe": recipe.name, "takes": takes / 1e9, "there": there / 1e9}
            got = say(
                "Quantizing {model} with {recipe} is estimated to take {takes:.1f} GB of {what}, and there are {there:.1f} GB.",
                what=what, **words,
            )  # fmt: skip
            raise WorkbookError(got, remedy=remedy)
    return {"estimated_peak_bytes": needed, "estimated_gpu_peak_bytes": on_card}


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Yield a dict that holds, after the block, `seconds`, `peak_bytes` (resident), `start_bytes`, `gpu_peak_bytes`.

    Resident memory is sampled every 20 ms, so a peak shorter than that can be missed. What lay on the card before does
    not count, and models that nothing refers to any more are given back first.
    """
    gc.collect()
    before = 0
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
    watch = Watch(os.getpid(), SAMPLE_SECONDS, descendants=False)
    used: dict[str, float] = {"start_bytes": watch.first_bytes}
    began = time.perf_counter()
    try:
        yield used
    finally:
        seconds = time.perf_counter() - began
        watch.stop()
    cuda = _cuda()  # torch may have been imported meanwhile
    gpu_peak = cuda.max_memory_allocated() - before if cuda else 0
    used |= {"seconds": round(seconds, 2), "peak_bytes": watch.peak_bytes, "gpu_peak_bytes": gpu_peak}


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None
