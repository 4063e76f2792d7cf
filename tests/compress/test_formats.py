from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exaone_nb.compress import formats
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.show.measured import record
from tests.page import gptq_functions

torch = pytest.importorskip("torch")


def test_the_fp8_grid_is_torchs():
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    theirs = np.unique(every[~every.isnan()].numpy())
    assert np.array_equal(formats.grid("fp8_e4m3"), theirs)


def test_the_fp4_grid_is_the_published_one():
    half = [0.5, 1, 1.5, 2, 3, 4, 6]
    assert formats.grid("fp4_e2m1").tolist() == [-v for v in reversed(half)] + [0.0] + half


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="int4"):
        formats.grid("int5")


def test_rounding_to_a_grid_takes_the_nearest_and_clips():
    values = np.array([-8.4, -0.3, 0.2, 0.26, 5.1, 100.0])
    assert formats.round_to_grid(values, "fp4_e2m1", 1.0).tolist() == [-6.0, -0.5, 0.0, 0.5, 6.0, 6.0]
    assert formats.round_to_grid(values, "int4", 2.0).tolist() == [-8.0, 0.0, 0.0, 0.0, 6.0, 14.0]


def test_stored_codes_are_those_that_the_library_packed(tmp_path):
    from compressed_tensors.compressors import pack_to_int32
    from safetensors.torch import save_file

    codes = torch.randint(-8, 8, (6, 40), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    parts = {
        "packed": pack_to_int32(codes, 4).contiguous(),
        "shape": torch.tensor([6, 40]),
        "scale": torch.ones(6, 1),
    }
    assert parts["packed"][0, 0] & 15 == codes[0, 0] + 8
    save_file(
        {f"layer.weight_{part}": value for part, value in parts.items()}, tmp_path / "model.safetensors"
    )
    stored, scale = formats.stored_codes(tmp_path, "layer")
    assert torch.equal(stored, codes) and torch.equal(scale, parts["scale"])


@pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_a_card_divides_in_float32_and_by_that_its_codes_differ_from_a_cpus(monkeypatch):
    """The right value was measured: nano rounded by llm-compressor on an H200 against the five lines on its CPU."""
    measured = record("nvidia-h200")["codes_equal_to_the_cpus"]
    weight = formats.read_tensor(NANO, f"{measured['module']}.weight")
    round_to_nearest, *_ = gptq_functions()
    here, scale = round_to_nearest(weight, 128)
    monkeypatch.setattr(formats, "division_dtype", lambda weight: torch.float32)
    there, same_scale = round_to_nearest(weight, 128)
    assert float((here == there).float().mean()) == measured["share"]
    assert torch.equal(scale, same_scale)


def test_the_library_divides_as_it_is_said_to():
    """`division_dtype` was read in compressed-tensors 0.19; this fails first when an upgrade changes it."""
    from compressed_tensors.quantization.lifecycle import forward_helpers as helpers

    source = Path(helpers.__file__).read_text(encoding="utf-8")
    assert "output = tl.div_rn(input.to(tl.float32), scale.to(tl.float32))" in source
    assert '@ImplBackend.register("_quantize", _quantize_triton_req, 0)' in source
    weight = torch.zeros(2, 2, dtype=torch.bfloat16)
    assert formats.division_dtype(weight) is torch.bfloat16


def test_a_missing_tensor_is_named(tmp_path):
    with pytest.raises(WorkbookError, match=r"model\.nothing"):
        formats.read_tensor(tmp_path, "model.nothing")


def test_a_zero_point_lays_the_grid_where_the_weights_are():
    values = np.linspace(-3, 1, 64)
    scale, zero = formats.fit(values, "int4 asymmetric")
    points = (formats.grid("int4") - zero) * scale
    assert points.min() == pytest.approx(-3, abs=scale.item() / 2) and points.max() == pytest.approx(
        1, abs=scale.item() / 2
    )
    assert 0 in points
    scale, zero = formats.fit(values, "int4")
    assert zero == 0 and (formats.grid("int4") * scale).max() > 2.5


def test_the_pictures_show_every_grid_and_every_sharing():
    import matplotlib

    matplotlib.use("agg")
    from exaone_nb.compress import pictures

    weights = np.random.default_rng(0).normal(size=(8, 256))
    weights[3, :128] = np.linspace(-3, 0.5, 128)
    group = pictures.lopsided_group(weights)
    assert np.array_equal(group, weights[3, :128])
    figure = pictures.rounded_group(group)
    labels = [label.get_text().split("\n") for label in figure.axes[0].get_yticklabels()]
    errors = {name: float(error.removeprefix("error ")) for name, error in labels}
    assert list(errors) == ["int4 symmetric", "int4 asymmetric", "fp4_e2m1", "int8", "fp8_e4m3"]
    assert errors["int8"] < errors["fp8_e4m3"] < errors["int4 asymmetric"] < errors["int4 symmetric"]
    names = [text.get_text() for text in pictures.shared_scales(weights).axes[0].get_legend().get_texts()]
    assert names == ["weights, magnitude", "one scale per tensor", "per channel", "per group of 128"]
    matplotlib.pyplot.close("all")
