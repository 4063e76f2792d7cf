"""Integers of 3, 5, 6 and 7 bits, packed by compressed-tensors before 0.17 and since."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.anatomy.logical import expectations, predict_as_stored
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.anatomy.safetensors_layout import write_plan
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.quantization.stored import packed_words


@pytest.mark.parametrize(
    ("bits", "before", "since"), [(2, 64, 64), (3, 103, 96), (4, 128, 128), (5, 171, 160), (6, 205, 192), (7, 256, 224), (8, 256, 256)]
)  # fmt: skip
def test_words_of_1024_inputs(bits, before, since):
    """A word of 32 bits holds 10, 6, 5 or 4 whole values of 3, 5, 6 or 7 bits."""
    assert (packed_words(1024, bits, whole=True), packed_words(1024, bits)) == (before, since)


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
def test_todays_packing_is_the_librarys(bits):
    torch = pytest.importorskip("torch")
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    packed = helpers.pack_to_int32(torch.zeros(4, 1000, dtype=torch.int8), bits)
    assert packed.shape == (4, packed_words(1000, bits))


def quantized(tiny: dict, bits: int, version: str = "", symmetric: bool = True) -> dict:
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": 64, "symmetric": symmetric}
    document = {
        "quant_method": "compressed-tensors",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }
    return {**tiny, "quantization_config": document | ({"version": version} if version else {})}


def packed_before(folder, config: dict):
    """A checkpoint as compressed-tensors 0.16 wrote it."""
    stored = [replace(one.tensor, name=name) for name, one in expectations(config, whole=True).items()]
    plain = predict_checkpoint(config)
    return write_sparse(folder, replace(plain, shards=tuple(write_plan(stored, 10**9))), config)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [3, 5, 6, 7])
@pytest.mark.parametrize("version", ["0.12.2", "0.12.3.a20251114", "0.19.0", ""])
def test_both_packings_are_sound_and_count_their_parameters(tmp_path, tiny, bits, version, symmetric):
    config = quantized(tiny, bits, version, symmetric)
    inspection = inspect_model(packed_before(tmp_path / "m", config))
    assert inspection.sound and inspection.total.logical == predict_checkpoint(tiny).parameters
    assert any("packed as compressed-tensors did before 0.17" in note for note in inspection.notes) is (
        version in ("0.19.0", "")
    )
    scheme = config["quantization_config"]["config_groups"]["group_0"]
    today = write_sparse(tmp_path / "n", predict_checkpoint(tiny, scheme), config)
    inspection = inspect_model(today)
    assert inspection.sound and inspection.total.logical == predict_checkpoint(tiny).parameters


def test_what_a_file_of_then_weighs_is_told_from_its_config(tmp_path, tiny):
    config = quantized(tiny, 3, "0.12.2")
    size = packed_before(tmp_path / "m", config).joinpath("model.safetensors").stat().st_size
    assert predict_as_stored(config)[1].file_bytes == size


def test_an_unknown_family_is_counted_by_weight_shape(tmp_path, tiny):
    config = quantized(tiny, 3)
    folder = packed_before(tmp_path / "m", config)
    (file,) = read_headers(folder).files
    shapes = {spec.module: spec.shape for spec in (one.spec for one in expectations(config).values())}
    with (folder / file.name).open("r+b") as handle:
        for entry in file.entries:
            if entry.name.endswith(".weight_shape"):
                handle.seek(8 + file.header_bytes + entry.begin)
                handle.write(struct.pack("<2q", *shapes[entry.name.removesuffix(".weight_shape")]))
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("exaone4", "brandnew"))
    assert inspect_model(folder).total.logical == predict_checkpoint(tiny).parameters


def test_what_cannot_be_told_is_not_guessed(tmp_path, tiny):
    folder = packed_before(tmp_path / "m", {**quantized(tiny, 3)})
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("exaone4", "brandnew"))
    assert inspect_model(folder).total.logical is None
