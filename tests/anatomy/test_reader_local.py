"""Checkpoints on this disk: folders, shards, single files, and the ways in which they can be wrong."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from exaone_nb.anatomy.inspection import inspect_model, require_sound
from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import INDEX, read_headers
from exaone_nb.anatomy.sparse import W4A16_CONFIG, write_sparse
from exaone_nb.errors import WorkbookError


@pytest.fixture
def sharded(tmp_path, tiny):
    return write_sparse(tmp_path / "model", predict_checkpoint(tiny, max_shard_size=700_000), tiny)


def test_shards_add_up_and_are_sound(sharded, tiny):
    steps = []
    checkpoint = read_headers(sharded, progress=lambda done, total: steps.append((done, total)))
    assert len(checkpoint.files) > 2
    assert steps[-1] == (len(checkpoint.files), len(checkpoint.files))
    for file in checkpoint.files:
        assert (
            file.file_bytes == (sharded / file.name).stat().st_size == 8 + file.header_bytes + file.data_bytes
        )
    assert checkpoint.findings == ()
    inspection = inspect_model(sharded)
    assert inspection.sound and not inspection.duplicates
    for key in (lambda row: row.component, lambda row: row.dtype, lambda row: row.layer):
        assert sum(total.bytes for total in inspection.by(key).values()) == checkpoint.data_bytes
    assert inspection.total.logical == predict_checkpoint(tiny).parameters


def test_a_single_file_is_read_alone(sharded):
    first = sorted(sharded.glob("*.safetensors"))[0]
    checkpoint = read_headers(first)
    assert [file.name for file in checkpoint.files] == [first.name]


def test_quantized_file_counts_its_logical_parameters(tmp_path, tiny):
    quantized = predict_checkpoint(tiny, "W4A16")
    folder = write_sparse(tmp_path / "q", quantized, {**tiny, "quantization_config": W4A16_CONFIG})
    inspection = inspect_model(folder)
    assert inspection.sound
    assert inspection.total.logical == quantized.parameters
    assert inspection.total.elements < quantized.parameters / 1.5
    assert "int4, one scale per 128 inputs" in inspection.quantization[0]


@pytest.mark.parametrize("order", ["group", "dynamic", True, "static", None])
def test_columns_that_are_reordered_at_run_time_store_their_groups(tmp_path, tiny, order):
    """`weight_g_idx`: there it is sound, and said which versions refuse it; without it the file is incomplete."""
    group = {**W4A16_CONFIG["config_groups"]["group_0"]}
    group["weights"] = {**group["weights"], "actorder": order}
    config = {**tiny, "quantization_config": {**W4A16_CONFIG, "config_groups": {"group_0": group}}}
    reordered = order in ("group", "dynamic", True)
    folder = write_sparse(tmp_path / "q", predict_as_stored(config)[1], config)
    inspection = inspect_model(folder)
    assert inspection.sound and inspection.total.logical == predict_checkpoint(tiny).parameters
    assert reordered is any("vLLM 0.32 refuse the file" in note for note in inspection.notes)
    incomplete = inspect_model(write_sparse(tmp_path / "p", predict_checkpoint(tiny, "W4A16"), config))
    assert len(incomplete.missing) == (21 if reordered else 0)
    assert all(name.endswith(".weight_g_idx") for name in incomplete.missing)


def test_scales_of_a_quantized_cache_are_expected(tmp_path, tiny):
    cache = {"num_bits": 8, "type": "float", "strategy": "attn_head", "dynamic": False, "symmetric": True}
    config = {**tiny, "quantization_config": {**W4A16_CONFIG, "kv_cache_scheme": cache}}
    folder = write_sparse(tmp_path / "q", predict_checkpoint(tiny, "W4A16", kv_cache=cache), config)
    inspection = inspect_model(folder)
    assert inspection.sound and inspection.total.logical == predict_checkpoint(tiny).parameters
    assert any("KV cache: fp8, one scale per attention head" in line for line in inspection.quantization)


def test_head_written_twice_is_found_and_compared(tmp_path, tiny):
    folder = write_sparse(tmp_path / "twice", predict_checkpoint(tiny, untied_head=True), tiny)
    (found,) = inspect_model(folder).duplicates
    assert (found.original, found.copy) == ("model.embed_tokens.weight", "lm_head.weight")
    assert found.bytes == 1000 * 256 * 2 and found.same_content is True
    assert inspect_model(folder).total.logical == predict_checkpoint(tiny).parameters
    file = read_headers(folder).files[0]
    head = next(entry for entry in file.entries if entry.name == "lm_head.weight")
    with (folder / file.name).open("r+b") as handle:  # the last byte of the copy now differs
        handle.seek(8 + file.header_bytes + head.end - 1)
        handle.write(b"\x01")
    assert inspect_model(folder).duplicates[0].same_content is False


def test_missing_left_over_and_wrong_shape_are_named(tmp_path, tiny):
    other = {
        **tiny,
        "num_hidden_layers": 2,
        "layer_types": ["full_attention"] * 2,
        "intermediate_size": 512,
    }
    folder = write_sparse(tmp_path / "m", predict_checkpoint(other), tiny)
    inspection = inspect_model(folder)
    assert len(inspection.missing) == 11 and all(".layers.2." in name for name in inspection.missing)
    wrong = {m.name: (m.left, m.right) for m in inspection.mismatches}
    assert wrong["model.layers.0.mlp.up_proj.weight"] == ((512, 256), (384, 256))
    with pytest.raises(WorkbookError, match="11 tensors are missing"):
        require_sound(inspection)
    folder = write_sparse(tmp_path / "n", predict_checkpoint(tiny), other)
    assert len(inspect_model(folder).extra) == 11


def _edit_index(folder, change):
    path = folder / INDEX
    document = json.loads(path.read_text())
    change(document["weight_map"])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "..", "a\\..\\b.safetensors", "C:x.safetensors", ""]
)
def test_index_outside_the_folder_is_refused(sharded, name):
    _edit_index(sharded, lambda weight_map: weight_map.update({"model.norm.weight": name}))
    with pytest.raises(WorkbookError, match="names the file"):
        read_headers(sharded)


def test_index_naming_a_pickle_is_refused(sharded):
    _edit_index(sharded, lambda weight_map: weight_map.update({"model.norm.weight": "pytorch_model.bin"}))
    with pytest.raises(WorkbookError, match="is a pickle"):
        read_headers(sharded)


def test_missing_shard_is_named(sharded):
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(WorkbookError, match=re.escape(f"no {gone.name}")):
        read_headers(sharded)


def test_index_that_disagrees_with_the_files_is_reported(sharded):
    def change(weight_map):
        weight_map["model.ghost.weight"] = weight_map["model.norm.weight"]
        del weight_map["model.embed_tokens.weight"]

    _edit_index(sharded, change)
    problems = [finding.text for finding in read_headers(sharded).problems]
    assert any("model.ghost.weight" in problem and "no file" in problem for problem in problems)
    assert any(
        "model.embed_tokens.weight" in problem and "not in the index" in problem for problem in problems
    )
    assert not inspect_model(sharded).sound


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', "{"])
def test_broken_index_is_refused(sharded, content):
    (sharded / INDEX).write_text(content)
    with pytest.raises(WorkbookError, match=re.escape(INDEX)):
        read_headers(sharded)


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickles_are_refused_unopened(tmp_path):
    for name in ("pytorch_model.bin", "model.pt", "renamed.safetensors"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps({"w": _Bomb()}))
        with pytest.raises(WorkbookError, match="is a pickle"):
            read_headers(path)
        path.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WorkbookError, match="is a pickle"):
        read_headers(tmp_path)


def test_cut_and_grown_files_are_refused(sharded):
    victim = sorted(sharded.glob("*.safetensors"))[0]
    whole = victim.stat().st_size
    for size, message in (
        (whole - 1, "1 fewer"),
        (whole + 1, "1 more"),
        (40, "claims a header"),
        (3, "has 3 bytes"),
    ):
        with victim.open("r+b") as handle:
            handle.truncate(size)
        with pytest.raises(WorkbookError, match=message):
            read_headers(sharded)


def test_empty_folder_says_what_is_missing(tmp_path):
    with pytest.raises(WorkbookError, match="no safetensors files"):
        read_headers(tmp_path)


def test_unknown_family_is_still_read_but_not_judged(tmp_path, tiny):
    folder = write_sparse(tmp_path / "m", predict_checkpoint(tiny), {**tiny, "model_type": "brandnew"})
    inspection = inspect_model(folder)
    assert "No layout for model_type 'brandnew'" in inspection.notes[0]
    assert inspection.total.logical == predict_checkpoint(tiny).parameters
    assert {"embedding", "attention", "mlp", "norm"} == set(inspection.by(lambda row: row.component))
