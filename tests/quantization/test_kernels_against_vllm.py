"""The capability limits of data/kernel_support.yaml against the installed vLLM's own scheme classes."""

from __future__ import annotations

import pytest

from exaone_nb.quantization import kernels

pytestmark = pytest.mark.heavy

FOLDER = "vllm.model_executor.layers.quantization.compressed_tensors.schemes"
CLASSES = {
    "W4A16": "CompressedTensorsWNA16",
    "W4A16_ASYM": "CompressedTensorsWNA16",
    "W8A16": "CompressedTensorsWNA16",
    "W3A16": "CompressedTensorsWNA16",
    "W8A8": "CompressedTensorsW8A8Int8",
    "W4AFP8": "CompressedTensorsW4A8Fp8",
    "NVFP4A16": "CompressedTensorsW4A4Fp4",
    "NVFP4": "CompressedTensorsW4A4Fp4",
    "MXFP4": "CompressedTensorsW4A4Mxfp4",
    "MXFP8": "CompressedTensorsW8A8Mxfp8",
}


def _least(name: str) -> float:
    schemes = pytest.importorskip(FOLDER, reason="vLLM is not installed here")
    return getattr(schemes, name).get_min_capability() / 10


@pytest.mark.parametrize("scheme", sorted(CLASSES))
def test_least_capability(scheme: str) -> None:
    rule = kernels.rules()["schemes"][scheme]
    assert min(entry["from"] for entry in rule["cuda"]) == _least(CLASSES[scheme])


@pytest.mark.parametrize("scheme", ["FP8", "FP8_DYNAMIC", "FP8_BLOCK"])
def test_fp8_arithmetic_and_its_weight_only_fallback(scheme: str) -> None:
    starts = {entry["compute"]: entry["from"] for entry in kernels.rules()["schemes"][scheme]["cuda"]}
    assert starts["fp8"] == _least("CompressedTensorsW8A8Fp8")
    assert starts["16-bit"] == _least("CompressedTensorsW8A16Fp8")
