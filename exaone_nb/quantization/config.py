"""Other people's `quantization_config`, in plain words and as the tensors it leaves in the file.

Understood: compressed-tensors (LLM Compressor, Kimi-K2-Thinking), mxfp4 (gpt-oss), fp8 with blocks (DeepSeek-R1),
AWQ, GPTQ and bitsandbytes. Storage rules are those of the loaders in transformers 5.17 (quantizers/, integrations/) and
compressed-tensors 0.19; anything else is named and left unexplained, never guessed.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from packaging.version import InvalidVersion, Version

from exaone_nb import fields
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.quantization import bitsandbytes
from exaone_nb.quantization.arguments import Arguments
from exaone_nb.quantization.matching import Groups
from exaone_nb.quantization.schemes import QuantArgs, Scheme, groups_of, nearest_preset
from exaone_nb.quantization.stored import StoredTensor, stored_linear
from exaone_nb.tensors import TensorSpec

# Fields of QuantizationScheme in compressed-tensors 0.13 and 0.19, which refuse all others.
GROUP_FIELDS = ("targets", "weights", "input_activations", "output_activations", "format")
MIXED = "mixed"
UNDERSTOOD = ("compressed-tensors", "mxfp4", "fp8", "awq", "gptq", bitsandbytes.METHOD)


@dataclass(frozen=True)
class Quantization:
    """A quantization_config, read."""

    method: str
    groups: tuple[tuple[Scheme, tuple[str, ...]], ...] = ()  # compressed-tensors
    ignore: tuple[str, ...] = ()
    kv_cache: dict[str, Any] | None = None
    bits: int = 0  # AWQ, GPTQ
    group_size: int = 0
    block: tuple[int, int] = (128, 128)  # fp8
    form: bitsandbytes.Form | None = None
    version: str = ""  # of compressed-tensors, where the file names it
    sparse24: bool = False  # stored with two zeros in every four weights
    formats: tuple[str, ...] = ()  # how each group says it is stored
    status: str = ""  # "compressed" when the tensors are codes
    unknown: tuple[str, ...] = ()  # fields that compressed-tensors does not know, and refuses

    @property
    def understood(self) -> bool:
        """False for a method whose storage is not known here."""
        return self.method in UNDERSTOOD

    @property
    def packs_whole_values(self) -> bool:
        """Whether the version that is named packs as compressed-tensors did before 0.17 (`stored.packed_words`)."""
        try:
            return Version(self.version) < Version("0.17")
        except InvalidVersion:
            return False

    def scheme_for(self, module: str, kind: str) -> Scheme | None:
        """The compressed-tensors scheme of a module, None when it is left alone."""
        return self._by_target.value_for(module, kind)

    @cached_property
    def _by_target(self) -> Groups[Scheme]:
        return Groups(self.groups, self.ignore)

    def skips(self, module: str) -> bool:
        """True when `modules_to_not_convert` names the module (a prefix pattern or the end of its name)."""
        return any(re.match(name, module) or module.endswith(name) for name in self.ignore)

    def sentences(self) -> list[str]:
        """What the config says, in plain words."""
        lines = [
            say("{targets}: {s} ({form}).", targets=", ".join(names), s=scheme.sentence(), form=scheme.format)
            for scheme, names in self.groups
        ]
        if self.method == "mxfp4":
            text = say(
                "Expert matrices: fp4 (E2M1), two weights per byte, one shared power-of-two exponent (E8M0, one byte) "
                "per 32 inputs: 4.25 bits a weight."
            )
            lines.append(text)
        elif self.method == "fp8":
            high, wide = self.block
            lines.append(
                say("Linear: fp8 (E4M3), one float32 scale per {high} x {wide} block.", high=high, wide=wide)
                if high
                else say("Linear: fp8 (E4M3), one float32 scale per tensor.")
            )
        elif self.method in ("awq", "gptq"):
            text = say(
                "Linear: int{q.bits} with zero points, one fp16 scale per {q.group_size} inputs, {packed} weights per "
                "int32.",
                q=self, packed=32 // self.bits,
            )  # fmt: skip
            lines.append(text)
        elif self.form:
            lines.append(self.form.sentence())
        elif not self.understood:
            text = say(
                "The method {q.method!r} is not known here; its tensors are counted as stored.", q=self
            )
            lines.append(text)
        if self.ignore:
            names = ", ".join(_in_words(name) for name in self.ignore)
            lines.append(say("Left as they are: {names}.", names=names))
        if self.kv_cache:
            lines.append(say("KV cache: {what}.", what=QuantArgs.read(self.kv_cache).sentence()))
        return lines


def _in_words(name: str) -> str:
    if not name.startswith("re:"):
        return name
    plain = name[3:].replace(r"\.", ".").replace(".*", "…").removesuffix("$")
    return say("names like {plain}", plain=plain)


def read_quantization(config: dict[str, Any] | None) -> Quantization | None:
    """The config's `quantization_config` (of the text part for image-and-text models), or None when there is none.

    Raises WorkbookError when it is malformed.
    """
    if not config:
        return None
    document = fields.table(config, "quantization_config") or fields.table(
        fields.table(config, "text_config"), "quantization_config"
    )
    if not document:
        return None
    method = str(document.get("quant_method", "")).lower()
    if method == "compressed-tensors":
        return _compressed_tensors(document)
    skipped = _names(document.get("modules_to_not_convert"), "modules_to_not_convert")
    if method == "fp8":
        return Quantization(method, ignore=skipped, block=_block(document.get("weight_block_size")))
    if method in ("awq", "gptq"):
        bits = fields.size(document, "bits")
        if bits not in (2, 3, 4, 8):
            got = say("bits is {bits} in the quantization_config.", bits=bits)
            raise WorkbookError(got, expected="2, 3, 4 or 8.")
        skipped = skipped or (() if document.get("lm_head") is True else ("lm_head",))
        return Quantization(
            method, ignore=skipped, bits=bits, group_size=fields.size(document, "group_size", 128)
        )
    if method == bitsandbytes.METHOD:
        form = bitsandbytes.read_form(document)
        skipped = _names(document.get("llm_int8_skip_modules"), "llm_int8_skip_modules") or ("lm_head",)
        storage = str(document.get("bnb_4bit_quant_storage"))
        return Quantization(method if form else f"{method} ({storage})", ignore=skipped, form=form)
    return Quantization(method or "unnamed", ignore=skipped)


def _compressed_tensors(document: dict[str, Any]) -> Quantization:
    groups, formats, unknown = [], [], []
    sparsity = fields.table(document, "sparsity_config")
    for name, group in fields.table(document, "config_groups").items():
        if not isinstance(group, dict):
            got = say("config_groups.{name} is a {kind}.", name=name, kind=type(group).__name__)
            raise WorkbookError(got, expected="an object.")
        unknown += [f"config_groups.{name}.{key}" for key in group if key not in GROUP_FIELDS]
        parts = {}
        for key in ("weights", "input_activations"):
            part = group.get(key)
            if part is not None and not isinstance(part, dict):
                got = say("{key} of config_groups.{name} is {part!r}.", key=key, name=name, part=part)
                raise WorkbookError(got, expected="an object.")
            parts[key] = QuantArgs.read(part) if part else None
            strange = [field for field in part or () if field not in Arguments.__annotations__]
            unknown += [f"config_groups.{name}.{key}.{field}" for field in strange]
        targets = _names(group.get("targets"), f"targets of config_groups.{name}") or ("Linear",)
        groups.append((Scheme(name, parts["weights"], parts["input_activations"]), targets))
        formats.append(str(group.get("format") or document.get("format") or ""))
    return Quantization(
        "compressed-tensors",
        groups=tuple(groups),
        formats=tuple(formats),
        status=str(document.get("quantization_status") or ""),
        ignore=_names(document.get("ignore"), "ignore"),
        kv_cache=fields.table(document, "kv_cache_scheme") or None,
        unknown=tuple(unknown),
        version=str(document.get("version") or ""),
        sparse24=sparsity.get("sparsity_structure") == "2:4" or "24" in str(sparsity.get("format") or ""),
    )


def _names(value: Any, what: str) -> tuple[str, ...]:
    """A list of module names or patterns; null is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        got = say("{what} is {value!r}.", what=what, value=value)
        raise WorkbookError(got, expected="a list of module names.")
    return tuple(value)


def _block(value: Any) -> tuple[int, int]:
    """Rows and columns that share a scale; (0, 0) when the whole tensor does."""
    if value is None:
        return (0, 0)
    if not isinstance(value, list) or len(value) != 2 or not all(type(n) is int and n > 0 for n in value):
        got = say("weight_block_size is {value!r}.", value=value)
        raise WorkbookError(got, expected="two whole numbers, rows and columns.")
    return (value[0], value[1])


def stored_tensors(
    spec: TensorSpec, quantization: Quantization | None, dtype: str, whole: bool | None = None
) -> list[StoredTensor]:
    """What one tensor of the model becomes in a file quantized this way.

    `whole` (`stored.packed_words`) follows the version that the file names unless it is given.
    """
    plain = [StoredTensor(spec.name, spec.dtype or dtype, spec.shape)]
    if quantization is None:
        return plain
    module, shape = spec.module, spec.shape
    if quantization.method == "compressed-tensors":
        scheme, stored_as = quantization.scheme_for(module, spec.kind), spec.name.removesuffix(".weight")
        if scheme and stored_as != module:
            # A head that files and modules call differently is ignored by either name.
            scheme = quantization.scheme_for(stored_as, spec.kind)
        if scheme is None or scheme.weights is None:
            return plain
        whole = quantization.packs_whole_values if whole is None else whole
        return stored_linear(stored_as, shape, scheme, dtype, whole=whole)
    if quantization.method == "mxfp4":
        if spec.component != "experts" or len(shape) != 3 or quantization.skips(module):
            return plain
        experts, inputs, outputs = shape
        groups = math.ceil(inputs / 32)
        return [
            StoredTensor(f"{spec.name}_blocks", "U8", (experts, outputs, groups, 16)),
            StoredTensor(f"{spec.name}_scales", "U8", (experts, outputs, groups)),
        ]
    if spec.kind != "linear" or quantization.skips(module):
        return plain
    if quantization.form:
        return quantization.form.stored(module, shape, dtype)
    rows, columns = shape
    if quantization.method == "fp8":
        high, wide = quantization.block
        scales = (groups_of(rows, high), groups_of(columns, wide)) if high else (1,)
        parts = [("weight", "F8_E4M3", shape), ("weight_scale_inv", "F32", scales)]
    elif quantization.method in ("awq", "gptq"):
        # AWQ packs along the outputs, GPTQ along the inputs; both store the matrix transposed, [in, out].
        bits, awq = quantization.bits, quantization.method == "awq"
        groups, packed = groups_of(columns, quantization.group_size), rows * bits // 32
        weights = (columns, packed) if awq else (columns * bits // 32, rows)
        parts = [
            ("qweight", "I32", weights),
            ("qzeros", "I32", (groups, packed)),
            ("scales", "F16", (groups, rows)),
        ]
        parts += [] if awq else [("g_idx", "I32", (columns,))]
    else:
        return plain
    return [StoredTensor(f"{module}.{name}", kind, size) for name, kind, size in parts]


def presets_of(quantization: Quantization | None) -> list[tuple[str, Scheme | None]]:
    """(preset or "", scheme) of every group of a quantization_config; BF16 alone when nothing is quantized.

    mxfp4, fp8, AWQ and GPTQ files have the storage and the kernels of a preset, and no compressed-tensors scheme.
    bitsandbytes has kernels of its own.
    """
    if quantization is None:
        return [("BF16", None)]
    if quantization.method == "mxfp4":
        return [("MXFP4A16", None)]
    if quantization.method == "fp8":
        return [("FP8_BLOCK" if quantization.block[0] else "FP8_DYNAMIC", None)]
    if quantization.method in ("awq", "gptq"):
        return [(f"W{quantization.bits}A16", None)]
    return [(nearest_preset(scheme), scheme) for scheme, _ in quantization.groups if scheme.weights]


def preset_name(quantization: Quantization | None) -> str:
    """One name for a table: the preset, BF16 when nothing is quantized, "mixed" for several, "" for none known."""
    names = list(dict.fromkeys(name for name, _ in presets_of(quantization)))
    return names[0] if len(names) == 1 else MIXED if names else ""


def neediest(quantization: Quantization | None) -> str:
    """The preset that decides where a checkpoint runs: of several the one with most bits per weight; "" for none known."""
    found = presets_of(quantization)
    return max(found, key=lambda pair: pair[1].weights.num_bits if pair[1] else 0)[0] if found else ""
