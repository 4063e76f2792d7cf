"""The capability limits of data/kernel_support.yaml against the installed vLLM's own scheme classes."""

from __future__ import annotations

import pytest

from exaone_nb.hardware import Machine
from exaone_nb.quantization import kernels
from exaone_nb.quantization.schemes import find_scheme

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


def test_group_sizes_of_the_kernels() -> None:
    marlin = pytest.importorskip("vllm.model_executor.layers.quantization.utils.marlin_utils")
    import torch
    from vllm.model_executor.layers.quantization.utils.machete_utils import (
        query_machete_supported_group_sizes,
    )

    ours = {
        name: {size or -1 for size in sizes}
        for name, sizes in kernels.rules()["groups"].items()
        if sizes != "any"
    }
    assert ours == {
        "Marlin": set(marlin.MARLIN_SUPPORTED_GROUP_SIZES),
        "Machete": set(query_machete_supported_group_sizes(torch.bfloat16)),
    }


@pytest.mark.parametrize("side", [16, 32, 48, 64, 576])
@pytest.mark.parametrize("group", [-1, 32, 64, 128])
def test_what_the_cpu_kernel_takes(side: int, group: int, monkeypatch) -> None:
    cpu = pytest.importorskip("vllm.model_executor.kernels.linear.mixed_precision.cpu")
    import torch
    from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearLayerConfig
    from vllm.scalar_type import scalar_types

    monkeypatch.setattr(cpu.current_platform, "is_cpu", lambda: True)
    config = MPLinearLayerConfig((128, side), (128, side), scalar_types.uint4b8, torch.bfloat16, group, False)
    theirs, _ = cpu.CPUWNA16LinearKernel.can_implement(config)
    args = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": group, "symmetric": True}
    if group == -1:
        args |= {"strategy": "channel"}
    found = kernels.support(find_scheme({"weights": args}), Machine("cpu"), shapes={"m": (side, 128)})
    assert (found.answer == "yes") is theirs


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("scheme, kernel", [("W4A16", "CPUExpertsInt4"), ("W8A8", "CPUExpertsInt8")])
def test_experts_on_a_cpu(scheme: str, kernel: str, amx: bool, monkeypatch) -> None:
    experts = pytest.importorskip(
        "vllm.model_executor.layers.fused_moe.experts.cpu_moe", reason="vLLM is not installed here"
    )
    monkeypatch.setattr(experts.current_platform, "is_cpu", lambda: True)
    monkeypatch.setattr(experts.current_platform, "get_cpu_architecture", lambda: experts.CpuArchEnum.X86)
    monkeypatch.setattr(experts.torch.cpu, "_is_amx_tile_supported", lambda: amx)
    machine = Machine("cpu", flags=frozenset({"amx_tile"} if amx else ()))
    runs = getattr(experts, kernel)._supports_current_device()
    assert runs is amx and bool(kernels.experts_refusal(find_scheme(scheme), machine)) is not runs
