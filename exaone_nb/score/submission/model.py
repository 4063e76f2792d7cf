"""The model itself: config against weights, tied tables, dtypes, and what the server's older libraries cannot read.

The server has transformers 4.57.3. Files written by transformers 5 carry new names for old things; some are refused
there, others silently ignored. Both were tried with that version (see requirements/hackathon-l4.txt).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.logical import expectations, is_known
from exaone_nb.anatomy.reader import Checkpoint, read_headers
from exaone_nb.errors import WorkbookError
from exaone_nb.score.submission.files import read_object
from exaone_nb.score.submission.findings import Finding, fail, ok, warn

SERVER = "transformers 4.57.3"
# The base that a submission must be derived from: shapes that compression does not change.
BASE_SHAPE = {"model_type": "exaone4", "hidden_size": 2048, "vocab_size": 102400, "num_hidden_layers": 30}
_SHOWN = 3


def check_model(folder: Path) -> list[Finding]:
    """Findings about config.json, the tokenizer's and generation's settings, and the tensors in the files."""
    config = read_object(folder / "config.json")
    if isinstance(config, Finding):
        return [config]
    found = [*_config(config), *_old_names(folder, config), *_generation(folder, config)]
    try:
        checkpoint = read_headers(folder)
    except WorkbookError as error:
        return [*found, fail("weights", error.got, error.remedy or "Save the model again.")]
    found += [fail("weights", problem, "Save the model again.") for problem in checkpoint.problems]
    found += [*_tensors(config, checkpoint), *_tied(config, checkpoint), *_dtypes(config, checkpoint)]
    if not any(finding.level == "fail" for finding in found):
        found.append(
            ok(
                "weights",
                f"{len(checkpoint.entries)} tensors, {checkpoint.file_bytes:,} bytes, as the config says",
            )
        )
    return found


def _config(config: dict[str, Any]) -> Iterator[Finding]:
    layers, types = config.get("num_hidden_layers"), config.get("layer_types")
    if isinstance(types, list) and types and len(types) != layers:
        yield fail(
            "layer_types",
            f"layer_types has {len(types)} entries for {layers} layers: transformers and vLLM refuse to load.",
            "Shorten layer_types together with num_hidden_layers when layers are removed.",
        )
    if config.get("auto_map"):
        yield warn(
            "code", "auto_map makes the loader look for code.", "Remove it: exaone4 is part of transformers."
        )
    if config.get("model_type") != BASE_SHAPE["model_type"]:
        yield fail(
            "base model",
            f"model_type is {config.get('model_type')!r}.",
            "A submission derives from EXAONE-4.0-1.2B, whose type is exaone4.",
        )
        return
    changed = [
        f"{name} {config.get(name)}, not {value}"
        for name, value in BASE_SHAPE.items()
        if config.get(name) != value
    ]
    if changed:
        yield warn(
            "base model",
            f"Not the shape of EXAONE-4.0-1.2B: {', '.join(changed)}.",
            "Fine for practice. Removed layers or tokens scored .26 to .48 in public reports (2026-02).",
        )
    limit = config.get("max_position_embeddings")
    if isinstance(limit, int) and limit < 16_384:
        yield warn(
            "context",
            f"max_position_embeddings is {limit:,}, the server generates up to 16,384 tokens.",
            "Leave it at 65,536: a smaller value makes nothing faster, vLLM's cache is sized by memory.",
        )


def _old_names(folder: Path, config: dict[str, Any]) -> Iterator[Finding]:
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and not ({"rope_theta", "rope_scaling"} & set(config)):
        yield fail(
            "old libraries",
            f"config.json has rope_parameters only, which {SERVER} ignores: positions would be wrong without a word.",
            "`exaone-nb pack` adds rope_theta and rope_scaling.",
        )
    if "dtype" in config and "torch_dtype" not in config:
        yield warn(
            "old libraries",
            "config.json says dtype and not torch_dtype, which older loaders look for.",
            "`exaone-nb pack` adds torch_dtype.",
        )
    tokenizer = read_object(folder / "tokenizer_config.json")
    if isinstance(tokenizer, dict):
        if tokenizer.get("tokenizer_class") == "TokenizersBackend":
            yield fail(
                "old libraries",
                f"tokenizer_class is TokenizersBackend, a name of transformers 5: {SERVER} does not know it and stops.",
                "`exaone-nb pack` writes PreTrainedTokenizerFast.",
            )
        if isinstance(tokenizer.get("extra_special_tokens"), list):
            yield fail(
                "old libraries",
                f"extra_special_tokens is a list, and {SERVER} expects an object there.",
                "`exaone-nb pack` moves it to additional_special_tokens.",
            )


def _generation(folder: Path, config: dict[str, Any]) -> Iterator[Finding]:
    path = folder / "generation_config.json"
    if not path.is_file():
        return
    generation = read_object(path)
    if isinstance(generation, Finding):
        yield generation
        return
    ends = generation.get("eos_token_id", config.get("eos_token_id"))
    if ends is None:
        yield fail(
            "generation config",
            "No eos_token_id: answers never end before 16,384 tokens.",
            "Copy generation_config.json from the base model (its eos_token_id is 361).",
        )
    elif config.get("eos_token_id") is not None and config["eos_token_id"] not in (
        ends if isinstance(ends, list) else [ends]
    ):
        yield warn(
            "generation config",
            f"eos_token_id is {ends} here and {config['eos_token_id']} in config.json.",
            "vLLM stops at the one of generation_config.json as well; make them agree.",
        )
    odd = [
        name
        for name in ("max_length", "max_new_tokens", "min_new_tokens", "repetition_penalty")
        if name in generation
    ]
    if odd:
        yield warn(
            "generation config",
            f"It sets {', '.join(odd)}. The judging server's own settings come on top; the effect is not known.",
            "One public submission with a hand-edited generation_config scored .45 (2026-02); keep the base model's.",
        )


def _tensors(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    if not is_known(config):
        return
    try:
        expected = expectations(config)
    except (WorkbookError, KeyError, TypeError) as error:
        yield warn("weights", f"The config cannot be held against the files: {str(error)[:200]}")
        return
    have = {entry.name: entry for entry in checkpoint.entries}
    missing = [name for name in expected if name not in have]
    extra = [name for name in have if name not in expected and name != "lm_head.weight"]
    other = [
        f"{name} is {tuple(have[name].shape)}, not {tuple(wanted.tensor.shape)}"
        for name, wanted in expected.items()
        if name in have and tuple(have[name].shape) != tuple(wanted.tensor.shape)
    ]
    remedy = "Check quantization_config and the number of layers; save the model again."
    if missing:
        yield fail(
            "weights",
            f"{len(missing)} tensors that the config calls for are missing: {_some(missing)}.",
            remedy,
        )
    if other:
        yield fail("weights", f"{len(other)} tensors have another shape: {_some(other)}.", remedy)
    if extra:
        yield warn(
            "weights", f"{len(extra)} tensors that the config does not call for: {_some(extra)}.", remedy
        )


def _tied(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    have = {entry.name: entry for entry in checkpoint.entries}
    head = have.get("lm_head.weight")
    if config.get("tie_word_embeddings") and head is not None:
        size = math.prod(head.shape) * 2
        yield warn(
            "tied head",
            f"lm_head.weight is stored although it is tied to the embedding: about {size:,} bytes twice.",
            "Quantize with llm-compressor 0.13 or newer, or delete the tensor. It costs bytes, not speed.",
        )
    elif not config.get("tie_word_embeddings") and config.get("model_type") == "exaone4" and head is not None:
        yield warn(
            "tied head",
            "tie_word_embeddings is false: the head is a second table of its own.",
            "EXAONE-4.0-1.2B is tied. If nothing changed one of the two, tie them again.",
        )
    elif (
        head is None
        and not config.get("tie_word_embeddings")
        and not any(n.startswith("lm_head.") for n in have)
    ):
        yield fail(
            "tied head",
            "tie_word_embeddings is false and there is no lm_head: the output layer would be random.",
            "Set tie_word_embeddings to true, as in the base model.",
        )


def _dtypes(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    wide = [
        entry.name
        for entry in checkpoint.entries
        if entry.dtype in ("F32", "F64") and math.prod(entry.shape) > 4096
    ]
    if wide:
        yield warn(
            "dtype",
            f"{len(wide)} large tensors are stored in 32 bits or more: {_some(wide)}.",
            "Save in bfloat16.",
        )
    named = str(config.get("torch_dtype") or config.get("dtype") or "").removeprefix("torch.")
    if named not in ("bfloat16", "float16"):
        yield warn(
            "dtype", f"The config's dtype is {named or 'not given'}.", "bfloat16, as in the base model."
        )


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
