"""The index against the files, and which files each engine reads, asked of transformers and vLLM themselves."""

from __future__ import annotations

import json

import pytest

from exaone_nb.anatomy.index import INDEX, SINGLE, Index, read_by_transformers, read_by_vllm
from exaone_nb.anatomy.inspection import inspect_model, require_sound
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.errors import WorkbookError

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
LISTED = Index({"a": SHARDS[0], "b": SHARDS[1]})
FOLDERS = {
    "one file": ([SINGLE], None),
    "shards": (SHARDS, LISTED),
    "both": ([SINGLE, *SHARDS], LISTED),
    "an index that names the one file": ([SINGLE], Index({"a": SINGLE})),
    "an index that names the one file and another": ([SINGLE, "b.safetensors"], Index({"a": SINGLE, "b": "b.safetensors"})),
    "an adapter beside it": ([SINGLE, "adapter_model.safetensors"], None),
    "an adapter beside shards": ([*SHARDS, "adapter_model.safetensors"], LISTED),
    "shards without an index": (SHARDS, None),
    "what a Mac leaves": ([SINGLE, "._model.safetensors"], None),
    "Mistral's own format too": ([*SHARDS, "consolidated.safetensors"], LISTED),
}  # fmt: skip


def folder_of(tmp_path, present, index):
    for name in present:
        (tmp_path / name).write_bytes(b"")
    if index:
        document = {"metadata": {"total_size": 0}, "weight_map": index.weight_map}
        (tmp_path / INDEX).write_text(json.dumps(document))
    return tmp_path


def seen(name):
    """The files that are listed of a folder, and its index."""
    present, index = FOLDERS[name]
    return [name for name in present if not name.startswith(".")], index


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_reads_what_we_say(name, tmp_path):
    modeling = pytest.importorskip("transformers.modeling_utils")
    present, index = FOLDERS[name]
    folder = folder_of(tmp_path, present, index)
    try:
        found, _ = modeling._get_resolved_checkpoint_files(str(folder), None, None, True, None, False)
    except OSError:
        found = []
    assert {path.rpartition("/")[2] for path in found} == read_by_transformers(*seen(name))


@pytest.mark.heavy
@pytest.mark.parametrize("name", FOLDERS)
def test_vllm_reads_what_we_say(name, tmp_path):
    loader = pytest.importorskip("vllm.model_executor.model_loader.default_loader", reason="no vLLM here")
    from vllm.config.load import LoadConfig

    present, index = FOLDERS[name]
    folder = folder_of(tmp_path, present, index)
    _, files, *_ = loader.DefaultModelLoader(LoadConfig())._prepare_weights(
        str(folder), None, None, True, None
    )
    assert {path.rpartition("/")[2] for path in files} == read_by_vllm(*seen(name))


@pytest.fixture
def sharded(tmp_path, tiny):
    return write_sparse(tmp_path / "model", predict_checkpoint(tiny, max_shard_size=700_000), tiny)


def edit_index(folder, change):
    document = json.loads((folder / INDEX).read_text())
    change(document)
    (folder / INDEX).write_text(json.dumps(document))


@pytest.mark.parametrize("total", [1, 10**12, "many", 2.5, -3])
def test_a_total_that_is_not_the_sum_is_remarked_on(sharded, total):
    edit_index(sharded, lambda document: document["metadata"].update(total_size=total))
    inspection = inspect_model(sharded)
    assert inspection.sound and any("total_size" in note for note in inspection.notes)


@pytest.mark.parametrize("metadata", [None, {}, {"total_parameters": 5}])
def test_an_index_need_not_give_a_total(sharded, metadata):
    edit_index(sharded, lambda document: document.update(metadata=metadata))
    assert read_headers(sharded).findings == ()


def test_a_fault_of_the_index_is_mended_in_the_index(sharded):
    edit_index(
        sharded,
        lambda document: document["weight_map"].update(ghost=next(iter(document["weight_map"].values()))),
    )
    with pytest.raises(WorkbookError, match="ghost") as caught:
        require_sound(inspect_model(sharded))
    assert "Write the index again" in caught.value.remedy and "config.json" not in caught.value.remedy


def test_one_file_beside_shards_is_two_models(sharded, tmp_path, tiny):
    other = write_sparse(tmp_path / "other", predict_checkpoint(tiny), tiny)
    (sharded / SINGLE).write_bytes((other / SINGLE).read_bytes())
    inspection = inspect_model(sharded)
    (problem,) = inspection.index_problems
    assert f"transformers reads {SINGLE}, vLLM reads model-00001" in problem
    with pytest.raises(WorkbookError, match="Two sets of weights") as caught:
        require_sound(inspection)
    assert "Delete what is stale" in caught.value.remedy


def test_a_stale_index_is_not_a_missing_download(tmp_path, tiny):
    folder = write_sparse(tmp_path / "m", predict_checkpoint(tiny), tiny)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0]}}))
    with pytest.raises(WorkbookError, match="Two sets of weights") as caught:
        read_headers(folder)
    assert "Delete what is stale" in caught.value.remedy


def test_what_no_index_names_is_dead_and_what_vllm_takes_along_is_not(sharded, tmp_path, tiny):
    (sharded / "old.safetensors").write_bytes(next(sharded.glob("*.safetensors")).read_bytes())
    inspection = inspect_model(sharded)
    assert inspection.sound and any("Nothing reads old.safetensors" in note for note in inspection.notes)
    folder = write_sparse(tmp_path / "m", predict_checkpoint(tiny), tiny)
    (folder / "adapter_model.safetensors").write_bytes((folder / SINGLE).read_bytes())
    assert (
        "vLLM reads adapter_model.safetensors, model.safetensors" in inspect_model(folder).index_problems[0]
    )


def test_hidden_files_are_nobodys_weights(tmp_path, tiny):
    folder = write_sparse(tmp_path / "m", predict_checkpoint(tiny), tiny)
    (folder / "._model.safetensors").write_bytes(b"a Mac's own notes")
    assert inspect_model(folder).sound and not read_headers(folder).findings
