"""A checkpoint as one GGUF file, the way llama.cpp's converter and `llama-quantize` make it.

    convert("nano", "Q4_K_M", Path("nano-Q4_K_M.gguf"))["written_bytes"]      # 2,150,624

Which tensor gets which type is `anatomy.gguf.rule`; what is written beside them, `gguf_keys` and `gguf_vocabulary`; the
packing, `gguf_tensors`. Tensor after tensor goes to disk, so that memory holds one of them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog, fields
from exaone_nb.anatomy.gguf.header import read_gguf
from exaone_nb.anatomy.gguf.names import gguf_family
from exaone_nb.anatomy.gguf.size import GgufPlan, GgufTensorPlan, plan_gguf
from exaone_nb.anatomy.gguf.types import CONVERTER_TYPES
from exaone_nb.anatomy.names import layer_of
from exaone_nb.anatomy.reader import Checkpoint, Folder, read_headers
from exaone_nb.converter.gguf_keys import key_bytes, key_writer
from exaone_nb.converter.gguf_tensors import PLAIN, tensor_values
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import require_free_space, staged_file
from exaone_nb.messages import say

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
        _write(staging, plan, key_writer(folder, plan, cut), tensor_values(folder, plan, config), progress)
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
    refuse_existing(out, force)


def refuse_existing(file: Path, force: bool) -> None:
    """Raise UsageError for a file that exists, unless `force` says to replace it."""
    if file.exists() and not force:
        raise UsageError(
            say("{file} exists.", file=str(file)),
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
    writer: Any,
    values: Iterator[np.ndarray],
    progress: Progress | None,
) -> None:
    import gguf

    for tensor in plan.tensors:
        kind = gguf.GGMLQuantizationType(tensor.type.number)
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


def _differences(file: Path, plan: GgufPlan) -> list[str]:
    """Where a written file is not the plan."""
    written = read_gguf(Folder(file), file.name)
    found, wanted = (
        [(tensor.name, tensor.type.name, tensor.shape) for tensor in tensors]
        for tensors in (written.tensors, plan.tensors)
    )
    problems = [f"{one} / {other}" for one, other in zip(found, wanted, strict=False) if one != other]
    if written.file_bytes != plan.file_bytes:
        problems.append(f"{written.file_bytes:,} / {plan.file_bytes:,}")
    return problems
