"""pack and check: every defect is planted once in a good model, and must be found by name."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exaone_nb.anatomy.logical import expectations
from exaone_nb.catalog import weights_folder
from exaone_nb.cli import command_line
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.score.submission import archive
from exaone_nb.score.submission.check import boot_in_vllm, check
from exaone_nb.score.submission.pack import pack
from tests.score.submissions import CONFIG, W8A8, edit, make_model, quantized, write, write_weights


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "good")


def failures(report) -> set[str]:
    return {finding.code for finding in report.findings if finding.level == "error"}


def warnings(report) -> set[str]:
    return {finding.code for finding in report.findings if finding.level == "warning"}


def zipped(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return path


def test_a_good_model_passes_as_folder_and_as_zip(model, tmp_path):
    assert check(model, load=False).passed
    packed = pack(model, tmp_path / "submit.zip")
    report = check(packed.path, load=False)
    assert report.passed
    assert {name.split("/")[0] for name in zipfile.ZipFile(packed.path).namelist()} == {"model"}
    # The only remark about a good practice model is that it is not the 1.2B.
    assert warnings(report) == {"base model"}


def test_packing_twice_gives_the_same_bytes_whatever_the_dates(model, tmp_path):
    first = pack(model, tmp_path / "a.zip").sha256
    copy = tmp_path / "copied elsewhere"
    shutil.copytree(model, copy)
    for path in copy.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    second = pack(copy, tmp_path / "b.zip")
    assert second.sha256 == first == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()


def test_the_manifest_holds_the_hash_of_every_file(model, tmp_path):
    packed = pack(model, tmp_path / "submit.zip", licence=Path(__file__))
    with zipfile.ZipFile(packed.path) as made:
        assert {entry.date_time for entry in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        manifest = json.loads(made.read("model/submission.json"))
        assert {f"model/{n}" for n in manifest["files"]} | {"model/submission.json"} == set(made.namelist())
        for name, entry in manifest["files"].items():
            content = made.read(f"model/{name}")
            assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
        assert made.read("model/LICENSE") == Path(__file__).read_bytes()


def test_packing_follows_links_and_leaves_rubbish_out(model, tmp_path):
    blob = tmp_path / "blob"
    (model / "model.safetensors").rename(blob)
    (model / "model.safetensors").symlink_to(blob)
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "x.pyc").write_bytes(b"x")
    (model / ".secret").write_text("x")
    packed = pack(model, tmp_path / "submit.zip")
    with zipfile.ZipFile(packed.path) as made:
        assert made.read("model/model.safetensors") == blob.read_bytes()
    assert set(packed.left_out) == {"__pycache__/x.pyc", ".secret"}
    assert check(packed.path, load=False).passed


def test_a_file_above_two_gigabytes_gets_a_zip64_entry(monkeypatch, tmp_path):
    from exaone_nb.score.submission import pack as module

    monkeypatch.setattr(module, "_object", lambda path: {})
    # 2 GB need not be written to see that the entry may grow past 4 GB: the local header says so.
    monkeypatch.setattr(module.shutil, "copyfileobj", lambda source, sink, size: sink.write(b"x"))
    big = tmp_path / "big"
    with open(big, "wb") as handle:
        handle.truncate(2**31)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as target:
        module._add(target, "model/big", big)
    local_header = (tmp_path / "z.zip").read_bytes()[:30]
    assert struct.unpack("<4sHHHHHIIIHH", local_header)[-1] == 20  # length of the zip64 extra field


def test_old_libraries_get_the_names_they_know(model, tmp_path):
    rope = {"rope_theta": 1e6, "rope_type": "llama3", "factor": 16.0}
    edit(
        model / "config.json",
        rope_theta="DELETE",
        rope_parameters=rope,
        torch_dtype="DELETE",
        dtype="bfloat16",
    )
    write(
        model / "tokenizer_config.json",
        {
            "backend": "tokenizers",
            "tokenizer_class": "TokenizersBackend",
            "extra_special_tokens": ["[|user|]"],
        },
    )
    report = check(model, load=False)
    assert failures(report) == {"old libraries"}
    assert sum(f.code == "old libraries" for f in report.findings) == 5
    packed = pack(model, tmp_path / "submit.zip")
    assert check(packed.path, load=False).passed
    with zipfile.ZipFile(packed.path) as made:
        config = json.loads(made.read("model/config.json"))
        tokenizer = json.loads(made.read("model/tokenizer_config.json"))
    assert config["rope_theta"] == 1e6
    assert config["rope_scaling"] == {"rope_type": "llama3", "factor": 16.0}
    assert (config["torch_dtype"], config["dtype"]) == ("bfloat16", "bfloat16")
    assert tokenizer == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["[|user|]"],
        "model_input_names": ["input_ids", "attention_mask"],
    }
    assert len(packed.changed) == 5
    assert not [f for f in packed.warnings if f.code == "old libraries"]
    with pytest.raises(WorkbookError, match="under rope_parameters only"):
        pack(model, tmp_path / "plain.zip", adapt=False)
    assert not (tmp_path / "plain.zip").exists()


WRONG_MODELS = {
    "lm_head quantized": ({"quantization_config": quantized(ignore=[])}, "head-by-class"),
    "W4A8": (
        {
            "quantization_config": quantized(
                weights={"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
            )
        },
        "kernels",
    ),
    "W4AFP8": (
        {
            "quantization_config": quantized(
                weights={"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128},
                input_activations={"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
            )
        },
        "kernels",
    ),
    "one scale per tensor": (
        {
            "quantization_config": quantized(
                weights={"num_bits": 4, "type": "int", "strategy": "tensor"}, input_activations=None
            )
        },
        "kernels",
    ),
    "MXFP8": (
        {
            "quantization_config": quantized(
                weights={
                    "num_bits": 8,
                    "type": "float",
                    "strategy": "group",
                    "group_size": 32,
                    "scale_dtype": "torch.uint8",
                },
                input_activations=None,
            )
        },
        "kernels",
    ),
    "3 bits": (
        {
            "quantization_config": quantized(
                weights={"num_bits": 3, "type": "int", "strategy": "group", "group_size": 128},
                input_activations=None,
            )
        },
        "kernels",
    ),
    "2:4": ({"quantization_config": quantized(sparsity_config={"sparsity_structure": "2:4"})}, "kernels"),
    "a field nobody knows": (
        {
            "quantization_config": quantized(
                weights=W8A8["config_groups"]["group_0"]["weights"] | {"group_size_hint": 64}
            )
        },
        "quantization",
    ),
    "nothing matches": ({"quantization_config": quantized(targets=["re:model.decoder.*"])}, "nothing"),
    "embedding quantized": (
        {"quantization_config": quantized(targets=["Linear", "Embedding"])},
        "embedding-by-class",
    ),
    "v_proj left out": (
        {"quantization_config": quantized(ignore=["lm_head", "re:.*v_proj$"])},
        "fused-split",
    ),
    "layer_types too long": ({"layer_types": ["full_attention"] * 3}, "layer_types"),
    "untied without a head": ({"tie_word_embeddings": False}, "tied head"),
    "a layer that is not there": ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "weights"),
    "other widths": ({"intermediate_size": 512}, "weights"),
    "another family": ({"model_type": "qwen3"}, "base model"),
}


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_a_wrong_config_fails_with_a_remedy(name, tmp_path):
    changes, expected = WRONG_MODELS[name]
    model = make_model(tmp_path / "m", **changes)
    report = check(model, load=False)
    assert expected in failures(report)
    assert all(f.remedy for f in report.findings if f.level == "error")
    with pytest.raises(WorkbookError, match="Not packed"):
        pack(model, tmp_path / "submit.zip")
    assert not (tmp_path / "submit.zip").exists()


ORDERED = {"num_bits": 8, "type": "int", "strategy": "channel", "actorder": "static"}
NO_EFFECT = {
    "activation order per channel": (quantized(weights=ORDERED, version="0.13.0"), "setting-actorder"),
    "cache scheme": (
        quantized(kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True}),
        "kv-cache-ignored",
    ),
    "embedding in ignore": (quantized(ignore=["lm_head", "model.embed_tokens"]), "ignore-untargeted"),
}


@pytest.mark.parametrize("name", NO_EFFECT)
def test_a_setting_without_effect_is_named(name, tmp_path):
    document, code = NO_EFFECT[name]
    model = make_model(tmp_path / "m", quantization_config=document)
    write_weights(model / "model.safetensors", json.loads((model / "config.json").read_text()))
    report = check(model, load=False)
    assert code in {finding.code for finding in report.findings if finding.level == "no-op"}
    assert report.passed


@pytest.mark.parametrize(
    ("version", "code"),
    [("0.19.0", ""), ("0.16.0", ""), ("", "actorder-channel"), ("0.14.0.1", "setting-actorder")],
)
def test_what_an_order_of_columns_did_depends_on_the_version_that_made_it(version, code, tmp_path):
    """tests/compress/test_gptq.py holds today's library to it; llm-compressor up to 0.10 skipped channel schemes."""
    model = make_model(tmp_path / "m", quantization_config=quantized(weights=ORDERED, version=version))
    found = {f.code for f in check(model, load=False).findings if "actorder" in f.code}
    assert found == ({code} if code else set())


def test_an_ignored_parent_protects_nothing_and_passes(tmp_path):
    model = make_model(tmp_path / "m", quantization_config=quantized(ignore=["lm_head", "model.layers.0"]))
    report = check(model, load=False)
    assert "parent-only" in warnings(report) and report.passed


def test_a_plain_recipe_has_no_such_remark(model):
    assert {f.level for f in check(model, load=False).findings if f.code != "base model"} == {"ok"}


def test_a_tied_head_stored_again_is_weighed(model):
    config = json.loads((model / "config.json").read_text())
    head = StoredTensor("lm_head.weight", "BF16", (1024, 256))
    write_weights(model / "model.safetensors", config, {"lm_head.weight": head})
    report = check(model, load=False)
    assert any(f.code == "tied head" and "524,288 bytes twice" in f.text for f in report.findings)


WRONG_FILES = {
    "no config": (lambda m: (m / "config.json").unlink(), "structure"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), "structure"),
    "weights cut short": (lambda m: os.truncate(m / "model.safetensors", 5000), "weights"),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer"),
    "no template": (lambda m: (m / "chat_template.jinja").unlink(), "chat template"),
    "a pickle": (lambda m: (m / "pytorch_model.bin").write_bytes(b"x"), "pickles"),
    "config is a list": (lambda m: (m / "config.json").write_text("[]"), "files"),
    "no end of turn": (
        lambda m: (
            edit(m / "generation_config.json", eos_token_id="DELETE"),
            edit(m / "config.json", eos_token_id="DELETE"),
        ),
        "generation config",
    ),
    "a token": (lambda m: (m / "README.md").write_text("login with hf_" + "a" * 34), "secrets"),
    "a private key": (lambda m: (m / "notes.txt").write_text("-----BEGIN PRIVATE " + "KEY-----"), "secrets"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_files_fail_with_a_remedy(name, model):
    spoil, expected = WRONG_FILES[name]
    spoil(model)
    report = check(model, load=False)
    assert expected in failures(report)
    assert all(f.remedy for f in report.findings if f.level == "error")


def test_a_found_token_is_never_printed(model):
    token = "hf_" + "B" * 34
    (model / "README.md").write_text(f"token: {token}")
    assert token not in json.dumps(check(model, load=False).document())


def test_an_absolute_path_is_a_warning(model):
    edit(model / "config.json", _name_or_path="/content/drive/MyDrive/exaone")
    report = check(model, load=False)
    assert "absolute paths" in warnings(report)
    assert report.passed


def good_entries(model: Path) -> dict[str, bytes]:
    return {f"model/{path.name}": path.read_bytes() for path in model.iterdir()}


WRONG_ZIPS = {
    "leads upwards": ({"model/../../evil": b"x"}, "names"),
    "absolute": ({"/etc/evil": b"x"}, "names"),
    "drive letter": ({"C:/evil": b"x"}, "names"),
    "beside model": ({"script.py": b"x"}, "structure"),
    "twice but for case": ({"model/CONFIG.json": b"{}"}, "names"),
    "device name": ({"model/aux.json": b"{}"}, "names"),
}


@pytest.mark.parametrize("name", WRONG_ZIPS)
def test_a_zip_with_bad_names_is_refused_and_not_unpacked(name, model, tmp_path, monkeypatch):
    extra, expected = WRONG_ZIPS[name]
    path = zipped(tmp_path / "z.zip", {**good_entries(model), **extra})
    monkeypatch.setattr(archive, "unpacked", lambda path: pytest.fail("unpacked all the same"))
    assert expected in failures(check(path, load=False))


def test_backslashes_are_seen_as_written(model, tmp_path):
    path = zipped(tmp_path / "z.zip", {**good_entries(model), "model/a_evil": b"x"})
    path.write_bytes(path.read_bytes().replace(b"model/a_evil", b"model\\a_evil"))
    assert "names" in failures(check(path, load=False))


def test_the_wrong_top_folder_is_named(model, tmp_path):
    path = zipped(tmp_path / "z.zip", {f"submit/{p.name}": p.read_bytes() for p in model.iterdir()})
    report = check(path, load=False)
    assert any("config.json is in 'submit'" in f.text for f in report.findings)


def test_a_link_and_a_double_name_are_refused(model, tmp_path):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as target:
        for name, content in good_entries(model).items():
            target.writestr(name, content)
        link = zipfile.ZipInfo("model/link")
        link.external_attr = 0o120777 << 16
        target.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("model/config.json", "{}")
    assert failures(check(path, load=False)) >= {"links", "names"}


def test_a_bomb_is_refused_from_its_directory_alone(model, tmp_path, monkeypatch):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target, target.open("model/zeros", "w") as sink:
        for _ in range(200):
            sink.write(bytes(1_000_000))
    monkeypatch.setattr(archive, "unpacked", lambda path: pytest.fail("unpacked all the same"))
    assert "size" in failures(check(path, load=False))


def test_an_entry_larger_than_it_says_is_stopped(model, tmp_path):
    path = zipped(tmp_path / "z.zip", good_entries(model), zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    real = (model / "tokenizer.json").stat().st_size
    # Both headers announce ten bytes.
    lied = content.replace(struct.pack("<I", real), struct.pack("<I", 10))
    assert lied != content
    path.write_bytes(lied)
    assert "zip" in failures(check(path, load=False))


def test_damage_is_found(model, tmp_path):
    path = zipped(tmp_path / "z.zip", good_entries(model))
    content = bytearray(path.read_bytes())
    at = content.find(b"safetensors") + 4000
    content[at] ^= 0xFF
    path.write_bytes(content)
    report = check(path, load=False)
    assert any(f.code == "zip" and "damaged" in f.text for f in report.findings)


def pointer(size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n".encode()


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja", "tokenizer_config.json"],
)
def test_a_git_lfs_pointer_is_named_with_its_size(name, model, tmp_path):
    (model / name).write_bytes(pointer(2_558_901_880))
    report = check(model, load=False)
    texts = [finding.text for finding in report.findings if finding.level == "error"]
    assert f"{name} is a git-LFS pointer to a file of 2,558,901,880 bytes, not the file itself." in texts
    with pytest.raises(WorkbookError, match="git-LFS pointer"):
        pack(model, tmp_path / "submit.zip")
    with pytest.raises(WorkbookError, match="git-LFS pointer to a file of 2,558,901,880 bytes"):
        weights_folder(model)


def test_a_git_lfs_pointer_in_place_of_the_zip(tmp_path):
    (tmp_path / "submit.zip").write_bytes(pointer(1_234_567))
    (finding,) = check(tmp_path / "submit.zip").findings
    assert "pointer to a file of 1,234,567 bytes" in finding.text and "git lfs pull" in finding.remedy


def test_two_models_in_one_folder_are_not_packed_and_dead_weights_are_left_out(model, tmp_path):
    weights = (model / "model.safetensors").read_bytes()
    (model / "old.safetensors").write_bytes(weights)  # without an index vLLM loads it too
    assert "two-models" in failures(check(model, load=False))
    with pytest.raises(WorkbookError, match="Two sets of weights"):
        pack(model, tmp_path / "submit.zip")
    names = sorted(expectations({**CONFIG, "quantization_config": W8A8}))
    write(model / "model.safetensors.index.json", {"weight_map": dict.fromkeys(names, "model.safetensors")})
    (model / "checkpoint-1").mkdir()
    (model / "checkpoint-1" / "model.safetensors").write_bytes(weights)
    assert "dead-weights" in warnings(check(model, load=False))
    packed = pack(model, tmp_path / "submit.zip")
    assert set(packed.left_out) == {"old.safetensors", "checkpoint-1/model.safetensors"}
    edit(model / "model.safetensors.index.json", metadata={"total_size": 1})
    assert "index-size" in warnings(check(model, load=False))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_what_is_no_zip_is_refused(content, tmp_path):
    path = tmp_path / "submit.zip"
    path.write_bytes(content)
    assert failures(check(path, load=False)) == {"zip"}


def test_nothing_there_is_a_wrong_call(tmp_path):
    with pytest.raises(UsageError):
        check(tmp_path / "nothing.zip")
    with pytest.raises(UsageError):
        pack(tmp_path / "nothing")


def test_a_failed_packing_leaves_the_old_zip(model, tmp_path, monkeypatch):
    from exaone_nb.score.submission import pack as module

    out = tmp_path / "submit.zip"
    before = pack(model, out).sha256
    monkeypatch.setattr(module, "_add", lambda *arguments: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        pack(model, out)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good", "submit.zip"]


def test_the_verbs_speak_json_and_exit_with_1(model, tmp_path):
    runner, app = CliRunner(), command_line()
    out = tmp_path / "submit.zip"
    done = runner.invoke(app, ["pack", str(model), "--out", str(out), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    done = runner.invoke(app, ["check", str(out), "--no-load", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["passed"]) == (0, True)
    (model / "tokenizer.json").unlink()
    done = runner.invoke(app, ["check", str(model), "--no-load", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["passed"]) == (1, False)


def test_the_verbs_take_nano_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner, app = CliRunner(), command_line()
    done = runner.invoke(app, ["pack", "nano", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["sha256"] == pack(NANO, tmp_path / "b.zip").sha256
    done = runner.invoke(app, ["check", "nano", "--no-load", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["passed"]) == (0, True)
    # What lies there under that name comes first.
    (tmp_path / "nano").mkdir()
    done = runner.invoke(app, ["check", "nano", "--no-load", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["passed"]) == (1, False)


@pytest.mark.heavy
def test_nano_boots_in_vllm_and_a_boot_that_fails_says_why(tmp_path):
    packed = pack(NANO, tmp_path / "submit.zip")
    report = check(packed.path, load=False, boot=True)
    booted = [f for f in report.findings if f.code == "boot"]
    assert report.passed and [f.level for f in booted] == ["ok", "warning"]
    assert "answers '1 + 1 = 2" in booted[0].text and "0.14.1 on an L4" in booted[1].text
    broken = tmp_path / "broken"
    shutil.copytree(NANO, broken)
    edit(broken / "config.json", architectures=["NoSuchModel"], model_type="no_such")
    (failed,) = boot_in_vllm(broken)
    assert failed.level == "error" and "does not start" in failed.text and "no_such" in failed.text


def test_a_boot_with_an_empty_answer_proves_nothing(tmp_path, monkeypatch):
    outcome = {"text": " \n", "version": "0.14.1", "device": "GPU", "kernel": "unknown"}
    monkeypatch.setattr(f"{check.__module__}.run_apart", lambda *_, **__: outcome)
    monkeypatch.setattr(f"{check.__module__}.has_vllm", lambda: True)
    assert [f.level for f in boot_in_vllm(tmp_path)] == ["warning"]
    outcome["text"] = "2"
    assert [f.level for f in boot_in_vllm(tmp_path)] == ["ok"]


@pytest.mark.heavy
def test_nano_loads_offline_and_noise_does_not(tmp_path):
    packed = pack(NANO, tmp_path / "submit.zip")
    report = check(packed.path)
    assert report.passed
    assert any(f.code == "load" and f.level == "ok" for f in report.findings)
    broken = tmp_path / "broken"
    shutil.copytree(NANO, broken)
    (broken / "tokenizer.json").write_text("{}")
    edit(
        broken / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        extra_special_tokens="DELETE",
    )
    # Named by the check of the file itself, before anything is loaded.
    assert failures(check(broken)) == {"tokenizer"}


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_a_byte_order_mark_is_removed_by_pack(name, model, tmp_path):
    clean = pack(model, tmp_path / "clean.zip")
    content = (model / name).read_bytes()
    (model / name).write_bytes(codecs.BOM_UTF8 + content)
    assert "byte order mark" in failures(check(model, load=False))
    packed = pack(model, tmp_path / "submit.zip")
    assert packed.changed == (f"{name}: byte order mark removed",)
    with zipfile.ZipFile(packed.path) as made, zipfile.ZipFile(clean.path) as other:
        assert made.read(f"model/{name}") == other.read(f"model/{name}") == content
    with pytest.raises(WorkbookError, match="byte order mark"):
        pack(model, tmp_path / "plain.zip", adapt=False)


def test_force_prints_what_it_overrode(model, tmp_path):
    (model / "tokenizer.json").unlink()
    out = tmp_path / "submit.zip"
    done = CliRunner().invoke(command_line(), ["pack", str(model), "--out", str(out), "--force"])
    assert done.exit_code == 0 and "overridden by --force: There is no tokenizer." in " ".join(
        done.stdout.split()
    )
    assert [f.code for f in pack(model, out, force=True).overridden] == ["tokenizer"]


def test_stale_checksums_and_adapters_are_left_out(model, tmp_path):
    (model / "SHA256SUMS").write_text(f"{'0' * 64}  config.json\n")
    (model / "adapter_model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    write(model / "adapter_config.json", {"base_model_name_or_path": "x"})
    assert {"checksums", "adapter"} <= warnings(check(model, load=False))
    packed = pack(model, tmp_path / "submit.zip")
    assert set(packed.left_out) == {"SHA256SUMS", "adapter_model.safetensors", "adapter_config.json"}
    assert not {w.code for w in packed.warnings} & {"checksums", "adapter", "links"}
    with zipfile.ZipFile(packed.path, "a") as made:
        made.writestr("model/generation_config.json.bak", "x")
    assert check(packed.path, load=False).passed


def test_a_manifest_of_another_model_is_noticed(model, tmp_path):
    with zipfile.ZipFile(pack(model, tmp_path / "submit.zip").path) as made:
        made.extract("model/submission.json", tmp_path)
    shutil.move(tmp_path / "model" / "submission.json", model)
    assert "checksums" not in warnings(check(model, load=False))
    edit(model / "generation_config.json", pad_token_id=1)
    assert "checksums" in warnings(check(model, load=False))


def test_an_adapter_alone_is_no_model(model):
    (model / "model.safetensors").rename(model / "adapter_model.safetensors")
    report = check(model, load=False)
    assert any(
        f.code == "adapter" and "merge_and_unload" in f.remedy for f in report.findings if f.level == "error"
    )
