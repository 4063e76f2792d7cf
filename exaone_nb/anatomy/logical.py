"""What a file with a given config stores, and the parameters that it stands for: packed words unpacked, scales set aside.

A W4A16 file of a 32-billion model holds about 5 billion elements, because eight weights share one int32; tools that
add up shapes report the 5.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors, linear_tensors
from exaone_nb.anatomy.predict import SHARD, Prediction, cache_scales, predict_checkpoint
from exaone_nb.anatomy.safetensors_layout import write_plan
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import model_dtype
from exaone_nb.messages import say
from exaone_nb.quantization.config import Quantization, neediest, read_quantization, stored_tensors
from exaone_nb.quantization.effects import cache_bytes
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.tensors import TensorSpec

# Tensors that describe other tensors and hold no parameters themselves.
OVERHEAD = re.compile(
    r"(\.(weight_scale|weight_zero_point|weight_global_scale|weight_shape|weight_g_idx|weight_scale_inv"
    r"|input_scale|input_zero_point|input_global_scale|output_scale|[qkv]_scale|[qkv]_zero_point"
    r"|qzeros|scales|g_idx|SCB|weight_format|weight\.(nested_)?(absmax|quant_map)|quant_state\.bitsandbytes__\w+)"
    r"|_scales)$"
)
BUFFER = re.compile(r"\.e_score_correction_bias$")
PACKED = re.compile(r"(\.(weight_packed|qweight)|_blocks)$")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One stored tensor that a config calls for. `logical` parameters are counted on the tensor that holds them."""

    tensor: StoredTensor
    spec: TensorSpec
    logical: int


def expectations(
    config: dict[str, Any], dtype: str = "", whole: bool | None = None
) -> dict[str, Expectation]:
    """Every tensor that a file with this config holds, by stored name; `dtype` replaces the config's own.

    `whole` is how integers are packed (`stored.packed_words`), by default as in the version that the config names.

    Raises WorkbookError for an unknown family.
    """
    quantization, dtype = read_quantization(config), dtype or model_dtype(config)
    found: dict[str, Expectation] = {}
    specs = expected_tensors(config)
    if quantization is not None and quantization.method == "compressed-tensors":
        specs = linear_tensors(config, rename=not quantization.packs_whole_values)
    for spec in specs:
        parameters = 0 if spec.buffer else spec.elements
        for tensor in stored_tensors(spec, quantization, dtype, whole):
            found[tensor.name] = Expectation(tensor, spec, 0 if OVERHEAD.search(tensor.name) else parameters)
    for scale in cache_scales(config, specs, quantization.kv_cache if quantization else None, dtype):
        module = scale.name.rpartition(".")[0]
        spec = TensorSpec(scale.name, scale.shape, "attention", scale.layer, module, "other", buffer=True)
        found[scale.name] = Expectation(scale, spec, 0)
    return found


def predict_as_stored(config: dict[str, Any], *, loaded: bool = False) -> tuple[str, Prediction]:
    """(name of the preset whose kernels decide, the tensors); the config's own dtype when nothing is quantized.

    `loaded` gives the tensors as vLLM holds them under `--dtype auto`: 32-bit weights become 16-bit ones. Raises
    WorkbookError for a quantization method whose storage or kernels are not known here.
    """
    quantization, dtype = read_quantization(config), model_dtype(config)
    if loaded and dtype not in ("BF16", "F16"):
        dtype = "BF16"
    if quantization is None:
        return dtype, predict_checkpoint(config, "BF16", dtype=dtype)
    name = neediest(quantization) if quantization.understood else ""
    if not name:
        raise WorkbookError(
            say("No preset has the number formats of this quantization_config.")
            if quantization.understood
            else say(
                "The config is quantized by {method!r}, whose storage this workbook does not know.",
                method=quantization.method,
            ),
            remedy=say("Name a scheme with --scheme to compute with it instead."),
        )
    return name, predict_stored(config, dtype)


def predict_stored(config: dict[str, Any], dtype: str = "") -> Prediction:
    """The files of a checkpoint with this config as it is quantized, whatever runs it; `dtype` replaces the config's own.

    With bitsandbytes' double quantization up to `bitsandbytes.OFFSET_BYTES` per matrix are a guess.
    """
    dtype = dtype or model_dtype(config)
    stored = [
        StoredTensor(name, each.tensor.dtype, each.tensor.shape, each.spec.component, each.spec.layer)
        for name, each in expectations(config, dtype).items()
    ]
    plain = predict_checkpoint(config, "BF16", dtype=dtype)
    return replace(plain, shards=tuple(write_plan(stored, SHARD)))


def cache_dtype_bytes(config: dict[str, Any]) -> int:
    """Bytes of one cached value in today's vLLM, which follows the config's kv_cache_scheme."""
    quantization = read_quantization(config)
    return cache_bytes(quantization.kv_cache) if quantization else 2


def logical_elements(
    entry: Any, quantization: Quantization | None, expected: Expectation | None
) -> int | None:
    """Parameters that one stored tensor stands for; 0 for scales and buffers; None when its packing is not known.

    `entry` has name, dtype and shape. Where the config calls for exactly this tensor, its own size decides (a packed
    row may end in unused bits).
    """
    if expected is not None and expected.tensor.shape == tuple(entry.shape):
        return expected.logical
    name = entry.name
    if OVERHEAD.search(name) or BUFFER.search(name):
        return 0
    stored = math.prod(entry.shape)
    if quantization is not None and quantization.form and entry.dtype == "U8":
        return stored * 2
    if not PACKED.search(name):
        return stored
    if entry.dtype == "U8":
        return stored * 2
    bits = _bits(name.rpartition(".")[0], quantization)
    if bits and 32 % bits and not quantization.bits:
        return None  # compressed-tensors: two ways to pack, and unused bits in either
    return stored * 32 // bits if bits else None


def _bits(module: str, quantization: Quantization | None) -> int | None:
    if quantization is None or quantization.bits:
        return quantization and quantization.bits
    scheme = quantization.scheme_for(module, "head" if module.endswith("lm_head") else "linear")
    if scheme is None and len(quantization.groups) == 1:
        scheme = quantization.groups[0][0]
    return scheme.weights.num_bits if scheme and scheme.weights else None
