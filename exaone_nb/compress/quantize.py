"""Make a quantized checkpoint: plan, check room, run, verify, and only then put it in place.

    quantize("nano", "w4a16_gptq", "runs/mine/checkpoints/w4a16_gptq")

The new checkpoint is made in a temporary folder beside the old one and moved whole. A second call with the same
model, recipe, calibration text and library versions finds the finished checkpoint by its fingerprint.
"""

import dataclasses
import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exaone_nb import catalog, older_names
from exaone_nb.compress import llmcompressor_adapter, manifest
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.calibration import Calibration
from exaone_nb.compress.footprint import check_memory, measured
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.recipe import Recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.files import require_free_space, sha256_of, staged_directory, write_json, write_text
from exaone_nb.hardware import this_cpu
from exaone_nb.messages import say

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
    if reuse and (found := manifest.finished(out, mark)):
        progress(say("found finished"))
        return found | {"reused": True}
    extra = sum(path.stat().st_size for path in companions(source))
    require_free_space(out.parent, plan.predicted_bytes + extra + 1_000_000, f"the checkpoint {out.name}")
    estimates = check_memory(source, recipe, plan.predicted_bytes, ignore=ignore_memory)
    with staged_directory(out) as staging:
        with measured() as used:
            facts = llmcompressor_adapter.compress(
                source, recipe, staging, progress=progress, trust_remote_code=trust_remote_code
            )
        copy_companions(source, staging)
        older_names.make_readable(staging)
        for path in staging.iterdir():
            path.chmod(0o644)  # safetensors writes files that only their owner can read
        write_text(staging / "recipe.yaml", recipe.to_yaml(folders=False))
        progress(say("checking what was written"))
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
            **estimates,
            **used,
        )
        if sanity:
            progress(say("a short answer in both modes"))
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


def copy_companions(source: Path, folder: Path) -> None:
    for path in companions(source):
        shutil.copy2(path, folder / path.name)


def companions(source: Path) -> list[Path]:
    """The files beside the weights that every checkpoint of a model gets."""
    return sorted({path for pattern in COMPANIONS for path in source.glob(pattern) if path.is_file()})
