"""The kernel is what the loaded layers hold; test_contract.py asks really loaded models."""

import types

from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.vllm_adapter import Kernels


class Method:
    """Stands for vLLM's kinds of method that multiply."""


class MarlinExperts:
    """The class that vLLM 0.32 logs as "Using MarlinExperts for MXFP4 MoE"."""


class MarlinLinearKernel:
    """A kernel that a scheme holds as an object."""


def model_of(*layers):
    return types.SimpleNamespace(modules=lambda: [types.SimpleNamespace(**layer) for layer in layers])


def kernels(monkeypatch, *layers):
    monkeypatch.setattr(vllm_adapter, "private", lambda purpose: [Method])
    llm = types.SimpleNamespace(apply_model=lambda ask: [ask(model_of(*layers))])
    return vllm_adapter.kernels_of(llm)


def test_linear_layers_experts_and_what_multiplies_without_a_kernel(monkeypatch):
    experts = Method()
    experts.experts_cls = MarlinExperts
    scheme = types.SimpleNamespace(kernel=MarlinLinearKernel())
    layers = [
        {"quant_method": Method(), "scheme": scheme},
        {"quant_method": experts},
        {"quant_method": object()},
        {},
    ]
    assert kernels(monkeypatch, *layers).names == ("MarlinLinearKernel", "MarlinExperts")
    assert kernels(monkeypatch, {"quant_method": Method()}).label == "Method"
    assert kernels(monkeypatch).label == Kernels(()).label == "unknown"


def test_activations_that_are_rounded_to_eight_bits_are_noticed(monkeypatch):
    scheme = types.SimpleNamespace(kernel=MarlinLinearKernel())
    layer = {"quant_method": Method(), "scheme": scheme}
    assert kernels(monkeypatch, layer, layer | {"use_w4a8": True}).int8_activations
    assert not kernels(monkeypatch, layer | {"use_w4a8": False}).int8_activations
