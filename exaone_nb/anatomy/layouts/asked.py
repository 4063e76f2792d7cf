"""The tensors of a family without a layout, asked of transformers itself.

The model is built on the meta device (shapes without data) in a process of its own, so that nothing heavy is imported
here, and from classes that transformers ships: no weights, no remote code. The answer is kept on disk, by config and
version of transformers. `python -m exaone_nb.anatomy.layouts.asked` reads a config from stdin and prints the answer.
"""

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from exaone_nb.anatomy.names import component_of, layer_of
from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.tensors import TensorSpec

LONGEST_SECONDS = 180
LONGEST_REASON = 200  # transformers lists every family it knows
# Of no effect on shapes, or meant for code that is not run here.
LEFT_OUT = ("auto_map", "quantization_config", "_name_or_path", "transformers_version")


def note(config: dict[str, Any]) -> str:
    """What to say beside such an answer."""
    return say(
        "There is no layout for model_type {family} here; its tensors were asked of transformers {version} "
        "(meta device), so components and kinds are told by name and class.",
        family=repr(config.get("model_type")),
        version=_version(),
    )


def tensors(config: dict[str, Any]) -> Iterator[TensorSpec]:
    """The tensors that transformers calls for, under the names of the published files.

    Raises UsageError when the config has no model_type, or one that transformers cannot build.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or not family:
        raise UsageError(
            say("The config has no model_type.")
            if family is None
            else say("No layout for model_type {family}.", family=repr(family)),
            expected=say("model_type: the name of a family, such as llama."),
            remedy=say("Check that this is the config.json of a language model."),
        )
    answer, reason = _ask(_plain(config))
    if reason:
        raise UsageError(
            say(
                "No layout for model_type {family}, and transformers {version} cannot build one: {reason}",
                family=repr(family),
                version=_version(),
                reason=reason,
            ),
            expected=say("a family that this workbook or the installed transformers knows."),
            remedy=say(
                "Inspect the checkpoint itself (its header lists every tensor), install a transformers that knows "
                "the family, or add a line to exaone_nb/anatomy/layouts/decoder.py with a test."
            ),
        )
    for name, shape, kind, dtype, buffer in answer:
        module = "lm_head" if kind == "head" else name.rpartition(".")[0]
        component = kind if kind in ("head", "embedding", "norm") else component_of(name)
        yield TensorSpec(name, tuple(shape), component, layer_of(name), module, kind, dtype, buffer)


def can_answer(config: dict[str, Any]) -> bool:
    """True when transformers can build the config's model."""
    return isinstance(config.get("model_type"), str) and not _ask(_plain(config))[1]


def _plain(config: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in config.items() if key not in LEFT_OUT}, sort_keys=True)


@cache
def _ask(config: str) -> tuple[list[list[Any]], str]:
    """(the answer, why there is none): one of the two is empty."""
    # Imported here: most configs need none of it, and importing the anatomy is to take no time.
    import hashlib
    import subprocess

    from exaone_nb import files, paths

    key = hashlib.sha256(f"{_version()}\n{config}".encode()).hexdigest()[:32]
    kept = paths.cache_folder() / "layouts" / f"{key}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8")), ""
    try:
        run = subprocess.run(
            [sys.executable, "-m", __name__],
            input=config,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=LONGEST_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"{type(error).__name__}: {error}"
    if run.returncode:
        return [], (run.stderr.strip().splitlines() or [say("exit code {code}", code=run.returncode)])[-1][
            :LONGEST_REASON
        ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(kept, run.stdout)
    return json.loads(run.stdout), ""


@cache
def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return say("(not installed)")


def ask_transformers(config: dict[str, Any]) -> list[tuple[str, list[int], str, str, bool]]:
    """(name, shape, kind, dtype, whether it is a buffer) of every stored tensor. Imports torch and transformers.

    `revert_weight_conversion` (transformers.core_model_loading, checked with 5.17) turns the module's tensors into
    those of the published files: transformers 5 holds all experts of a layer in one tensor, most files do not.
    """
    import torch
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    settings = transformers.AutoConfig.for_model(**config)
    named = getattr(transformers, (config.get("architectures") or [""])[0], None)
    autos = transformers.AutoModelForCausalLM, transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
            model = named._from_config(settings)
        else:
            auto = next((each for each in autos if type(settings) in each._model_mapping), autos[0])
            model = auto.from_config(settings)
    head = model.get_output_embeddings()
    kinds: dict[int, str] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if module is head:
            kind = "head"
        elif isinstance(module, torch.nn.Linear):
            kind = "linear"
        elif isinstance(module, torch.nn.Embedding):
            kind = "embedding"
        else:
            kind = "norm" if "norm" in type(module).__name__.lower() else "other"
        kinds.setdefault(id(weight), kind)
    stored = {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if name not in model.all_tied_weights_keys
    }
    parameters = {id(value) for value in model.parameters()}
    buffers = {id(value) for value in stored.values()} - parameters
    answer = []
    for name, value in revert_weight_conversion(model, stored).items():
        split = value.ndim == 2 and bool(re.search(r"\.experts\.\d+\..*\.weight$", name))
        kind = kinds.get(id(value), "linear" if split else "other")
        dtype = "" if value.is_floating_point() else str(value.dtype).replace("torch.int", "I")
        answer.append((name, list(value.shape), kind, dtype, id(value) in buffers))
    return answer


if __name__ == "__main__":
    print(json.dumps(ask_transformers(json.load(sys.stdin))))
