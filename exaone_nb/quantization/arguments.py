"""What a recipe may write out by hand, declared: quantization arguments, transforms, the KV cache.

llm-compressor refuses a wrong combination only after the model is loaded, and with a page of pydantic; some it takes
and does something else: `block_size: 64` for `group_size: 64` would give one scale per tensor.
"""

# No `from __future__ import annotations` here: it hides NotRequired from TypedDict.
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypedDict

from exaone_nb import schema
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.schemes import QuantArgs
from exaone_nb.schema import Count, Mistake, Name, Patterns, kind

# What people write, where the spelling alone would suggest something else.
MEANT = {"block_size": "group_size", "bits": "num_bits", "dtype": "type", "granularity": "strategy"}
# How llm-compressor finds a range of values; memoryless_minmax is its default.
MINMAX = ("memoryless_minmax", "static_minmax", "minmax")
OBSERVERS = (*MINMAX, "memoryless_mse", "mse", "imatrix_mse")
Observer = Literal[OBSERVERS]
ScaleDtype = Literal["torch.uint8", "torch.float8_e4m3fn", "torch.bfloat16", "torch.float32"]
STRATEGIES = {
    "weights": ("tensor", "channel", "group", "block", "tensor_group"),
    "input_activations": ("token", "tensor", "group", "tensor_group"),
    "kv_cache": ("tensor", "attn_head"),
}
# The one KV cache that vLLM can use, with one scale for the tensor.
FP8_CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(
        isinstance(v, str) or schema.is_number(v) for v in value.values()
    ):
        raise ValueError
    return value


class Arguments(TypedDict, total=False):
    """The fields of compressed-tensors' QuantizationArgs (a test holds them against it). `Any`: `QuantArgs` reads it."""

    num_bits: Any
    type: Any
    symmetric: Any
    group_size: Any
    strategy: Any
    block_structure: Any
    dynamic: Literal[True, False, "local"]
    actorder: Literal["static", "weight", False] | None
    scale_dtype: ScaleDtype | None
    zp_dtype: ScaleDtype | None
    observer: Observer | None
    observer_kwargs: kind(dict, _options, "names with numbers or texts.")


def read_arguments(document: Any, role: str) -> QuantArgs:
    """The arguments of one tensor, checked for a role of STRATEGIES. Raises Mistake, or cattrs' group of them."""
    schema.check_keys(document, Arguments.__annotations__, MEANT)
    schema.nested(document, Arguments)
    try:
        args = QuantArgs.read(document)
    except WorkbookError as error:
        raise Mistake(f"is wrong: {error.got}", expected=error.expected, remedy=error.remedy) from error
    for wrong, key, got, expected in _contradictions(args, document, role):
        if wrong:
            raise Mistake(got, expected=expected, path=(key,))
    return args


def _contradictions(
    args: QuantArgs, document: dict[str, Any], role: str
) -> Iterator[tuple[bool, str, str, str]]:
    """(is it so?, key, what was got, what was expected) of all that no tensor, or none in this role, can be."""
    bits, strategy, size = args.num_bits, args.strategy, document.get("group_size")
    small = args.type == "float" and bits == 4
    allowed, order = STRATEGIES[role], document.get("actorder")
    yield args.type == "int" and not 2 <= bits <= 8, "num_bits", f"is {bits}.", "2 to 8 for int."
    yield args.type == "float" and bits not in (4, 8), "num_bits", f"is {bits}.", "4 or 8 for float."
    yield (
        small and (strategy, args.group_size) not in (("tensor_group", 16), ("group", 32)),
        "strategy",
        f"is {strategy} with group_size {args.group_size}, for 4-bit floats.",
        "tensor_group of 16 (NVFP4) or group of 32 (MXFP4).",
    )
    yield strategy not in allowed, "strategy", f"is {strategy!r}.", f"one of {', '.join(allowed)}."
    yield (
        strategy == "tensor_group" and not small,
        "strategy",
        "is tensor_group, which is for 4-bit floats.",
        "group, channel or tensor.",
    )
    yield (
        size is not None
        and strategy not in ("group", "tensor_group")
        and not (size == -1 and strategy == "channel"),
        "strategy",
        f"is {strategy} beside group_size {size}: they contradict each other.",
        "group_size with strategy group only: write strategy: group, or leave group_size out.",
    )
    yield (
        document.get("block_structure") is not None and document.get("strategy") != "block",
        "block_structure",
        "stands there without strategy block.",
        "strategy: block beside it.",
    )
    yield (
        args.dynamic is not False and role != "input_activations",
        "dynamic",
        f"is {args.dynamic!r}.",
        "false: these scales are stored; only activations can be scaled at run time.",
    )
    yield (
        args.dynamic == "local" and strategy != "tensor_group",
        "dynamic",
        "is local, which is for strategy tensor_group.",
        "true or false.",
    )
    yield (
        strategy == "token" and args.dynamic is False,
        "dynamic",
        "is false with strategy token, but tokens are not known beforehand.",
        "dynamic: true with strategy token.",
    )
    yield (
        order not in (None, False) and role != "weights",
        "actorder",
        f"is {order!r}.",
        "actorder beside weights only.",
    )


def _arguments(role: str) -> Any:
    def take(value: Any) -> dict[str, Any]:
        if value == {}:
            raise ValueError
        read_arguments(value, role)
        return value

    return kind(dict, take, "{num_bits, type, strategy, …}.")


class ExplicitScheme(TypedDict):
    """A scheme that no preset names."""

    weights: _arguments("weights")
    input_activations: NotRequired[_arguments("input_activations") | None]


def _kv_cache(value: Any) -> dict[str, Any] | None:
    if value in (None, False, "none"):
        return None
    if value == "fp8":
        return dict(FP8_CACHE)
    if not isinstance(value, dict) or not value:
        raise ValueError
    args = read_arguments(value, "kv_cache")
    if (args.type, args.num_bits, args.symmetric) != ("float", 8, True):
        raise Mistake(
            f"is {args.sentence()}.",
            expected="num_bits: 8, type: float, symmetric: the only cache vLLM can use.",
        )
    return dict(value)


def _smooth_mapping(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError
    balance, smooth = value
    if not balance:
        raise ValueError
    return [list(schema.names(balance)), schema.filled(smooth)]


class AwqMapping(TypedDict):
    """Which layer is scaled, and which ones make up for it."""

    smooth_layer: Name
    balance_layers: schema.list_of(Name, "a list of names.", list)
    activation_hook_target: NotRequired[Name | None]


class Awq(TypedDict):
    """llm-compressor's AWQModifier."""

    type: Literal["awq"]
    mappings: NotRequired[
        schema.list_of(AwqMapping, "a list of {smooth_layer: …, balance_layers: […]}.", list)
    ]
    duo_scaling: NotRequired[Literal[True, False, "both"]]
    n_grid: NotRequired[Count | None]


class SmoothQuant(TypedDict):
    """llm-compressor's SmoothQuantModifier."""

    type: Literal["smoothquant"]
    mappings: NotRequired[
        schema.list_of(
            kind(list, _smooth_mapping, "[[balance layers], smooth layer]."),
            "a list of [[balance layers], smooth layer].",
            list,
        )
    ]
    smoothing_strength: NotRequired[
        kind(float, schema.number(lambda value: 0 <= value <= 1), "a number from 0 to 1.")
    ]
    ignore: NotRequired[Patterns | None]
    num_calibration_steps: NotRequired[Count | None]
    algorithm: NotRequired[Literal["smoothquant", "log_equalization"]]


TRANSFORMS = {"awq": Awq, "smoothquant": SmoothQuant}


def _transform(value: Any) -> dict[str, Any]:
    document = {"type": value} if isinstance(value, str) else value
    if not isinstance(document, dict):
        raise ValueError
    return schema.nested(document, TRANSFORMS[schema.one_of(document.get("type"), TRANSFORMS)])


KvCache = kind(dict, _kv_cache, "fp8, or {num_bits, type, strategy, …}.")
Transform = kind(dict, _transform, f"{' or '.join(TRANSFORMS)}, or {{type: …, …}}.")
