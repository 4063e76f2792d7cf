"""A model as its own config says it is stored: quantized already (gpt-oss, Kimi-K2-Thinking, a checkpoint made here) or not.

For `memory`, `speed`, `bench` and the scoreboard, which otherwise need a scheme.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.anatomy.predict import SHARD, Prediction, cache_scales, predict_checkpoint
from exaone_nb.anatomy.safetensors_layout import write_plan
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import model_dtype
from exaone_nb.messages import say
from exaone_nb.quantization.config import neediest, read_quantization, stored_tensors
from exaone_nb.quantization.effects import cache_bytes


def predict_as_stored(config: dict[str, Any], *, loaded: bool = False) -> tuple[str, Prediction]:
    """(name of the preset whose kernels decide, the tensors); the config's own dtype when nothing is quantized.

    `loaded` gives the tensors as vLLM holds them under `--dtype auto`: 32-bit weights become 16-bit ones. Raises WorkbookError for a quantization method whose storage or kernels are not known here.
    """
    quantization, dtype = read_quantization(config), model_dtype(config)
    if loaded and dtype not in ("BF16", "F16"):
        dtype = "BF16"
    plain = predict_checkpoint(config, "BF16", dtype=dtype)
    if quantization is None:
        return dtype, plain
    remedy = say("Name a scheme with --scheme to compute with it instead.")
    if not quantization.understood:
        raise WorkbookError(
            say(
                "The config is quantized by {method!r}, whose storage this workbook does not know.",
                method=quantization.method,
            ),
            remedy=remedy,
        )
    name = neediest(quantization)
    if not name:
        raise WorkbookError(
            say("No preset has the number formats of this quantization_config."), remedy=remedy
        )
    specs = expected_tensors(config)
    stored = [
        replace(tensor, component=spec.component, layer=spec.layer)
        for spec in specs
        for tensor in stored_tensors(spec, quantization, dtype)
    ]
    stored += cache_scales(config, specs, quantization.kv_cache, dtype)
    return name, replace(plain, shards=tuple(write_plan(stored, SHARD)))


def cache_dtype_bytes(config: dict[str, Any]) -> int:
    """Bytes of one cached value in today's vLLM, which follows the config's kv_cache_scheme."""
    quantization = read_quantization(config)
    return cache_bytes(quantization.kv_cache) if quantization else 2
