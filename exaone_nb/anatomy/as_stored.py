"""A model as its own config says it is stored: quantized already (gpt-oss, Kimi-K2-Thinking, chapter 05's output) or not.

For `memory` and `speed`, which otherwise ask for a scheme.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.anatomy.safetensors_layout import write_plan
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.config import Quantization, read_quantization, stored_tensors
from exaone_nb.quantization.schemes import SCHEMES, QuantArgs

SHARD = 20_000_000_000


def predict_as_stored(config: dict[str, Any]) -> tuple[str, Prediction]:
    """(name of the scheme for the kernel table, the tensors). BF16 when the config has no quantization_config.

    Raises WorkbookError for a quantization method whose storage or kernels are not known here.
    """
    quantization = read_quantization(config)
    if quantization is None:
        return "BF16", predict_checkpoint(config, "BF16")
    if not quantization.understood:
        raise WorkbookError(
            f"The config is quantized by {quantization.method!r}, whose storage this workbook does not know.",
            remedy="Name a scheme with --scheme to compute with it instead.",
        )
    specs = expected_tensors(config)
    stored = [
        replace(tensor, component=spec.component, layer=spec.layer)
        for spec in specs
        for tensor in stored_tensors(spec, quantization, "BF16")
    ]
    plain = predict_checkpoint(config, "BF16")
    return nearest_preset(quantization), replace(plain, shards=tuple(write_plan(stored, SHARD)))


def nearest_preset(quantization: Quantization) -> str:
    """The LLM Compressor preset whose kernels run this storage. Raises WorkbookError when there is none.

    The group size may differ; of a mixed recipe the group with the most bits per weight decides, for it needs most.
    """
    if quantization.method == "mxfp4":
        return "MXFP4A16"
    if quantization.method == "fp8":
        return "FP8_BLOCK" if quantization.block[0] else "FP8_DYNAMIC"
    if quantization.method in ("awq", "gptq"):
        return f"W{quantization.bits}A16"
    schemes = sorted(
        (scheme for scheme, _ in quantization.groups if scheme.weights),
        key=lambda scheme: -scheme.weights.num_bits,
    )
    for scheme in schemes:
        for preset in SCHEMES.values():
            if (
                preset.weights
                and _alike(scheme.weights, preset.weights)
                and (_alike(scheme.activations, preset.activations))
            ):
                return preset.name
    raise WorkbookError(
        "No preset has the number formats of this quantization_config.",
        remedy="Name a scheme with --scheme to compute with it instead.",
    )


def _alike(mine: QuantArgs | None, theirs: QuantArgs | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs

    def key(args: QuantArgs) -> tuple[Any, ...]:
        micro = (
            args.scale_dtype if args.type == "float" and args.strategy in ("group", "tensor_group") else ""
        )
        return args.num_bits, args.type, args.strategy, args.symmetric, bool(args.dynamic), micro

    return key(mine) == key(theirs)
