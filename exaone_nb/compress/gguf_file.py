"""A checkpoint as one GGUF file, the way llama.cpp's converter and `llama-quantize` make it.

    convert("nano", "Q4_K_M", Path("nano-Q4_K_M.gguf"))["written_bytes"]      # 2,150,624

Which tensor gets which type is `anatomy.gguf.rule`; the arithmetic of the types is that of the `gguf` package where the
converter writes them and of `libgguf` (llama.cpp's own C) where `llama-quantize` does. Tensor after tensor goes to disk,
so that memory holds one of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.gguf.header import read_gguf
from exaone_nb.anatomy.gguf.names import gguf_family
from exaone_nb.anatomy.gguf.size import GgufPlan, GgufTensorPlan, plan_gguf
from exaone_nb.anatomy.gguf.types import BLOCK_TYPES, CONVERTER_TYPES
from exaone_nb.anatomy.names import layer_of
from exaone_nb.anatomy.reader import Checkpoint, Folder, read_headers
from exaone_nb.compress.gguf_keys import key_bytes, key_writer
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import require_free_space, staged_file
from exaone_nb.messages import say

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFWriter

PLAIN = ("F32", "F16", "BF16")
CHUNK = 1 << 24  # weights that are in 32 bits at one time: 64 MiB
Progress = Callable[[int, int], None]


def plan_folder(folder: Path, kinds: Sequence[str], cut: str = "") -> list[GgufPlan]:
    """The files to be written from a model folder, to the byte, one per type. Loads no weights.

    Raises WorkbookError for a checkpoint that is quantized, has tensors without a place in GGUF, or lacks a tokenizer.
    """
    checkpoint = read_headers(folder)
    config = _check(checkpoint)
    stored = {
        entry.name: entry.shape
        for file in checkpoint.files
        for entry in sorted(file.entries, key=lambda entry: entry.name)
    }
    plans = [plan_gguf(config, kind, stored=stored) for kind in kinds]
    _check_vocabulary(plans[0], config)
    settled = key_bytes(key_writer(folder, plans[0], cut))  # the type is one number among the keys
    return [replace(plan, key_bytes=settled, tensors=_ordered(plan)) for plan in plans]


def convert(
    model: str | Path,
    kind: str,
    out: Path,
    *,
    cut: str = "",
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a model as a GGUF file of type `kind`; what was predicted and what was written.

    `out` is replaced only by a whole file, and only with `force`. `cut` names how the tokenizer cuts text where its
    file does not tell. `progress(done, total)` is called after each tensor. Raises UsageError for a wrong name or a file
    that exists, WorkbookError for a checkpoint that cannot be converted, DiskFull.
    """
    _check_out(out, force)
    folder = catalog.weights_folder(model)
    plan = plan_folder(folder, [kind], cut)[0]
    if plan.kind not in CONVERTER_TYPES:
        _require_libgguf(plan.kind)
    require_free_space(out.parent, plan.file_bytes, out.name)
    started = time.monotonic()
    config = catalog.read_config(folder / "config.json")
    with staged_file(out) as staging:
        _write(staging, plan, key_writer(folder, plan, cut), _values(folder, plan, config), progress)
        problems = _differences(staging, plan)
        if problems:
            raise WorkbookError(
                say("{name} is not what was planned: {problem}", name=out.name, problem=problems[0]),
                expected=say("the planned tensors and bytes."),
                remedy=say("Report it: this is a mistake of the workbook."),
            )
    return {
        "model": str(model),
        "file": str(out),
        "type": plan.kind,
        "predicted_bytes": plan.file_bytes,
        "written_bytes": out.stat().st_size,
        "data_bytes": plan.data_bytes,
        "bits_per_weight": round(plan.bits_per_weight, 4),
        "tensors": len(plan.tensors),
        "types": plan.types(),
        "seconds": round(time.monotonic() - started, 2),
    }


def _check_out(out: Path, force: bool) -> None:
    if out.suffix != ".gguf" or out.is_dir():
        raise UsageError(
            say("--out is {file!r}.", file=str(out)), expected=say("a file whose name ends in .gguf.")
        )
    if out.exists() and not force:
        raise UsageError(
            say("{file} exists.", file=str(out)),
            expected=say("a new file."),
            remedy=say("Choose another name, or add --force to replace it."),
        )


def _check(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config of a checkpoint that can be converted."""
    config = checkpoint.config
    if config is None:
        raise WorkbookError(
            say("There is no config.json beside {name}.", name=checkpoint.name),
            expected=say("a model folder."),
            remedy=say("Name the folder that holds config, tokenizer and weights."),
        )
    packed = sorted({entry.dtype for entry in checkpoint.entries} - set(PLAIN))
    if packed or "quantization_config" in config:
        raise WorkbookError(
            say("{name} is quantized already.", name=checkpoint.name)
            if "quantization_config" in config
            else say("{name} holds {types}.", name=checkpoint.name, types=", ".join(packed)),
            expected=say("weights in BF16, F16 or F32."),
            remedy=say("Convert the original model: what 4 bits have lost does not come back."),
        )
    if checkpoint.problems:
        raise WorkbookError(
            say("The index of {name} disagrees with its files: {problem}.", name=checkpoint.name, problem=checkpoint.problems[0]),
            remedy=say("Download the checkpoint again."),
        )  # fmt: skip
    gguf_family(config)
    return config


def _check_vocabulary(plan: GgufPlan, config: dict[str, Any]) -> None:
    """llama.cpp takes the number of tokens for the rows of the table: both must be there and equal."""
    rows = next((tensor.shape[0] for tensor in plan.tensors if tensor.name == "token_embd.weight"), None)
    size = fields.size(config, "vocab_size")
    if rows != size:
        raise WorkbookError(
            say("The embedding has {rows:,} rows, the config a vocabulary of {size:,}.", rows=rows, size=size)
            if rows is not None
            else say("The checkpoint has no embedding."),
            expected=say("one row per token."),
            remedy=say("Check that config.json and the weights belong together."),
        )


def _ordered(plan: GgufPlan) -> tuple[GgufTensorPlan, ...]:
    """The converter keeps the checkpoint's order; llama-quantize puts what belongs to no layer first, then layer by layer,
    by name (weight_name_comparer).
    """
    if plan.kind in CONVERTER_TYPES:
        return plan.tensors
    return tuple(
        sorted(
            plan.tensors, key=lambda tensor: (-1 if (n := layer_of(tensor.name)) is None else n, tensor.name)
        )
    )


def _require_libgguf(kind: str) -> None:
    try:
        import libgguf  # noqa: F401
    except ImportError as error:
        raise WorkbookError(
            say("{kind} needs the package libgguf, which is not installed.", kind=kind),
            expected=say("libgguf, llama.cpp's own quantization as a library."),
            remedy=say("pip install libgguf, or choose F16, BF16 or Q8_0."),
        ) from error


def _write(
    file: Path,
    plan: GgufPlan,
    writer: GGUFWriter,
    values: Iterator[np.ndarray],
    progress: Progress | None,
) -> None:
    import gguf
    import numpy as np

    for tensor in plan.tensors:
        kind = gguf.GGMLQuantizationType(BLOCK_TYPES[tensor.type].number)
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, kind)
    try:
        writer.write_header_to_file(file)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, data in enumerate(values, 1):
            writer.write_tensor_data(data)
            if progress:
                progress(done, len(plan.tensors))
    finally:
        writer.close()


def _values(folder: Path, plan: GgufPlan, config: dict[str, Any]) -> Iterator[np.ndarray]:
    """The bytes of every tensor, in the order of the plan."""
    from contextlib import ExitStack

    from safetensors import safe_open

    with ExitStack() as stack:
        places = {}
        for file in read_headers(folder).files:
            opened = stack.enter_context(safe_open(folder / file.name, framework="pt"))
            places |= dict.fromkeys(opened.keys(), opened)
        for tensor in plan.tensors:
            if not tensor.source:
                yield rope_factor_values(config)
                continue
            weights = places[tensor.source].get_tensor(tensor.source)
            yield _packed(_rotated(weights, tensor.name, config), tensor)


def _rotated(weights: torch.Tensor, name: str, config: dict[str, Any]) -> torch.Tensor:
    """Rows of queries and keys in the order of llama.cpp's rotation: [heads, halves, pairs] -> [heads, pairs, halves]."""
    part = name.split(".")[-2]
    if not gguf_family(config).rotated or part not in ("attn_q", "attn_k"):
        return weights
    query, key_value, _ = fields.heads(config)
    heads = query if part == "attn_q" else key_value
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _packed(weights: torch.Tensor, tensor: GgufTensorPlan) -> np.ndarray:
    """The bytes of one tensor in its type, packed some rows at a time. Raises WorkbookError for values that are none."""
    import numpy as np

    rows = weights.reshape(-1, weights.shape[-1])
    size = BLOCK_TYPES[tensor.type].tensor_bytes(rows.shape[1])
    packed = np.empty((rows.shape[0], size), np.uint8)
    step = max(1, CHUNK // rows.shape[1])
    for begin in range(0, rows.shape[0], step):
        values = rows[begin : begin + step].float().numpy()
        if not np.isfinite(values).all():
            raise WorkbookError(
                say("{name} holds values that are infinite or no number.", name=tensor.source),
                expected=say("finite weights."),
                remedy=say("The checkpoint is broken: take another one."),
            )
        packed[begin : begin + step] = _in_type(values, tensor).view(np.uint8).reshape(len(values), size)
    return packed


def _in_type(values: np.ndarray, tensor: GgufTensorPlan) -> np.ndarray:
    import gguf
    import numpy as np

    kind = gguf.GGMLQuantizationType(BLOCK_TYPES[tensor.type].number)
    if tensor.type not in {*PLAIN, "Q8_0"}:
        import libgguf

        return libgguf.quantize_rows(values, kind)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(gguf.quants.quantize(values, kind))
    if tensor.type == "F16" and not np.isfinite(found).all():
        raise WorkbookError(
            say(
                "{name} holds {value:,.0f}, which F16 cannot hold.",
                name=tensor.source,
                value=float(np.abs(values).max()),
            ),
            expected=say("values up to 65,504."),
            remedy=say("Choose BF16."),
        )
    return found


def rope_factor_values(config: dict[str, Any]) -> np.ndarray:
    """Llama 3's scaling as llama.cpp stores it: one divisor per pair of a head, in 32 bits. [head_dim / 2]

    Pairs that turn fast keep their speed (1), slow ones are `factor` times slower, between them it is blended.
    (generate_extra_tensors of conversion/llama.py and exaone.py.)
    """
    import torch

    rope = fields.rope(config)
    dim = fields.heads(config)[2]
    turns = 1.0 / (rope.get("rope_theta", 10_000.0) ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    factor = rope.get("factor", 16.0 if config["model_type"] == "exaone4" else 8.0)
    low, high = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
    trained = rope.get("original_max_position_embeddings", 8192)
    found = []
    for turn in turns:
        length = 2 * math.pi / turn
        if length < trained / high:
            found.append(1)
        elif length > trained / low:
            found.append(factor)
        else:
            smooth = (trained / length - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found, dtype=torch.float32).numpy()


def _differences(file: Path, plan: GgufPlan) -> list[str]:
    """Where a written file is not the plan."""
    written = read_gguf(Folder(file), file.name)
    found = [(tensor.name, tensor.type.name, tensor.shape) for tensor in written.tensors]
    wanted = [(tensor.name, tensor.type, tensor.shape) for tensor in plan.tensors]
    problems = [f"{one} / {other}" for one, other in zip(found, wanted, strict=False) if one != other]
    if written.file_bytes != plan.file_bytes:
        problems.append(f"{written.file_bytes:,} / {plan.file_bytes:,}")
    return problems
