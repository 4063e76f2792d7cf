"""What `vllm_adapter` and `options` take for granted, looked up in the installed vLLM: an upgrade fails here first."""

import importlib.util
import sys
import types

import pytest

from exaone_nb import catalog
from exaone_nb.engines import options, vllm_adapter
from exaone_nb.engines.dummy import shape_folder
from exaone_nb.engines.options import choose_dtype
from exaone_nb.errors import UsageError, WorkbookError

pytestmark = pytest.mark.heavy
PATHS = [path for paths in vllm_adapter.PRIVATE.values() for path in paths]


@pytest.fixture(params=["BF16", "W8A8", "W4A16", "FP8_DYNAMIC"])
def engine(request):
    from exaone_nb.engines.vllm_engine import VllmEngine

    config = catalog.resolve("nano").config()
    with (
        shape_folder(config, request.param) as folder,
        VllmEngine(folder, dummy_weights=True, max_model_len=64, threads=1, kv_cache_gib=0.125) as opened,
    ):
        yield request.param, opened


KERNELS = {
    "BF16": "UnquantizedLinearMethod",
    "W8A8": "CPUInt8ScaledMMLinearKernel",
    "W4A16": "CPUWNA16LinearKernel",
    "FP8_DYNAMIC": "ChannelWiseTorchFP8ScaledMMLinearKernel",
}


def test_private_parts_are_there_and_the_layers_name_their_kernel(engine, monkeypatch):
    import torch

    if torch.cuda.is_available() or not torch.cpu._is_avx512_supported():
        pytest.skip("The names are those of an x86 CPU with AVX-512.")
    scheme, opened = engine
    for path in PATHS:
        vllm_adapter.follow(path, opened._llm)
    amx = torch.cpu._is_amx_tile_supported()
    if scheme != "FP8_DYNAMIC" or not amx:  # with AMX another kernel takes that one
        assert opened.kernel == KERNELS[scheme]
    assert opened.kernels.int8_activations == (scheme == "W4A16" and amx)
    model = opened._llm.llm_engine.model_executor.driver_worker.get_model()
    layer = model.model.layers[0].mlp.down_proj
    assert hasattr(layer, "use_w4a8") == (scheme == "W4A16")
    layer.use_w4a8 = True
    assert vllm_adapter.kernels_of(opened._llm).int8_activations
    # Where layers cannot be told apart, nothing is guessed.
    monkeypatch.setitem(vllm_adapter.PRIVATE, "layer kinds", ("vllm.model_executor.layers.linear:Renamed",))
    assert vllm_adapter.kernels_of(opened._llm).label == "unknown"


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("LLM:")])
def test_a_name_that_is_gone_is_said_with_the_version(path):
    assert vllm_adapter.follow(path) is not None
    with pytest.raises(WorkbookError, match=r"vLLM 0\.32.* has no .*Gone") as caught:
        vllm_adapter.follow(path + "Gone")
    assert vllm_adapter.CHECKED_AGAINST in caught.value.expected
    assert vllm_adapter.version().startswith(vllm_adapter.CHECKED_AGAINST)


def vllms_choice(monkeypatch, family: str, stored: str, capability: float | None) -> str:
    """What vLLM makes of dtype auto on a platform of that capability, by its own code."""
    import torch
    from transformers import PretrainedConfig
    from vllm.config import model as source

    if capability is None:
        from vllm.platforms.cpu import CpuPlatform as Platform
    else:
        kernels = "vllm._C_stable_libtorch"  # a CPU's vLLM has none, and no rule here needs them
        if kernels not in sys.modules and importlib.util.find_spec(kernels) is None:
            monkeypatch.setitem(sys.modules, kernels, types.ModuleType(kernels))
        from vllm.platforms.cuda import NonNvmlCudaPlatform

        class Platform(NonNvmlCudaPlatform):
            @classmethod
            def has_device_capability(cls, wanted, device_id=0):
                return capability * 10 >= wanted

            @classmethod
            def get_device_name(cls, device_id=0):
                return "a card"

            @classmethod
            def get_device_capability(cls, device_id=0):
                return None

    monkeypatch.setattr(source, "current_platform", Platform())
    config = PretrainedConfig(dtype=getattr(torch, stored))
    config.model_type = family
    found = source._get_and_verify_dtype("a model", config, "auto", is_pooling_model=False)
    return str(found).removeprefix("torch.")


@pytest.mark.parametrize("capability", [None, 5.2, 6.1, 7.5, 8.0, 8.9, 10.0])
@pytest.mark.parametrize("stored", ["bfloat16", "float16", "float32"])
def test_auto_is_what_vllm_takes(monkeypatch, capability, stored):
    for family in ("exaone4", "exaone_moe", "qwen3", "llama", "gemma2", "gemma3", "gemma3_text", "glm4"):
        ours, why = choose_dtype({"model_type": family, "dtype": stored}, capability)
        assert ours == vllms_choice(monkeypatch, family, stored, capability), (family, why)
        assert why


def test_the_families_that_vllm_refuses_in_float16_are_those():
    from vllm.config.model import _FLOAT16_NOT_SUPPORTED_MODELS

    assert set(options.WITHOUT_FLOAT16) == set(_FLOAT16_NOT_SUPPORTED_MODELS)
    with pytest.raises(UsageError, match="numerically unstable") as caught:
        choose_dtype({"model_type": "gemma3"}, 8.9, "float16")
    assert "bfloat16 or float32" in caught.value.expected
