"""What a recipe may write out by hand, declared: quantization arguments, transforms, the KV cache.

llm-compressor refuses a wrong combination only after the model is loaded, and with a page of pydantic; some it takes
and does something else: `block_size: 64` for `group_size: 64` would give one scale per tensor.
"""

# No `from __future__ import annotations` here: it hides NotRequired from TypedDict.
from typing import Any, Literal, NotRequired, TypedDict

from exaone_nb import schema
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs
from exaone_nb.schema import Count, Mistake, Name, Patterns, kind

# What people write, where the spelling alone would suggest something else.
MEANT = {"block_size": "group_size", "bits": "num_bits", "dtype": "type", "granularity": "strategy"}
# How llm-compressor finds a range of values; memoryless_minmax is its default.
MINMAX = ("memoryless_minmax", "static_minmax", "minmax")
OBSERVERS = (*MINMAX, "memoryless_mse", "mse", "imatrix_mse")
Observer = Literal[OBSERVERS]
ScaleDtype = Literal["torch.uint8", "torch.float8_e4m3fn", "torch.bfloat16", "torch.float32"]
ZeroDtype = Literal["torch.int8", "torch.uint8", "torch.float8_e4m3fn", "torch.bfloat16", "torch.float32"]
STRATEGIES = {
    "weights": ("tensor", "channel", "group", "block", "tensor_group"),
    "input_activations": ("token", "tensor", "group", "tensor_group"),
    "kv_cache": ("tensor", "attn_head"),
}
# The one KV cache that vLLM can use, with one scale for the tensor.
FP8_CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}


def _are_settings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) or schema.is_number(v) for v in value.values())


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
    zp_dtype: ZeroDtype | None
    observer: Observer | None
    observer_kwargs: kind(dict, _are_settings, "names with numbers or texts.")


def read_arguments(document: Any, role: str) -> QuantArgs:
    """The arguments of one tensor, checked for a role of STRATEGIES. Raises Mistake, or cattrs' group of them."""
    schema.check_keys(document, Arguments.__annotations__, MEANT)
    schema.nested(document, Arguments)
    try:
        args = QuantArgs.read(document)
    except WorkbookError as error:
        raise Mistake(
            say("is wrong: {got}", got=error.got), expected=error.expected, remedy=error.remedy
        ) from error
    _check_together(args, document, role)
    return args


def _check_together(args: QuantArgs, document: dict[str, Any], role: str) -> None:
    """Raise Mistake for what no tensor, or none in this role, can be."""

    def wrong(key: str, got: str, expected: str) -> Mistake:
        return Mistake(got, expected=expected, path=(key,))

    bits, strategy, dynamic, size = args.num_bits, args.strategy, args.dynamic, document.get("group_size")
    small, order = args.type == "float" and bits == 4, document.get("actorder")
    if args.type == "int" and not 2 <= bits <= 8:
        raise wrong("num_bits", say("is {value!r}.", value=bits), "2 to 8 for int.")
    if args.type == "float" and bits not in (4, 8):
        raise wrong("num_bits", say("is {value!r}.", value=bits), "4 or 8 for float.")
    if small and (strategy, args.group_size) not in (("tensor_group", 16), ("group", 32)):
        got = say(
            "is {strategy} with group_size {size}, for 4-bit floats.", strategy=strategy, size=args.group_size
        )
        raise wrong("strategy", got, "tensor_group of 16 (NVFP4) or group of 32 (MXFP4).")
    if strategy not in STRATEGIES[role]:
        raise wrong(
            "strategy",
            say("is {value!r}.", value=strategy),
            say("one of {words}.", words=", ".join(STRATEGIES[role])),
        )
    if strategy == "tensor_group" and not small:
        raise wrong("strategy", "is tensor_group, which is for 4-bit floats.", "group, channel or tensor.")
    grouped = strategy in ("group", "tensor_group")
    if size is not None and not grouped and (size, strategy) != (-1, "channel"):
        got = say(
            "is {strategy} beside group_size {size}: they contradict each other.",
            strategy=strategy,
            size=size,
        )
        raise wrong("strategy", got, "strategy: group beside group_size, or neither.")
    if document.get("block_structure") is not None and document.get("strategy") != "block":
        raise wrong("block_structure", "stands there without strategy block.", "strategy: block beside it.")
    if dynamic is not False and role != "input_activations":
        raise wrong(
            "dynamic",
            say("is {value!r}.", value=dynamic),
            "false: only activations can be scaled at run time.",
        )
    if dynamic == "local" and strategy != "tensor_group":
        raise wrong("dynamic", "is local, which is for strategy tensor_group.", "true or false.")
    if strategy == "token" and dynamic is False:
        raise wrong("dynamic", "is false, but tokens are not known before.", "dynamic: true with token.")
    if order not in (None, False) and role != "weights":
        raise wrong("actorder", say("is {value!r}.", value=order), "actorder beside weights only.")


def _arguments(role: str) -> Any:
    def convert(value: Any) -> Any:
        read_arguments(value, role)
        return value

    return kind(dict, lambda value: value != {}, "{num_bits, type, strategy, …}.", convert)


class ExplicitScheme(TypedDict):
    """A scheme that no preset names."""

    weights: _arguments("weights")
    input_activations: NotRequired[_arguments("input_activations") | None]


def _kv_cache(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return dict(FP8_CACHE) if value == "fp8" else None
    args = read_arguments(value, "kv_cache")
    if (args.type, args.num_bits, args.symmetric) != ("float", 8, True):
        expected = say("num_bits: 8, type: float, symmetric: the only cache vLLM can use.")
        raise Mistake(say("is {sentence}.", sentence=args.sentence()), expected=expected)
    return dict(value)


def _is_pair(value: Any) -> bool:
    """Whether this is SmoothQuant's [[balance layers], smooth layer]."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    return bool(pair and value[0] and schema.are_names(value[0]) and schema.is_name(value[1]))


class AwqMapping(TypedDict):
    """Which layer is scaled, and which ones make up for it."""

    smooth_layer: Name
    balance_layers: schema.list_of(Name, "a list of names.", list)
    activation_hook_target: NotRequired[Name | None]


def read_mapping(mapping: dict[str, Any] | list[Any]) -> tuple[str, list[str]]:
    """(smoothed layer, the layers that undo it) of a checked mapping in either spelling, AWQ's or SmoothQuant's."""
    if isinstance(mapping, dict):
        return mapping["smooth_layer"], list(mapping["balance_layers"])
    balance, smooth = mapping
    return smooth, list(schema.as_tuple(balance))


class Awq(TypedDict):
    """llm-compressor's AWQModifier."""

    type: Literal["awq"]
    mappings: NotRequired[schema.list_of(AwqMapping, "a list of {smooth_layer, balance_layers}.", list)]
    duo_scaling: NotRequired[Literal[True, False, "both"]]
    n_grid: NotRequired[Count | None]


Pair = kind(list, _is_pair, "[[balance layers], smooth layer].")
Share = kind(float, lambda value: schema.is_number(value) and 0 <= value <= 1, "a number from 0 to 1.")


class SmoothQuant(TypedDict):
    """llm-compressor's SmoothQuantModifier."""

    type: Literal["smoothquant"]
    mappings: NotRequired[schema.list_of(Pair, "a list of [[balance layers], smooth layer].", list)]
    smoothing_strength: NotRequired[Share]
    ignore: NotRequired[Patterns | None]
    num_calibration_steps: NotRequired[Count | None]
    algorithm: NotRequired[Literal["smoothquant", "log_equalization"]]


TRANSFORMS = {"awq": Awq, "smoothquant": SmoothQuant}
# What llm-compressor takes where a recipe says nothing.
TRANSFORM_DEFAULTS: dict[str, dict[str, Any]] = {
    "awq": {"duo_scaling": True, "n_grid": 20},
    "smoothquant": {"smoothing_strength": 0.5, "algorithm": "smoothquant"},
}


def _transform(value: Any) -> dict[str, Any]:
    document = {"type": value} if isinstance(value, str) else value
    return schema.nested(document, TRANSFORMS[schema.one_of(document.get("type"), TRANSFORMS)])


KvCache = kind(
    dict,
    lambda value: value in (None, False, "none", "fp8") or (isinstance(value, dict) and value),
    "fp8, or {num_bits, type, strategy, …}.",
    _kv_cache,
)
Transform = kind(
    dict,
    lambda value: isinstance(value, str | dict),
    " or ".join(TRANSFORMS) + ", or {type: …, …}.",
    _transform,
)
