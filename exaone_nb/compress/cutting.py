"""Smaller models without rounding: some layers left out, or the newest tokens of the vocabulary.

    without_layers("smollm2-135m", [20, 21], "runs/mine/shorter")
    with_vocabulary("smollm2-135m", 16_384, "runs/mine/fewer_words")

Both write an ordinary model folder, which everything else here takes. Nothing is trained again, so what is lost is lost.
A config says of each layer what it is (`layer_types`): those entries are cut with the layers, or a window would end up on
another layer.
"""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.names import layer_of
from exaone_nb.compress import manifest
from exaone_nb.compress.quantize import companions
from exaone_nb.conversation.vocabulary import cut
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import staged_directory, write_json
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
TABLES = ("embed_tokens.weight", "lm_head.weight")


def without_layers(model: str | Path, left_out: Sequence[int], out: str | Path) -> dict[str, Any]:
    """Write the model without these layers (counted from 0) into `out`; returns its manifest.

    Raises UsageError for a layer that is not there and when none would stay.
    """
    source = catalog.weights_folder(model)
    config = _plain_config(source)
    count, gone = fields.layers(config), set(left_out)
    if wrong := sorted(gone - set(range(count))):
        raise UsageError(
            say("{model} has no layer {wrong}.", model=source.name, wrong=", ".join(map(str, wrong))),
            expected=say("layers from 0 to {last}.", last=count - 1),
        )
    if len(gone) == count:
        raise UsageError(say("No layer would stay."), expected=say("fewer than {count} layers.", count=count))
    kept = [layer for layer in range(count) if layer not in gone]
    kinds = [kind for kind, _ in layer_kinds(config)]
    if "layer_types" not in config and set(kinds) != {"full"}:
        config = config | {"layer_types": [f"{kind}_attention" for kind in kinds]}
    per_layer = {k: v for k, v in config.items() if "layer" in k and isinstance(v, list) and len(v) == count}
    changed = {k: [v[layer] for layer in kept] for k, v in per_layer.items()}
    named = next(name for name in ("num_hidden_layers", "num_layers", "n_layer") if name in config)
    new = {old: number for number, old in enumerate(kept)}

    def tensors(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
        layer = layer_of(name)
        if layer is None:
            return name, tensor
        if layer not in new:
            return None
        return re.sub(rf"(?<=\.){layer}(?=\.)", str(new[layer]), name, count=1), tensor

    return _write(source, out, config | changed | {named: len(kept)}, tensors)


def with_vocabulary(model: str | Path, size: int, out: str | Path) -> dict[str, Any]:
    """Write the model with `size` entries of its vocabulary (`conversation.vocabulary.cut`) into `out`; returns its manifest.

    A text then takes more tokens, which the model still knows one by one. Raises UsageError for a size that the vocabulary
    cannot have, and for a tokenizer that is no BPE.
    """
    source = catalog.weights_folder(model)
    config = _plain_config(source)
    whole = catalog.read_config(source / "tokenizer.json")
    added = whole.get("added_tokens", [])
    tokenizer = cut(whole, size)
    vocabulary = tokenizer["model"]["vocab"]
    rows = sorted({*vocabulary.values(), *(token["id"] for token in added)})
    if len(rows) < size:
        raise UsageError(
            say("The vocabulary cannot have {size:,} entries.", size=size),
            expected=say("at most {most:,}.", most=len(rows)),
        )
    new = {old: number for number, old in enumerate(rows)}
    tokenizer["model"]["vocab"] = {token: new[old] for token, old in vocabulary.items()}
    tokenizer["added_tokens"] = [token | {"id": new[token["id"]]} for token in added]

    def tensors(name: str, tensor: Tensor) -> tuple[str, Tensor]:
        return name, tensor[rows].clone() if name.endswith(TABLES) else tensor

    def finish(folder: Path) -> None:
        write_json(folder / "tokenizer.json", tokenizer)
        settings = folder / "generation_config.json"
        if settings.is_file():
            write_json(settings, _with_ids(catalog.read_config(settings), new))

    return _write(source, out, _with_ids(config, new) | {"vocab_size": len(rows)}, tensors, finish)


def _with_ids(document: dict[str, Any], new: dict[int, int]) -> dict[str, Any]:
    def moved(value: Any) -> Any:
        return [new[one] for one in value] if isinstance(value, list) else new[value]

    return document | {key: moved(document[key]) for key in TOKEN_IDS if document.get(key) is not None}


def _plain_config(source: Path) -> dict[str, Any]:
    config = catalog.read_config(source / "config.json")
    if text_config(config) is not config or config.get("quantization_config"):
        raise WorkbookError(
            say("{model} is no plain text model in its own number format.", model=source.name),
            expected=say("a text model that is not quantized."),
        )
    return config


def _write(
    source: Path,
    out: str | Path,
    config: dict[str, Any],
    tensors: Callable[[str, Tensor], tuple[str, Tensor] | None],
    finish: Callable[[Path], None] = lambda folder: None,
) -> dict[str, Any]:
    """Write the folder whole or not at all. `tensors` gives each tensor's new name and content, None where it goes."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    out = Path(out)
    manifest.check_out(out, source)
    made: dict[str, Tensor] = {}
    for file in sorted(source.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            found = (tensors(name, opened.get_tensor(name)) for name in opened.keys())  # noqa: SIM118
            made |= dict(pair for pair in found if pair)
    with staged_directory(out) as staging:
        for path in companions(source):
            shutil.copy2(path, staging / path.name)
        save_file(made, staging / "model.safetensors", {"format": "pt"})
        (staging / "model.safetensors").chmod(0o644)
        (staging / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        finish(staging)
        return manifest.write_brief(staging, out.name, model=source.name)
