"""Checks of what a recipe writes out by hand: quantization arguments, transforms, the KV cache.

llm-compressor refuses a wrong combination only after the model is loaded, and with a page of pydantic; some it takes
and does something else: `block_size: 64` for `group_size: 64` would give one scale per tensor.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.quantization.schemes import QuantArgs

# The fields of compressed-tensors' QuantizationArgs; a test holds this list against the installed library.
KEYS = (
    "num_bits",
    "type",
    "symmetric",
    "group_size",
    "strategy",
    "block_structure",
    "dynamic",
    "actorder",
    "scale_dtype",
    "zp_dtype",
    "observer",
    "observer_kwargs",
)
# What people write, where the spelling alone would suggest something else.
MEANT = {"block_size": "group_size", "bits": "num_bits", "dtype": "type", "granularity": "strategy"}
# How llm-compressor finds a range of values; memoryless_minmax is its default.
MINMAX = ("memoryless_minmax", "static_minmax", "minmax")
OBSERVERS = (*MINMAX, "memoryless_mse", "mse", "imatrix_mse")
SCALE_DTYPES = ("torch.uint8", "torch.float8_e4m3fn", "torch.bfloat16", "torch.float32")
ROLES = {
    "weights": ("tensor", "channel", "group", "block", "tensor_group"),
    "input_activations": ("token", "tensor", "group", "tensor_group"),
    "kv_cache": ("tensor", "attn_head"),
}
TRANSFORMS = {
    "awq": ("mappings", "duo_scaling", "n_grid"),
    "smoothquant": ("mappings", "smoothing_strength", "ignore", "num_calibration_steps", "algorithm"),
}


def check_keys(document: Any, allowed: Iterable[str], what: str) -> None:
    """Raise UsageError when `document` is no mapping or has a key that nothing reads."""
    allowed = tuple(allowed)
    if not isinstance(document, dict):
        raise UsageError(
            f"{what} is {document!r}.", expected=f"a mapping with keys among {', '.join(allowed)}."
        )
    for key in document:
        if key not in allowed:
            near = [MEANT[key]] if MEANT.get(key) in allowed else nearest(key, allowed)
            raise UsageError(
                f"{what}: unknown key {key!r}.",
                expected=f"keys among {', '.join(allowed)}.",
                remedy=f"Did you mean {near[0]}?" if near else "",
            )


def one_of(value: Any, allowed: tuple[Any, ...], what: str) -> Any:
    """`value`, or UsageError with the nearest of the allowed ones."""
    if value not in allowed:
        near = nearest(value, [str(a) for a in allowed])
        raise UsageError(
            f"{what} is {value!r}.",
            expected=f"one of {', '.join(map(str, allowed))}.",
            remedy=f"Did you mean {near[0]}?" if near else "",
        )
    return value


def nearest(value: Any, allowed: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(str(value), list(allowed), n=1)


def is_number(value: Any) -> bool:
    """True for a number that one can compute with; not for true, .inf or .nan."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def is_whole(value: Any) -> bool:
    """True for 64 and 64.0."""
    return is_number(value) and value == int(value)


def is_names(value: Any) -> bool:
    """True for a list of texts, none of them empty."""
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)


def check_scheme(scheme: dict[str, Any], recipe: str) -> None:
    """Raise UsageError unless {weights, input_activations} can be made, stored and predicted."""
    what = f"Recipe {recipe}: scheme"
    check_keys(scheme, ("weights", "input_activations"), what)
    if not scheme.get("weights") or scheme.get("input_activations") == {}:
        missing = "input_activations" if scheme.get("weights") else "weights"
        raise UsageError(
            f"{what} has no {missing}.", expected=f"{{{missing}: {{num_bits, type, strategy, …}}}}."
        )
    check_arguments(scheme["weights"], "weights", f"{what}: weights")
    if scheme.get("input_activations") is not None:
        check_arguments(scheme["input_activations"], "input_activations", f"{what}: input_activations")


def check_arguments(document: Any, role: str, what: str) -> QuantArgs:
    """The arguments of one tensor, checked for the role of a key of ROLES. Raises UsageError, naming the key."""
    check_keys(document, KEYS, what)
    try:
        args = QuantArgs.read(document)
    except WorkbookError as error:
        raise UsageError(f"{what}: {error.got}", expected=error.expected, remedy=error.remedy) from error
    _check_numbers(args, what)
    one_of(args.strategy, ROLES[role], f"{what}: strategy")
    _check_groups(args, document, what)
    _check_dynamic(args, role, what)
    _check_rest(document, role, what)
    return args


def _check_numbers(args: QuantArgs, what: str) -> None:
    if args.type == "int" and not 2 <= args.num_bits <= 8:
        raise UsageError(f"{what}: num_bits is {args.num_bits}.", expected="2 to 8 for int.")
    if args.type == "float" and args.num_bits not in (4, 8):
        raise UsageError(f"{what}: num_bits is {args.num_bits}.", expected="4 or 8 for float.")
    small = args.type == "float" and args.num_bits == 4
    if small and (args.strategy, args.group_size) not in (("tensor_group", 16), ("group", 32)):
        raise UsageError(
            f"{what}: 4-bit floats with strategy {args.strategy} and group_size {args.group_size}.",
            expected="tensor_group of 16 (NVFP4) or group of 32 (MXFP4).",
        )
    if args.strategy == "tensor_group" and not small:
        raise UsageError(
            f"{what}: strategy tensor_group is for 4-bit floats.", expected="group, channel or tensor."
        )


def _check_groups(args: QuantArgs, document: dict[str, Any], what: str) -> None:
    size = document.get("group_size")
    grouped = args.strategy in ("group", "tensor_group")
    if size is not None and not grouped and not (size == -1 and args.strategy == "channel"):
        raise UsageError(
            f"{what}: strategy {args.strategy} beside group_size {size}: they contradict each other.",
            expected="group_size with strategy group only.",
            remedy="Write strategy: group, or leave group_size out.",
        )
    if document.get("block_structure") is not None and document.get("strategy") != "block":
        raise UsageError(
            f"{what}: block_structure without strategy block.", expected="strategy: block beside it."
        )


def _check_dynamic(args: QuantArgs, role: str, what: str) -> None:
    if not isinstance(args.dynamic, bool) and args.dynamic != "local":
        raise UsageError(f"{what}: dynamic is {args.dynamic!r}.", expected="true, false or local.")
    if args.dynamic is not False and role != "input_activations":
        raise UsageError(
            f"{what}: dynamic is {args.dynamic!r}.",
            expected="false: these scales are stored; only activations can be scaled at run time.",
        )
    if args.dynamic == "local" and args.strategy != "tensor_group":
        raise UsageError(f"{what}: dynamic local is for strategy tensor_group.", expected="true or false.")
    if args.strategy == "token" and args.dynamic is False:
        raise UsageError(
            f"{what}: tokens are not known beforehand.", expected="dynamic: true with strategy token."
        )


def _check_rest(document: dict[str, Any], role: str, what: str) -> None:
    if document.get("observer") is not None:
        one_of(document["observer"], OBSERVERS, f"{what}: observer")
    options = document.get("observer_kwargs", {})
    if not isinstance(options, dict) or not all(isinstance(v, str) or is_number(v) for v in options.values()):
        raise UsageError(f"{what}: observer_kwargs is {options!r}.", expected="names with numbers or texts.")
    for key in ("scale_dtype", "zp_dtype"):
        if document.get(key) is not None:
            one_of(document[key], SCALE_DTYPES, f"{what}: {key}")
    order = document.get("actorder")
    if order not in (None, False) and role != "weights":
        raise UsageError(f"{what}: actorder is {order!r}.", expected="actorder beside weights only.")
    if order not in (None, False):
        one_of(order, ("static", "weight"), f"{what}: actorder")


def check_kv_cache(value: Any, recipe: str) -> dict[str, Any] | None:
    """Explicit arguments of the KV cache, None for none. Raises UsageError for all that vLLM cannot use."""
    what = f"Recipe {recipe}: kv_cache"
    if value in (None, False, "none"):
        return None
    if value == "fp8":
        return {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{what} is {value!r}.", expected="fp8, or {num_bits, type, strategy, …}.")
    args = check_arguments(value, "kv_cache", what)
    if (args.type, args.num_bits, args.symmetric) != ("float", 8, True):
        raise UsageError(
            f"{what} is {args.sentence()}.",
            expected="num_bits: 8, type: float, symmetric: the only cache vLLM can use.",
        )
    return dict(value)


def check_transform(value: Any, recipe: str) -> dict[str, Any] | None:
    """A transform as {type, …}, None for none. Raises UsageError, naming the key."""
    what = f"Recipe {recipe}: transform"
    if value is None:
        return None
    document = {"type": value} if isinstance(value, str) else value
    if not isinstance(document, dict):
        raise UsageError(f"{what} is {value!r}.", expected=f"{' or '.join(TRANSFORMS)}, or {{type: …, …}}.")
    kind = one_of(document.get("type"), tuple(TRANSFORMS), what)
    check_keys(document, ("type", *TRANSFORMS[kind]), what)
    if "mappings" in document:
        _check_mappings(document["mappings"], kind, what)
    if "duo_scaling" in document:
        one_of(document["duo_scaling"], (True, False, "both"), f"{what}: duo_scaling")
    for key in ("n_grid", "num_calibration_steps"):
        if document.get(key) is not None and not (is_whole(document[key]) and document[key] > 0):
            raise UsageError(f"{what}: {key} is {document[key]!r}.", expected="a whole number above 0.")
    if "smoothing_strength" in document:
        strength = document["smoothing_strength"]
        if not (is_number(strength) and 0 <= strength <= 1):
            raise UsageError(f"{what}: smoothing_strength is {strength!r}.", expected="a number from 0 to 1.")
    if document.get("ignore") is not None and not is_names(document["ignore"]):
        raise UsageError(f"{what}: ignore is {document['ignore']!r}.", expected="a list of patterns.")
    if "algorithm" in document:
        one_of(document["algorithm"], ("smoothquant", "log_equalization"), f"{what}: algorithm")
    return dict(document)


def _check_mappings(mappings: Any, kind: str, what: str) -> None:
    """AWQ takes {smooth_layer, balance_layers}, SmoothQuant [[balance layers], smooth layer]."""
    expected = (
        "a list of {smooth_layer: …, balance_layers: […]}."
        if kind == "awq"
        else "a list of [[balance layers], smooth layer]."
    )
    if not isinstance(mappings, list) or not mappings:
        raise UsageError(f"{what}: mappings is {mappings!r}.", expected=expected)
    for mapping in mappings:
        if kind == "awq" and isinstance(mapping, dict):
            check_keys(
                mapping, ("smooth_layer", "balance_layers", "activation_hook_target"), f"{what}: mapping"
            )
            smooth, balance = mapping.get("smooth_layer"), mapping.get("balance_layers")
        elif kind == "smoothquant" and isinstance(mapping, list) and len(mapping) == 2:
            balance, smooth = mapping
            balance = [balance] if isinstance(balance, str) else balance
        else:
            raise UsageError(f"{what}: mapping {mapping!r}.", expected=expected)
        hook = mapping.get("activation_hook_target") if kind == "awq" else None
        if not (balance and is_names(balance) and is_names([smooth]) and (hook is None or is_names([hook]))):
            raise UsageError(f"{what}: mapping {mapping!r}.", expected=expected)
