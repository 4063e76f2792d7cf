"""Checkpoints made on nano: what is written, what is found again, and what a failure leaves behind."""

from __future__ import annotations

import json
import shutil

import pytest

from exaone_nb.compress import llmcompressor_adapter, manifest
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.calibration import TextSource
from exaone_nb.errors import WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.threads import set_torch_threads
from tests.compress.quick import quick
from tests.page import gptq_functions

pytestmark = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
FEW = {"samples": 8, "length": 64}


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A finished w4a16_rtn checkpoint of nano and its manifest."""
    out = tmp_path_factory.mktemp("made") / "w4a16_rtn"
    return out, maker.quantize("nano", "w4a16_rtn", out)


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in recipes.names() if name != "w8a8_smoothquant"])
def test_every_recipe_that_fits_nano_is_made_and_weighs_what_was_predicted(tmp_path, name):
    document = maker.quantize("nano", quick(recipes.load(name)), tmp_path / name)
    assert document["actual_bytes"] == document["predicted_bytes"] and document["duplicates"] == []
    assert document["tied"]
    if name == "w4a16_embedding":  # one packed table for two places is more than transformers 5.17 can read
        assert any("cannot load it" in problem for problem in document["problems"])
    else:
        assert document["problems"] == [] and set(document["generations"]) == {"thinking_off", "thinking_on"}


@pytest.mark.heavy
def test_the_manifest_says_how_it_was_made(rounded):
    out, document = rounded
    assert manifest.finished(out, document["fingerprint"]) and not manifest.finished(out, "another")
    assert document["peak_bytes"] >= document["start_bytes"] > 0 and document["seconds"] > 0
    assert document["versions"]["llmcompressor"] and document["source_files"] and document["tokenizer"]
    assert (out / "recipe.yaml").is_file() and (out / "chat_template.jinja").is_file()
    assert not [p for p in out.parent.iterdir() if p != out]


@pytest.mark.heavy
def test_a_second_call_finds_the_finished_checkpoint_and_a_changed_file_is_made_again(rounded):
    out, document = rounded
    again = maker.quantize("nano", "w4a16_rtn", out)
    assert again["reused"] and again["made_at"] == document["made_at"]
    weights = out / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert not manifest.finished(out, document["fingerprint"])
    assert not maker.quantize("nano", "w4a16_rtn", out)["reused"]


@pytest.mark.heavy
def test_a_changed_template_or_config_of_the_model_is_another_model(tmp_path):
    source = shutil.copytree(NANO, tmp_path / "m2")
    out = tmp_path / "out"
    maker.quantize(source, "w4a16_rtn", out, sanity=False)
    for name, more in (("chat_template.jinja", "\n"), ("config.json", " "), ("tokenizer_config.json", " ")):
        (source / name).write_text((source / name).read_text() + more)
        assert not maker.quantize(source, "w4a16_rtn", out, sanity=False)["reused"], name
        assert maker.quantize(source, "w4a16_rtn", out, sanity=False)["reused"], name
    assert (out / "chat_template.jinja").read_text() == (source / "chat_template.jinja").read_text()
    # So is a checkpoint that lost a file, or whose template somebody changed.
    for name in ("tokenizer.json", "config.json"):
        (out / name).unlink()
        assert not maker.quantize(source, "w4a16_rtn", out, sanity=False)["reused"], name
        assert (out / name).is_file()
    assert {oct(path.stat().st_mode & 0o777) for path in out.iterdir()} == {"0o644"}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("truncated", r"m2 cannot be loaded \(SafetensorError"),
        ("no tokenizer", "no usable tokenizer"),
        ("no template", "no chat template"),
    ],
)
def test_a_broken_model_is_said_plainly(tmp_path, trouble, words):
    source = shutil.copytree(NANO, tmp_path / "m2")
    if trouble == "truncated":
        weights = (source / "model.safetensors").read_bytes()
        (source / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    elif trouble == "no template":
        (source / "chat_template.jinja").unlink()
    else:
        (source / "tokenizer.json").unlink()
    recipe = recipes.load("w4a16_gptq").with_calibration(**FEW)
    with pytest.raises(WorkbookError, match=words):
        maker.quantize(source, recipe, tmp_path / "out", sanity=False)
    assert [p.name for p in tmp_path.iterdir()] == ["m2"]


@pytest.mark.heavy
def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
    def full(recipe):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(llmcompressor_adapter, "build", full)
    with pytest.raises(WorkbookError, match="memory ran out while running w8a8"):
        maker.quantize("nano", "w8a8", tmp_path / "out")


@pytest.mark.heavy
def test_rounding_equals_the_five_lines(rounded):
    import torch

    from exaone_nb.compress import formats

    round_to_nearest, *_ = gptq_functions()
    for module in ("model.layers.0.self_attn.k_proj", "model.layers.3.mlp.down_proj"):
        codes, scale = round_to_nearest(formats.read_tensor(NANO, f"{module}.weight"), 128)
        stored, stored_scale = formats.stored_codes(rounded[0], module)
        assert torch.equal(codes.to(stored), stored) and torch.equal(scale, stored_scale)


@pytest.mark.heavy
def test_no_model_stays_in_memory(tmp_path):
    """On a card a model that stays takes the room of the next one, and is counted to its peak."""
    import gc

    from transformers import PreTrainedModel

    def loaded():
        gc.collect()
        return sum(issubclass(type(one), PreTrainedModel) for one in gc.get_objects())

    before = loaded()
    maker.quantize("nano", "w4a16_rtn", tmp_path / "out")
    assert loaded() <= before


@pytest.mark.heavy
def test_one_seed_gives_one_file_and_another_text_another(tmp_path, texts):
    def sha(path, **more):
        recipe = recipes.load("w4a16_gptq").with_calibration(**(FEW | more))
        document = maker.quantize("nano", recipe, tmp_path / path, sanity=False)
        return document["files"]["model.safetensors"]["sha256"]

    first = sha("a")
    assert first == sha("b")
    assert first != sha("c", sources=(TextSource(str(texts(8))),))


@pytest.mark.heavy
def test_a_refusal_of_llm_compressor_leaves_the_old_checkpoint(rounded, monkeypatch):
    out, _ = rounded
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def refuse(recipe):
        raise ValueError("no such observer")

    monkeypatch.setattr(llmcompressor_adapter, "build", refuse)
    with pytest.raises(WorkbookError, match=r"refused the recipe w8a8.*no such observer"):
        maker.quantize("nano", "w8a8", out)
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}
    assert [p.name for p in out.parent.iterdir()] == [out.name]


@pytest.mark.heavy
def test_the_manifest_names_the_threads(tmp_path):
    before = set_torch_threads(3)
    try:
        assert maker.quantize("nano", "w4a16_rtn", tmp_path / "made", sanity=False)["threads"] == 3
    finally:
        set_torch_threads(before)


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), WorkbookError)],
)
def test_an_interruption_or_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch, trouble, seen):
    out = tmp_path / "w8a8"
    out.mkdir()
    (out / "config.json").write_text("old")
    (out / manifest.NAME).write_text('{"fingerprint": "old", "files": {}}')

    def half(source, recipe, staging, **more):
        (staging / "model.safetensors").write_text("half")
        raise trouble

    monkeypatch.setattr(llmcompressor_adapter, "compress", half)
    with pytest.raises(seen, match=None if seen is KeyboardInterrupt else "disk became full"):
        maker.quantize("nano", "w8a8", out)
    assert (out / "config.json").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["w8a8"]


def test_too_little_disk_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    monkeypatch.setattr(llmcompressor_adapter, "compress", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(WorkbookError, match="Not enough disk space"):
        maker.quantize("nano", "w8a8", tmp_path / "out")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"method": "gptq", "scheme": "W4A16", "ignore": ["lm_head"], "calibration": {"source": "gone.jsonl"}}, "cannot be read"),
        ({"scheme": "W4A16", "ignore": ["lm_haed"]}, "lm_haed"),
        ({"scheme": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 96}}, "ignore": ["lm_head"]}, "96"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_loading(tmp_path, monkeypatch, recipe, words):
    monkeypatch.setattr(llmcompressor_adapter, "compress", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(WorkbookError, match=words):
        maker.quantize("nano", recipe, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_weights_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(NANO / "config.json", folder)
    with pytest.raises(WorkbookError, match=r"no \.safetensors"):
        maker.quantize(folder, "w8a8", tmp_path / "out")


def test_other_bytes_than_predicted_are_a_problem(tmp_path):
    from exaone_nb.compress.plan import make_plan

    shutil.copytree(NANO, tmp_path / "out")
    document = manifest.make(
        tmp_path / "out",
        plan=make_plan("nano", "w8a8"),
        fallback=[],
    )
    assert (
        document["actual_bytes"] != document["predicted_bytes"]
        and "predicted 3,704,064 bytes" in document["problems"][0]
    )


def test_a_manifest_that_is_no_manifest_is_ignored(tmp_path):
    (tmp_path / manifest.NAME).write_text("{")
    assert manifest.read(tmp_path) is None
    (tmp_path / manifest.NAME).write_text(json.dumps(["fingerprint"]))
    assert manifest.read(tmp_path) is None


def test_the_baseline_stands_beside_without_taking_disk(tmp_path):
    out = maker.copy_baseline("nano", tmp_path / "baseline")
    assert (out / "config.json").is_file() and (out / "model.safetensors").read_bytes() == (
        NANO / "model.safetensors"
    ).read_bytes()
    maker.copy_baseline("nano", out)
    assert [p.name for p in tmp_path.iterdir()] == ["baseline"]
