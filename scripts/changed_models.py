"""Models that no recipe makes: layers left out, a vocabulary cut, weights trained after rounding, a GPTQ file unpacked.

    without_layers("smollm2-135m", [20, 21], "runs/mine/shorter")
    with_vocabulary("smollm2-135m", 16_384, "runs/mine/fewer_words")
    unpack("runs/gptqmodel", "runs/gptqmodel_plain")

`record_board.py` makes them once and records what was lost. Each writes an ordinary model folder, which everything in the
workbook takes; `tune` changes a loaded model. A config says of each layer what it is (`layer_types`): those entries are cut
with the layers, or a window would end up on another layer.
"""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.names import layer_of
from exaone_nb.compress import manifest
from exaone_nb.compress.damage import Document, log_probabilities
from exaone_nb.compress.quantize import copy_companions
from exaone_nb.compress.rounding import rounded_weight
from exaone_nb.compress.search import stored_dtype
from exaone_nb.conversation.vocabulary import cut
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import staged_directory, write_json
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.quantization.config import read_quantization
from exaone_nb.quantization.schemes import QuantArgs, Scheme

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

    def renamed(name: str) -> str:
        layer = layer_of(name)
        return name if layer is None else re.sub(rf"(?<=\.){layer}(?=\.)", str(new[layer]), name, count=1)

    tensors = {
        renamed(name): tensor for name, tensor in _tensors(source).items() if layer_of(name) not in gone
    }
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

    tensors = {
        name: tensor[rows].clone() if name.endswith(TABLES) else tensor
        for name, tensor in _tensors(source).items()
    }

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


def unpack(folder: str | Path, out: str | Path) -> dict[str, Any]:
    """Write a GPTQ file's model with its weights [out, in] unpacked, in its own dtype, into `out`; returns its manifest.

    transformers opens GPTQ files with GPTQModel alone, which lives in an environment of its own. A weight is
    (code - zero - 1) x scale, with codes packed along the inputs and zeros along the outputs, 32 / bits to an int32.
    Raises UsageError when the folder holds no GPTQ file.
    """
    folder = Path(folder)
    config = catalog.read_config(folder / "config.json")
    quantization = read_quantization(config)
    if quantization is None or quantization.method != "gptq":
        raise UsageError(
            say("{name} holds no GPTQ file.", name=folder.name), expected=say("quant_method: gptq.")
        )
    read = _tensors(folder)
    packed = {name.removesuffix(".qweight") for name in read if name.endswith(".qweight")}
    made = {name: tensor for name, tensor in read.items() if name.rpartition(".")[0] not in packed}
    for module in packed:
        weight, zeros, scales, group = (
            read[f"{module}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx")
        )
        codes = _codes(weight, quantization.bits).transpose(1, 2).flatten(0, 1)  # [in, out]
        zero = _codes(zeros, quantization.bits).flatten(1) + 1  # [groups, out]
        exact = (codes - zero[group.long()]).float() * scales.float()[group.long()]
        made[f"{module}.weight"] = exact.T.to(stored_dtype(config)).contiguous()
    return _write(folder, out, fields.unquantized(config), made)


def _codes(words: Tensor, bits: int) -> Tensor:
    """int32 [a, b] as its codes [a, b, 32 / bits]; the lowest bits come first."""
    import torch

    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return (words.unsqueeze(-1) >> shifts) & (2**bits - 1)


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a model folder."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def _write(
    source: Path,
    out: str | Path,
    config: dict[str, Any],
    tensors: dict[str, Tensor],
    finish: Callable[[Path], None] = lambda folder: None,
) -> dict[str, Any]:
    """Write the folder whole or not at all, with the files that stand beside the source's weights."""
    from safetensors.torch import save_file

    out = Path(out)
    manifest.check_out(out, source)
    with staged_directory(out) as staging:
        copy_companions(source, staging)
        save_file(tensors, staging / "model.safetensors", {"format": "pt"})
        (staging / "model.safetensors").chmod(0o644)
        (staging / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        finish(staging)
        return manifest.write_brief(staging, out.name, model=source.name)


def tune(
    model: Any,
    schemes: Mapping[str, Scheme],
    texts: Sequence[Document],
    *,
    steps: int = 200,
    texts_per_step: int = 8,
    rate: float = 1e-4,
    seed: int = 0,
) -> list[float]:
    """Train the weights of these modules (name -> scheme, weights only) in place, and return each step's loss, nats per token.

    Each step sees the weights rounded and moves them as they are (straight-through), since rounding has no slope. The loss
    is how far the rounded model's next-token distributions are from the whole model's (distillation). What comes out is an
    unrounded model made for one scheme: quantize it with that scheme, to nearest. The model computes in 32 bits; the order
    of the texts is drawn with `seed`.
    """
    import torch
    from torch.nn.utils import parametrize

    whole = copy.deepcopy(model).eval()
    target = [log_probabilities(whole, text) for text in texts]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    modules = [model.get_submodule(name) for name in schemes]
    for module, scheme in zip(modules, schemes.values(), strict=True):
        parametrize.register_parametrization(module, "weight", _rounding(scheme.weights))
    weights = [module.parametrizations.weight.original.requires_grad_() for module in modules]
    optimizer = torch.optim.Adam(weights, lr=rate)
    draw, losses = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        chosen = torch.randint(len(texts), (texts_per_step,), generator=draw).tolist()
        with parametrize.cached():  # rounded once for all texts of a step
            parts = [_divergence(model, texts[i], target[i]) for i in chosen]
            loss = sum(parts) / sum(len(target[i]) for i in chosen)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    for module in modules:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    return losses


def _divergence(model: Any, text: Document, target: Tensor) -> Tensor:
    """D(target || model) of a text, nats over its judged tokens; `target` are log-probabilities [tokens, vocabulary]."""
    import torch

    logits = model(torch.tensor([text.ids]), use_cache=False).logits[0, text.start - 1 : -1]
    return (target.exp() * (target - torch.log_softmax(logits.float(), -1))).sum()


def _rounding(args: QuantArgs) -> Any:
    import torch

    class Rounding(torch.nn.Module):
        """A weight [out, in] as it will be stored; the slope is that of the weight itself."""

        def forward(self, weight: Any) -> Any:
            return weight + (rounded_weight(weight.detach(), args) - weight.detach())

    return Rounding()
