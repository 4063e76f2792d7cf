"""Make a quantized checkpoint: plan, check room, run, verify, and only then put it in place.

    quantize("nano", "w4a16_gptq", "runs/mine/checkpoints/w4a16_gptq")

The new checkpoint is made in a temporary folder beside the old one and moved whole. A second call with the same
model, recipe, calibration text and library versions finds the finished checkpoint by its fingerprint.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields, older_names
from exaone_nb.anatomy.layouts import expected_tensors, text_config
from exaone_nb.compress import llmcompressor_adapter, manifest
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.calibration import Calibration
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.files import require_free_space, sha256_of, staged_directory, write_json, write_text
from exaone_nb.hardware import this_cpu
from exaone_nb.messages import say
from exaone_nb.processes import Watch, available_bytes

LIBRARIES = ("llmcompressor", "compressed-tensors", "transformers", "torch")
# What belongs beside the weights and is copied as it is; re-saving a tokenizer can change its files.
COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "added_tokens.json",
    "generation_config.json",
    "LICENSE*",
    "*.model",
)
LIBRARIES_BYTES = 1_200_000_000
SAMPLE_SECONDS = 0.02


def quantize(
    model: str | Path,
    recipe: str | Path | dict[str, Any] | Recipe,
    out: str | Path,
    *,
    reuse: bool = True,
    sanity: bool = True,
    ignore_memory: bool = False,
    unservable: bool = False,
    trust_remote_code: bool = False,
    progress: llmcompressor_adapter.Progress = llmcompressor_adapter.silent,
) -> dict[str, Any]:
    """Quantize `model` by `recipe` into the folder `out` and return its manifest (see `manifest.py`).

    `out` must be new, empty, or a checkpoint made here. Raises WorkbookError when it is not, when the
    plan has errors, when disk or memory will not do, or when llm-compressor refuses; `out` is then as it was.
    `unservable` makes what no vLLM can load all the same. `reuse` accepts a finished checkpoint with the same
    fingerprint. `sanity` generates a short answer in both thinking modes from the saved files.
    """
    recipe, out = recipes.load(recipe), Path(out)
    source = catalog.weights_folder(model)
    manifest.check_out(out, source)
    # All inputs are looked at before anything heavy is loaded.
    for error in recipe.calibration.errors() if recipe.needs_data else ():
        raise error
    _weights(source)
    plan = make_plan(model, recipe)
    analysis = analyse(plan)
    analysis.raise_if_errors(unservable=unservable)
    # Everything that decides the result. Every shard is read: only once the plan is sound.
    inputs = inputs_of(source)
    calibration = recipe.calibration.fingerprint() if recipe.needs_data else ""
    # The calibration is known by its text, wherever that lies.
    bare = dataclasses.replace(recipe, calibration=Calibration())
    parts = [sorted(inputs.items()), bare.digest(), calibration, versions()]
    mark = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    found = manifest.read(out) if reuse else None
    if found and found["fingerprint"] == mark and manifest.unchanged(out, found):
        progress("found finished")
        return found | {"reused": True}
    extra = sum(path.stat().st_size for path in companions(source))
    require_free_space(out.parent, plan.predicted_bytes + extra + 1_000_000, f"the checkpoint {out.name}")
    estimate = check_memory(source, recipe, plan.predicted_bytes, ignore=ignore_memory)
    with staged_directory(out) as staging:
        with measured() as used:
            facts = llmcompressor_adapter.compress(
                source, recipe, staging, progress=progress, trust_remote_code=trust_remote_code
            )
        for path in companions(source):
            shutil.copy2(path, staging / path.name)
        older_names.make_readable(staging)
        for path in staging.iterdir():
            path.chmod(0o644)  # safetensors writes files that only their owner can read
        write_text(staging / "recipe.yaml", recipe.to_yaml(folders=False))
        progress("checking what was written")
        document = manifest.make(
            staging,
            plan=plan,
            findings=analysis.findings,
            fallback=facts["round_to_nearest_fallback"],
            fingerprint=mark,
            model=plan.model,
            source_files=inputs,
            calibration={"fingerprint": calibration} | {k: facts[k] for k in ("samples", "tokens")},
            versions=versions(),
            threads=facts["threads"],
            processor=this_cpu().processor,
            estimated_peak_bytes=estimate,
            **used,
        )
        if sanity:
            progress("a short answer in both modes")
            try:
                document["generations"] = manifest.generations(staging, trust_remote_code=trust_remote_code)
            except (AttributeError, RuntimeError, ValueError, KeyError) as error:
                # The files are as planned, but the library of this machine cannot read them: worth knowing, and
                # no reason to throw the checkpoint away.
                library = f"transformers {version('transformers')}"
                kind = type(error).__name__
                document["problems"].append(
                    say("{library} cannot load it: {kind}: {error}", library=library, kind=kind, error=error)
                )
        write_json(staging / manifest.NAME, document)
    return document | {"reused": False}


def copy_baseline(model: str | Path, out: str | Path) -> Path:
    """Put the unquantized model beside the checkpoints: weights as links, so that it costs no disk, if possible."""
    source, out = catalog.weights_folder(model), Path(out)
    manifest.check_out(out, source, baseline=True)
    with staged_directory(out) as staging:
        index = source.glob("model.safetensors.index.json")
        for path in [*_weights(source), *index, source / "config.json", *companions(source)]:
            try:
                (staging / path.name).hardlink_to(path.resolve())
            except OSError:  # another file system
                shutil.copy2(path, staging / path.name)
        # Says that this folder is ours and may be replaced; no fingerprint, because nothing was made.
        manifest.write_brief(staging, out.name, baseline=True)
    return out


def inputs_of(source: Path) -> dict[str, str]:
    """SHA-256 of each file of a model that decides what is made of it."""
    files = [*_weights(source), *source.glob("config.json"), *companions(source), *source.glob("*.py")]
    return {path.name: sha256_of(path) for path in files}


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _weights(source: Path) -> list[Path]:
    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise WorkbookError(
            f"{source.name} has no .safetensors weights.",
            expected="a model folder with weights.",
            remedy="A catalog entry is only a config; name a local folder or a hub id, or use nano.",
        )
    return files


def companions(source: Path) -> list[Path]:
    """The files beside the weights that every checkpoint of a model gets."""
    return sorted({path for pattern in COMPANIONS for path in source.glob(pattern) if path.is_file()})


def estimate_memory(config: dict[str, Any], weight_bytes: int, compressed_bytes: int, recipe: Recipe) -> int:
    """Peak resident bytes of `quantize`: a model with this config, its weights in bytes before and after.

        peak = 1.2 GB for the libraries
             + the weights as stored, twice: mapped from the file, and the copies that are worked on
             + the compressed checkpoint, which is whole before it is written
             + the largest module in float32, with what quantizing it needs beside it
             + GPTQ: one float32 Hessian [in, in] per module of a layer, and the calibration activations of two layers
         + AutoRound: what it learns for each weight of a layer, its slope and the best so far, in float32

    The factors are checked against measured peaks in the benchmark (`make bench-quantize`).
    """
    linears = [spec for spec in expected_tensors(config) if spec.kind == "linear"]
    largest = max((spec.elements for spec in linears), default=0)
    peak = LIBRARIES_BYTES + 2 * weight_bytes + compressed_bytes + 4 * 4 * largest
    if recipe.method == "gptq" and linears:
        inputs = [spec.shape[1] for spec in linears if spec.layer == linears[0].layer]
        peak += sum(4 * width**2 for width in inputs) + 3 * 4 * max(inputs) ** 2
    if recipe.method == "autoround" and linears:
        peak += 4 * 4 * sum(spec.elements for spec in linears if spec.layer == linears[0].layer)
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
            say(
                "Quantizing {model} with {recipe} is estimated to take {needed:.1f} GB of memory; {free:.1f} GB are free.",
                model=source.name,
                recipe=recipe.name,
                needed=needed / 1e9,
                free=free / 1e9,
            ),
            remedy=say(
                "Close other programs, use fewer or shorter calibration samples, a round-to-nearest recipe, or "
                "--ignore-memory to try anyway."
            ),
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
