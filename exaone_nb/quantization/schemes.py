"""Quantization schemes: what is rounded, to how many bits, with how many values sharing one scale.

The presets are those of compressed-tensors 0.19 (quantization/quant_scheme.py), which LLM Compressor 0.14 uses. A
test holds this table against the installed library.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import did_you_mean, say

Strategy = Literal["tensor", "channel", "group", "block", "tensor_group", "token", "attn_head"]
# Names of the same order: compressed-tensors up to 0.18 took all of them.
ACTORDER = {"weight": "static", "dynamic": "group", True: "group", "true": "group"}
STRATEGIES = get_args(Strategy)


@dataclass(frozen=True, slots=True)
class QuantArgs:
    """How one tensor is quantized. `dynamic` is True, False, or "local" (scales per group made at run time).

    `actorder` says in which order GPTQ took the columns; it decides codes, not the number format, so two that differ
    in it alone are equal.
    """

    num_bits: int
    type: Literal["int", "float"]
    strategy: Strategy
    group_size: int | None = None
    symmetric: bool = True
    dynamic: bool | str = False
    block_structure: tuple[int, int] | None = None
    scale_dtype: str = ""  # empty: the model's own dtype
    actorder: str = field(default="", compare=False)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """From a quantization_config's `weights` or `input_activations` object, or a recipe's explicit arguments.

        Raises WorkbookError naming the field that is missing, of the wrong type, or impossible.
        """
        bits, kind = document.get("num_bits", 8), document.get("type", "int")
        group, block = document.get("group_size"), document.get("block_structure")
        symmetric = document.get("symmetric", True)
        _require(_whole(bits) and 1 <= bits <= 16, f"num_bits is {bits!r}.", "a whole number from 1 to 16.")
        _require(kind in ("int", "float"), f"The quantization type is {kind!r}.", "int or float.")
        whole = group is None or (_whole(group) and (group > 0 or group == -1))
        _require(whole, f"group_size is {group!r}.", "a whole number above 0, or -1 for a channel.")
        pair = isinstance(block, list | tuple) and len(block) == 2 and all(_whole(n) and n > 0 for n in block)
        _require(
            block is None or pair, f"block_structure is {block!r}.", "two whole numbers, rows and columns."
        )
        # Without a strategy the library infers it.
        inferred = "channel" if group == -1 else "group" if group else "block" if block else "tensor"
        strategy = document.get("strategy") or inferred
        _require(strategy in STRATEGIES, f"The strategy is {strategy!r}.", f"one of {', '.join(STRATEGIES)}.")
        grouped = strategy not in ("group", "tensor_group") or (group and group > 0)
        _require(grouped, f"Strategy {strategy} without a group_size.", "group_size above 0.")
        _require(
            strategy != "block" or block, "Strategy block without a block_structure.", "[rows, columns]."
        )
        _require(isinstance(symmetric, bool), f"symmetric is {symmetric!r}.", "true or false.")
        order = document.get("actorder")
        named = order is None or isinstance(order, str | bool)
        _require(named, f"actorder is {order!r}.", "static, its alias weight, or null.")
        return cls(
            bits,
            kind,
            strategy,
            group_size=group if group and group > 0 else None,
            symmetric=symmetric,
            dynamic=document.get("dynamic", False),
            block_structure=tuple(block) if block else None,
            scale_dtype=_scale_dtype(document.get("scale_dtype"), bits, kind, strategy, group),
            actorder=ACTORDER.get(order, str(order or "")),
        )

    def document(self) -> dict[str, Any]:
        """As `read` takes it."""
        given = asdict(self).items()
        return {name: value for name, value in given if value not in (None, "", False) or name == "symmetric"}

    def sentence(self) -> str:
        """In plain words, for example "int4, one scale per 128 inputs, symmetric"."""
        name = f"{'int' if self.type == 'int' else 'fp'}{self.num_bits}"
        share = {
            "tensor": say("one scale per tensor"),
            "channel": say("one scale per output channel"),
            "group": say("one scale per {size} inputs", size=self.group_size),
            "tensor_group": say("one scale per {size} inputs and one for the tensor", size=self.group_size),
            "token": say("one scale per token"),
            "attn_head": say("one scale per attention head"),
            "block": say("one scale per {size} block", size=" x ".join(map(str, self.block_structure or ()))),
        }[self.strategy]
        zero = say("symmetric") if self.symmetric else say("with zero points")
        return f"{name}, {share}, {zero}" + (say(", scales made at run time") if self.dynamic else "")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(holds: Any, got: str, expected: str) -> None:
    if not holds:
        raise WorkbookError(got, expected=expected)


def _scale_dtype(given: Any, bits: int, kind: str, strategy: str, group: int | None) -> str:
    if given is not None:
        names = {"torch.uint8": "U8", "torch.float8_e4m3fn": "F8_E4M3", "torch.float32": "F32"}
        return names.get(str(given), "")  # bfloat16 is the model's own
    if kind == "float" and strategy == "tensor_group":
        return "F8_E4M3"
    return "U8" if kind == "float" and bits == 4 and strategy == "group" and group == 32 else ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Weights and activations of one group of modules; None means left in the model's dtype."""

    name: str
    weights: QuantArgs | None = None
    activations: QuantArgs | None = None

    @property
    def format(self) -> str:
        """The storage format, by the library's own order of preference (compressors/format.py)."""
        weights = self.weights
        if weights is None:
            return "dense"
        number = weights.type, weights.num_bits
        if number == ("float", 4) and weights.group_size in (16, 32):
            return "mxfp4-pack-quantized" if weights.group_size == 32 else "nvfp4-pack-quantized"
        if number == ("float", 8) and (weights.group_size, weights.scale_dtype) == (32, "U8"):
            return "mxfp8-quantized"
        if self.activations is not None:
            return "int-quantized" if weights.type == "int" else "float-quantized"
        return "pack-quantized" if weights.type == "int" and weights.num_bits <= 8 else "naive-quantized"

    @property
    def needs_data(self) -> bool:
        """True when activation scales are fixed beforehand, so that calibration texts are needed."""
        return self.activations is not None and self.activations.dynamic in (False, "local")

    def same_numbers(self, other: Self) -> bool:
        """True when both round alike, whatever they are called."""
        return (self.weights, self.activations) == (other.weights, other.activations)

    @property
    def label(self) -> str:
        """A short name: the preset's (W8A8 for INT8, which is the same), or widths and what sets it apart.

        For example "W4A16 g64", "W4A16 per tensor".
        """
        for preset in SCHEMES.values():
            if self.same_numbers(preset):
                return preset.name
        weights, activations = self.weights, self.activations
        kind = "W" if weights.type == "int" else "FP"
        name = f"{kind}{weights.num_bits}A{activations.num_bits if activations else 16}"
        name += f" g{weights.group_size}" if weights.group_size else f" per {weights.strategy}"
        return name if weights.symmetric else f"{name} asym"

    def with_groups(self, size: int) -> Self:
        """The same, with one scale per `size` inputs."""
        return replace(self, weights=replace(self.weights, group_size=size))

    def document(self) -> str | dict[str, Any]:
        """How a recipe writes it: the preset's name where there is one, else explicit arguments."""
        return self.label if self.label in SCHEMES else self.arguments()

    def arguments(self) -> dict[str, Any]:
        """As a recipe writes it out: {weights: {…}, input_activations: {…}}, with what is not the default."""
        parts = {"weights": self.weights, "input_activations": self.activations}
        return {role: args.document() for role, args in parts.items() if args is not None}

    def sentence(self) -> str:
        if self.weights is None:
            return say("not quantized")
        text = say("weights {what}", what=self.weights.sentence())
        if self.activations:
            text += say("; activations {what}", what=self.activations.sentence())
        return text


def _integer(bits: int, activation_bits: int = 16) -> Scheme:
    activations = QuantArgs(activation_bits, "int", "token", dynamic=True) if activation_bits < 16 else None
    return Scheme(f"W{bits}A{activation_bits}", QuantArgs(bits, "int", "group", 128), activations)


def _presets() -> dict[str, Scheme]:
    fp4 = QuantArgs(4, "float", "tensor_group", 16, scale_dtype="F8_E4M3")
    mx4 = QuantArgs(4, "float", "group", 32, scale_dtype="U8")
    mx8 = QuantArgs(8, "float", "group", 32, scale_dtype="U8")
    int4, int8 = QuantArgs(4, "int", "group", 128), QuantArgs(8, "int", "channel")
    token8 = QuantArgs(8, "int", "token", dynamic=True)
    token_fp8 = replace(token8, type="float")
    tensor_fp8 = QuantArgs(8, "float", "tensor")
    block = QuantArgs(8, "float", "block", block_structure=(128, 128))
    schemes = [
        Scheme("UNQUANTIZED"),
        *(_integer(bits) for bits in range(2, 9)),
        *(_integer(bits, 8) for bits in range(2, 8)),
        *(_integer(bits, 4) for bits in range(2, 5)),
        Scheme("W4A16_ASYM", replace(int4, symmetric=False)),
        Scheme("W8A8", int8, token8),
        Scheme("INT8", int8, token8),
        Scheme("W4AFP8", int4, token_fp8),
        Scheme("FP8", tensor_fp8, tensor_fp8),
        Scheme("FP8_DYNAMIC", replace(tensor_fp8, strategy="channel"), token_fp8),
        Scheme("FP8_BLOCK", block, QuantArgs(8, "float", "group", 128, dynamic=True)),
        Scheme("NVFP4A16", fp4),
        Scheme("NVFP4", fp4, replace(fp4, dynamic="local")),
        Scheme("MXFP4A16", mx4),
        Scheme("MXFP4", mx4, replace(mx4, dynamic=True)),
        Scheme("MXFP8A16", mx8),
        Scheme("MXFP8", mx8, replace(mx8, dynamic=True)),
    ]
    return {scheme.name: scheme for scheme in schemes}


SCHEMES: dict[str, Scheme] = _presets()
# What people write for "not quantized"; the second value forces the file's dtype.
UNQUANTIZED_NAMES = {
    "BF16": "BF16",
    "F16": "F16",
    "FP16": "F16",
    "F32": "F32",
    "FP32": "F32",
    "UNQUANTIZED": "",
}


def find_scheme(scheme: str | dict[str, Any] | Scheme | None) -> Scheme:
    """A Scheme from a preset's name, explicit arguments {weights, input_activations}, or itself.

    Raises UsageError for a name that is not a preset.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if scheme is None:
        return SCHEMES["UNQUANTIZED"]
    if isinstance(scheme, dict):
        parts = scheme.get("weights"), scheme.get("input_activations", scheme.get("activations"))
        return Scheme(
            str(scheme.get("name", "custom")), *(QuantArgs.read(part) if part else None for part in parts)
        )
    name = scheme.upper()
    if name in UNQUANTIZED_NAMES:
        return SCHEMES["UNQUANTIZED"]
    if name not in SCHEMES:
        raise UsageError(
            say("No scheme {scheme!r}.", scheme=scheme),
            expected=say("BF16 or one of {names}.", names=", ".join(SCHEMES)),
            remedy=did_you_mean(name, SCHEMES, most=3),
        )
    return SCHEMES[name]


def nearest_preset(scheme: Scheme) -> str:
    """The preset whose kernel a scheme needs, "" when there is none.

    All arguments must be equal, but weight-only integers may have groups of any size, or one scale per channel: those
    are one kind of kernel, and `kernels` knows which sizes it takes.
    """
    mine = scheme.weights
    if mine is None:
        return ""
    for preset in SCHEMES.values():
        theirs = preset.weights
        if theirs is None or scheme.activations != preset.activations:
            continue
        if mine == theirs:
            return preset.name
        loose = scheme.activations is None and mine.type == theirs.type == "int"
        grouped = mine.strategy == "group" or (mine.strategy == "channel" and mine.symmetric)
        if loose and grouped and replace(mine, strategy="group", group_size=theirs.group_size) == theirs:
            return preset.name
    return ""


def groups_of(columns: int, size: int) -> int:
    """How many groups of `size` cover `columns` inputs; a short last group counts."""
    return math.ceil(columns / size)
