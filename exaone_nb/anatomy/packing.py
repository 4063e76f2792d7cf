"""How a file packs its integers, where that differs from what its config says, and what they stand for.

compressed-tensors changed its packing of 3, 5, 6 and 7 bits with version 0.17 (`quantization.stored.packed_words`), and
files are copied together from several versions: the shapes in the file decide.
"""

import struct
from dataclasses import replace

from exaone_nb.anatomy.logical import Expectation, expectations
from exaone_nb.anatomy.reader import Checkpoint
from exaone_nb.messages import say
from exaone_nb.quantization.bitsandbytes import QUANT_STATE
from exaone_nb.quantization.config import Quantization


def as_packed(
    expected: dict[str, Expectation], checkpoint: Checkpoint, quantization: Quantization | None
) -> tuple[dict[str, Expectation], list[str]]:
    """The expectations, with those that the file packs the other way (`packed_words`), and what to say about it.

    bitsandbytes' texts about a matrix are as long as its numbers make them (`quantization.bitsandbytes`).
    """
    if quantization is not None and quantization.form:
        found = {
            entry.name: replace(one, tensor=replace(one.tensor, shape=entry.shape))
            for entry in checkpoint.entries
            if QUANT_STATE in entry.name and (one := expected.get(entry.name))
        }
        return expected | found, []
    odd = [
        entry
        for entry in checkpoint.entries
        if entry.dtype == "I32"
        and entry.name in expected
        and entry.shape != expected[entry.name].tensor.shape
    ]
    if not odd or quantization is None:
        return expected, []
    other = expectations(checkpoint.config, whole=not quantization.packs_whole_values)
    fitting = {
        entry.name: other[entry.name] for entry in odd if entry.shape == other[entry.name].tensor.shape
    }
    if not fitting:
        return expected, []
    count = len(fitting)
    if quantization.packs_whole_values:
        text = say(
            "{n} tensors are packed as compressed-tensors does since 0.17; config.json names an older version.",
            n=count,
        )
    else:
        text = say(
            "{n} tensors are packed as compressed-tensors did before 0.17; config.json names no version so old.",
            n=count,
        )
    return expected | fitting, [text]


def written_shapes(checkpoint: Checkpoint) -> dict[str, int]:
    """Packed tensor -> the parameters that the `weight_shape` beside it gives, where the data is on this disk."""
    found: dict[str, int] = {}
    for file in checkpoint.files if checkpoint.folder else ():
        shapes = [
            entry
            for entry in file.entries
            if (entry.dtype, entry.shape) == ("I64", (2,)) and entry.name.endswith(".weight_shape")
        ]
        with (checkpoint.folder / file.name).open("rb") as handle:
            for entry in shapes:
                handle.seek(8 + file.header_bytes + entry.begin)
                rows, columns = struct.unpack("<2q", handle.read(entry.bytes))
                if rows > 0 and columns > 0:
                    found[entry.name.removesuffix("shape") + "packed"] = rows * columns
    return found
