"""What a quantized matrix becomes in the file: packed weights, scales, zero points, shapes.

Formats of compressed-tensors 0.19 (compressors/*/base.py, quantization/lifecycle/initialize.py), for a weight
[out, in]. A 4-bit scheme with quantized activations (W4A8, W4AFP8) is stored at 8 bits per weight.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs, Scheme, groups_of
from exaone_nb.tensors import bytes_of

# Group sizes that kernels are written for, the usual one first.
GROUP_SIZES = (128, 64, 32, 16, 8)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One entry of a safetensors header, without its place in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    component: str = ""
    layer: int | None = None

    @property
    def bytes(self) -> int:
        return bytes_of(self.dtype, self.shape)


def scale_shape(args: QuantArgs, shape: tuple[int, int]) -> tuple[int, ...]:
    """Shape of the scales of a weight [out, in]."""
    rows, columns = shape
    if args.strategy == "tensor":
        return (1,)
    if args.strategy == "channel":
        return (rows, 1)
    if args.strategy in ("group", "tensor_group"):
        return (rows, groups_of(columns, args.group_size))
    if args.strategy == "block":
        high, wide = args.block_structure
        return (groups_of(rows, high), groups_of(columns, wide))
    got = say("Weights cannot be quantized per {strategy}.", strategy=args.strategy)
    raise WorkbookError(got, expected="tensor, channel, group or block.")


def check_fits(module: str, shape: tuple[int, int], scheme: Scheme) -> None:
    """Raise WorkbookError when LLM Compressor would refuse this matrix: its inputs do not divide into groups."""
    args = scheme.weights
    size = args.group_size
    if args.strategy in ("group", "tensor_group") and size and shape[1] % size:
        got = say(
            "{module} has {inputs} inputs, which do not divide into groups of {size} ({scheme}).",
            module=module, inputs=shape[1], size=size, scheme=scheme.name,
        )  # fmt: skip
        remedy, fitted = say("Add the module to `ignore`."), fitting(scheme, shape[1:])
        if fitted is not scheme:
            group = fitted.weights.group_size
            remedy = say("Use groups of {group}, or add the module to `ignore`.", group=group)
        raise WorkbookError(got, remedy=remedy)


def fitting(scheme: Scheme, inputs: Iterable[int]) -> Scheme:
    """`scheme`, or, where its groups of integers do not divide all `inputs`, the same with the largest group that does.

    Groups of 4-bit floats belong to their format and stay.
    """
    args, widths = scheme.weights, set(inputs)
    if args is None or args.type != "int" or args.strategy != "group":
        return scheme
    sizes = [size for size in GROUP_SIZES if not any(width % size for width in widths)]
    if not sizes or not any(width % args.group_size for width in widths):
        return scheme
    fitted = scheme.with_groups(sizes[0])
    return replace(fitted, name=fitted.label)


def packed_words(count: int, bits: int, whole: bool = False) -> int:
    """int32 words that hold `count` integers of `bits` bits.

    compressed-tensors lets a value cross from one word to the next since 0.17. Before (`whole`) it did not, and 3, 5, 6
    and 7 bits took more words.
    """
    return math.ceil(count / (32 // bits)) if whole else math.ceil(count * bits / 32)


def stored_linear(
    module: str, shape: tuple[int, int], scheme: Scheme, dtype: str, *, whole: bool = False
) -> list[StoredTensor]:
    """The tensors that replace `<module>.weight`, in the order of the module's state dict.

    `shape` is [out, in], `dtype` the model's own, `whole` as in `packed_words`. Symmetric zero points are not stored.
    """
    args, activations, layout = scheme.weights, scheme.activations, scheme.format
    rows, columns = shape
    packed = layout in ("pack-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized")
    scales = scale_shape(args, shape)
    found: list[StoredTensor] = []

    def add(name: str, kind: str, size: tuple[int, ...]) -> None:
        found.append(StoredTensor(f"{module}.{name}", kind, size))

    if not packed:
        add("weight", "I8" if args.type == "int" else "F8_E4M3", shape)
    if not (packed and layout != "pack-quantized"):
        add("weight_scale", args.scale_dtype or dtype, scales)
    if not args.symmetric:
        if layout == "pack-quantized" and args.strategy in ("group", "channel"):
            add("weight_zero_point", "I32", (packed_words(rows, args.num_bits, whole), *scales[1:]))
        else:
            add("weight_zero_point", "I8" if args.type == "int" else (args.scale_dtype or "F8_E4M3"), scales)
    if args.strategy == "tensor_group":
        add("weight_global_scale", "F32", (1,))
    if activations is not None and activations.strategy == "tensor_group" and activations.dynamic is not True:
        add("input_global_scale", "F32", (1,))
    if activations is not None and activations.dynamic is False:
        if activations.strategy != "tensor":
            got = say("Static activations per {strategy} are not stored.", strategy=activations.strategy)
            raise WorkbookError(got, expected="tensor.")
        add("input_scale", dtype, (1,))
        if not activations.symmetric:
            add("input_zero_point", "I8", (1,))
    if layout == "pack-quantized":
        add("weight_packed", "I32", (rows, packed_words(columns, args.num_bits, whole)))
        add("weight_shape", "I64", (2,))
        if args.actorder == "group":  # which group each column belongs to; LLM Compressor up to 0.13
            add("weight_g_idx", "I32", (columns,))
    elif packed:
        add("weight_packed", "U8", (rows, columns // 2))
        add("weight_scale", args.scale_dtype, scales)
    return found
