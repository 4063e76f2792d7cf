"""Ranking schemes on a model's shape: how many layers, and what happens to a scheme that does not run here."""

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.serve import shapes
from exaone_nb.serve.bench import BenchOptions


@pytest.fixture
def asked(monkeypatch):
    """What `bench` was asked, and how; W8A8 does not run."""
    seen = []

    def bench(shape, options):
        if options.scheme == "W8A8":
            raise WorkbookError("vLLM cannot run W8A8 on this device: no kernel.")
        seen.append((shape, options.scheme, options.layers, options.weights))
        return options.scheme

    monkeypatch.setattr(shapes, "bench", bench)
    monkeypatch.setattr(shapes, "pooled", lambda rounds: rounds[0])
    return seen


@pytest.mark.parametrize(
    ("gpu", "layers", "taken"), [(True, 0, 0), (False, 0, 4), (True, 2, 2), (False, 30, 30)]
)
def test_a_gpu_is_given_all_layers_and_a_cpu_four(monkeypatch, asked, gpu, layers, taken):
    monkeypatch.setattr(shapes, "has_gpu", lambda: gpu)
    assert shapes.measure_shape("nano", ["BF16"], BenchOptions(weights="dummy", layers=layers)) == ["BF16"]
    assert asked == [("nano", "BF16", taken, "dummy")] * 3


def test_a_scheme_without_a_kernel_is_left_out_and_said(monkeypatch, asked):
    monkeypatch.setattr(shapes, "has_gpu", lambda: False)
    said = []
    found = shapes.measure_shape(
        "nano", ["BF16", "W8A8", "W4A16"], BenchOptions(weights="dummy"), report=said.append
    )
    assert found == ["BF16", "W4A16"]
    assert said == ["W8A8 is left out: vLLM cannot run W8A8 on this device: no kernel."]
