"""A checkpoint made again from its manifest: the same bytes, or the reason why not."""

from __future__ import annotations

import json
import shutil

import pytest

from exaone_nb.compress import again, llmcompressor_adapter, manifest
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.calibration import TextSource, tokenize
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import sha256_of
from exaone_nb.paths import NANO
from exaone_nb.threads import set_torch_threads

pytestmark = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)


def hashes(folder):
    return {path.name: sha256_of(path) for path in folder.iterdir() if path.name != manifest.NAME}


@pytest.mark.heavy
def test_one_text_at_three_paths_and_the_manifest_give_one_checkpoint(tmp_path, monkeypatch, texts):
    path = texts(12, "chats.jsonl")
    monkeypatch.chdir(tmp_path)
    made = {}
    for name in ("chats.jsonl", "./chats.jsonl", str(path)):
        recipe = recipes.load("w4a16_gptq").with_calibration(
            samples=6, length=48, sources=(TextSource(name),)
        )
        document = maker.quantize("nano", recipe, tmp_path / "made" / str(len(made)), sanity=False)
        made[name] = hashes(tmp_path / "made" / str(len(made)))
    first, *others = made.values()
    assert others == [first, first] and "model.safetensors" in first and "recipe.yaml" in first

    # The second machine has the model and the text elsewhere, and the text in another spelling.
    shutil.copytree(NANO, tmp_path / "elsewhere" / "model")
    moved = tmp_path / "elsewhere" / "moved.jsonl"
    moved.write_bytes(b"\n".join(reversed(path.read_bytes().splitlines())).replace(b"\n", b"\r\n"))
    path.unlink()
    before = set_torch_threads(document["threads"] + 1)
    try:
        with pytest.raises(WorkbookError, match=r"chats\.jsonl cannot be read"):
            again.make_again(tmp_path / "made" / "0", NANO, tmp_path / "new", sanity=False)
        remade = again.make_again(
            tmp_path / "made" / "0" / manifest.NAME,
            tmp_path / "elsewhere" / "model",
            tmp_path / "new",
            calibration=str(moved),
            sanity=False,
        )
    finally:
        set_torch_threads(before)
    assert remade["problems"] == [] and not remade["reused"] and remade["threads"] == document["threads"]
    assert hashes(tmp_path / "new") | {"recipe.yaml": ""} == first | {"recipe.yaml": ""}


def test_the_same_samples_threads_and_recipe_reach_the_library_again(tmp_path, monkeypatch, texts):
    """With a stand-in for llm-compressor that copies nano and notes what it was given."""
    import torch
    from transformers import AutoTokenizer

    given = []

    def note(source, recipe, out, **_):
        ids = tokenize(recipe.calibration, AutoTokenizer.from_pretrained(source))
        given.append((ids, torch.get_num_threads(), recipe.modifiers()))
        for name in ("model.safetensors", "config.json"):
            shutil.copy(NANO / name, out)
        return {
            "samples": len(ids),
            "tokens": sum(map(len, ids)),
            "threads": given[-1][1],
            "round_to_nearest_fallback": [],
        }

    monkeypatch.setattr(llmcompressor_adapter, "compress", note)
    path = texts(12, "chats.jsonl")
    recipe = recipes.load("w4a16_gptq").with_calibration(
        samples=6, length=48, sources=(TextSource(str(path)),)
    )
    first = maker.quantize("nano", recipe, tmp_path / "first", sanity=False)
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    path.unlink()
    before = set_torch_threads(first["threads"] + 1)
    try:
        made = again.make_again(
            tmp_path / "first", "nano", tmp_path / "new", calibration=str(moved), sanity=False
        )
        assert torch.get_num_threads() == first["threads"] + 1
    finally:
        set_torch_threads(before)
    assert given[0] == given[1] and len(given[0][0]) == 6
    assert made["problems"] == first["problems"] and not made["reused"]
    # And the finished checkpoint is found by its text, wherever that lies.
    elsewhere = recipe.with_calibration(sources=(TextSource(str(moved)),))
    assert maker.quantize("nano", elsewhere, tmp_path / "first", sanity=False)["reused"]


@pytest.mark.heavy
def test_another_result_is_a_problem_that_names_what_else_was_different(tmp_path):
    maker.quantize("nano", "w8a8", tmp_path / "w8a8", sanity=False)
    document = json.loads((tmp_path / "w8a8" / manifest.NAME).read_text())
    document["versions"]["torch"] = "2.9.0"
    document["files"]["model.safetensors"]["sha256"] = "0" * 64
    (tmp_path / "old.json").write_text(json.dumps(document))
    problems = again.make_again(tmp_path / "old.json", "nano", tmp_path / "new", sanity=False)["problems"]
    assert len(problems) == 1 and "model.safetensors" in problems[0] and "torch: 2.9.0 then" in problems[0]


@pytest.fixture
def described(tmp_path, texts):
    """A manifest as `quantize` writes it, of a checkpoint that need not be there."""
    recipe = recipes.load("w4a16_gptq").with_calibration(
        samples=6, length=48, sources=(TextSource(str(texts(12))),)
    )
    document = {
        "recipe_name": recipe.name,
        "recipe": recipe.effective(),
        "model": "nano",
        "source_files": maker.inputs_of(NANO),
        "calibration": {"fingerprint": recipe.calibration.fingerprint()},
        "versions": {},
        "threads": 1,
        "files": {},
        "beside": {},
    }

    def write(**changes):
        path = tmp_path / manifest.NAME
        path.write_text(json.dumps({k: v for k, v in (document | changes).items() if v != "DELETE"}))
        return path

    return write


def test_the_recipe_of_a_manifest_is_the_one_that_made_it(described):
    document = again.read(described())
    recipe = recipes.parse(document["recipe"], document["recipe_name"])
    assert recipe.effective() == recipes.parse(recipe.effective(), "x").effective()
    assert json.loads(json.dumps(recipe.effective())) == document["recipe"]


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"source_files": {"model.safetensors": "0"}}, WorkbookError, "files of nano are not those of the manifest: .*model.safetensors"),
        ({"calibration": {"fingerprint": "0"}}, WorkbookError, r"text .*text\.jsonl is not that of the manifest"),
        ({"threads": "DELETE"}, UsageError, "has no threads"),
        ({"source_files": [], "recipe": None}, UsageError, "has no recipe, source_files"),
        ({"recipe": {"scheme": "W4A61"}}, UsageError, "W4A61"),
    ],
)  # fmt: skip
def test_what_cannot_give_the_same_bytes_is_refused_before_loading(
    tmp_path, monkeypatch, described, changes, kind, words
):
    monkeypatch.setattr(llmcompressor_adapter, "compress", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(kind, match=words):
        again.make_again(described(**changes), "nano", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_no_manifest_is_refused(tmp_path):
    for text in ("{", "[1]", '{"baseline": true}'):
        (tmp_path / manifest.NAME).write_text(text)
        with pytest.raises(UsageError, match=r"quantize\.json of a checkpoint that this workbook made"):
            again.read(tmp_path)
    with pytest.raises(UsageError, match="There is no file"):
        again.read(tmp_path / "none.json")


def test_two_files_of_one_name_are_refused_and_one_that_is_named_twice_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, scheme in (("a", "W8A16"), ("b", "W4A16")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(f"scheme: {scheme}\n")
    (tmp_path / "b" / "Mine.yaml").write_text("scheme: FP8\n")
    (tmp_path / "b" / "baseline.yaml").write_text("scheme: FP8\n")
    (tmp_path / "b" / "w8a8.yaml").write_text("scheme: FP8\n")
    for pair in (("a/mine.yaml", "b/mine.yaml"), ("a/mine.yaml", "b/Mine.yaml"), ("w8a8", "b/w8a8.yaml")):
        with pytest.raises(UsageError, match=f"{pair[0]} and {pair[1]} have one name"):
            recipes.load_all(pair)
    with pytest.raises(UsageError, match=r"own baseline and b/baseline\.yaml have one name"):
        recipes.load_all(["b/baseline.yaml"], taken=["baseline"])
    found = recipes.load_all(["a/mine.yaml", "./a/mine.yaml", "w8a8", "w8a8"])
    assert list(found) == ["mine", "w8a8"] and found["mine"].groups[0].scheme == "W8A16"
