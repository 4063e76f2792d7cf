from __future__ import annotations

import json

import pytest

from exaone_nb.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    output = capsys.readouterr()
    return caught.value.code or 0, output.out, output.err


def test_plan_as_json_is_one_document(capsys):
    code, out, err = run(capsys, "plan", "EXAONE-4.0-1.2B", "--recipe", "w4a16_gptq", "--json")
    document = json.loads(out)
    assert code == 0 and err == ""
    assert document["predicted_bytes"] == 971_261_368 and len(document["modules"]) == 212
    assert {verdict["answer"] for verdict in document["serving"]} == {"yes"}


def test_plan_for_people_says_what_differs(capsys):
    code, out, _ = run(capsys, "plan", "EXAONE-4.0-1.2B", "--recipe", "w4a16_gptq", "--against", "w8a8")
    assert code == 0 and "971,261,368" in out and "int8" in out


def test_plan_lists_modules_by_layer_and_draws_them(capsys, tmp_path):
    picture = tmp_path / "map.svg"
    arguments = ("plan", "EXAONE-4.0-1.2B", "--recipe", "mixed_w8a16_w4a16", "--picture", str(picture))
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "mlp.down_proj" in out and "0-29" in out and "W8A16" in out
    assert picture.read_text().startswith("<?xml") and [p.name for p in tmp_path.iterdir()] == ["map.svg"]


def test_a_picture_onto_a_folder_is_refused(capsys, tmp_path):
    (tmp_path / "map.svg").mkdir()
    code, out, err = run(capsys, "plan", "nano", "--recipe", "w8a8", "--picture", str(tmp_path / "map.svg"))
    assert (code, out) == (2, "") and "cannot be written" in err
    assert [p.name for p in tmp_path.iterdir()] == ["map.svg"]


def test_findings_of_the_other_recipe_are_shown(capsys, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("scheme: W4A16\ntargets: [Linear, nothing]\nignore: [lm_head, 're:.*v_proj$']\n")
    arguments = ("plan", "nano", "--recipe", "w4a16_rtn", "--against", str(path))
    code, out, _ = run(capsys, *arguments)
    assert code == 1 and "About other:" in out and "`nothing` in targets of W4A16 matches no module" in out
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 1 and {f["code"] for f in json.loads(out)["against_findings"]} == {
        "unmatched",
        "fused-split",
    }


def test_identical_in_effect(capsys, tmp_path):
    path = tmp_path / "same.yaml"
    path.write_text("scheme: w4a16\nignore: [lm_head, model.embed_tokens]\nsettings: {block_size: 64}\n")
    code, out, _ = run(capsys, "plan", "nano", "--recipe", str(path), "--against", "w4a16_rtn", "--json")
    document = json.loads(out)
    assert code == 0 and document["identical_in_effect"] is True
    assert {f["code"] for f in document["findings"]} == {"ignore-untargeted", "setting-block_size"}


def test_the_organisers_recipe_is_noted_upon_and_not_refused(capsys, tmp_path):
    path = tmp_path / "deck.yaml"
    path.write_text("method: gptq\nscheme: W4A16\nignore: [embed_tokens, lm_head]\n")
    code, out, _ = run(capsys, "plan", "EXAONE-4.0-1.2B", "--recipe", str(path))
    assert code == 0 and "[note]" in out and "`embed_tokens` in ignore matches no module" in out


def test_a_plan_with_errors_ends_with_1_and_still_shows_itself(capsys, tmp_path):
    path = tmp_path / "split.yaml"
    path.write_text("scheme: W4A16\nignore: [lm_head, 're:.*v_proj$']\n")
    code, out, _ = run(capsys, "plan", "EXAONE-4.0-1.2B", "--recipe", str(path))
    assert code == 1 and "[error]" in out and "qkv_proj" in out and "L4 (vLLM 0.32): no" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("plan", "nano", "--recipe", "w4a61"), 2, "w4a16"),
        (("plan", "no-such-model", "--recipe", "w8a8"), 2, "no-such-model"),
        (("plan", "nano", "--recipe", "w8a8", "--gpu", "Z9"), 2, "Z9"),
        (("plan", "nano"), 2, "Neither --recipe nor --fit"),
        (("plan", "nano", "--recipe", "w8a8", "--fit", "3MB"), 2, "both"),
        (("plan", "nano", "--fit", "3 apples"), 2, "not a size"),
        (("plan", "nano", "--fit", "3MB", "--schemes", "W4A16,W9A9"), 2, "W9A9"),
        (("plan", "nano", "--fit", "3MB", "--for", "Z9"), 2, "Z9"),
        (("plan", "nano", "--fit", "3MB", "--text", "gone.jsonl"), 1, "cannot be read"),
        (("plan", "nano", "--fit", "3MB", "--export", "recipe.txt"), 2, "recipe.txt"),
        (("plan", "nano", "--fit", "1GB"), 2, "6,826,344 bytes and fits already"),
        (("plan", "EXAONE-4.0-1.2B", "--fit", "0.97GB"), 1, "971,261,368"),
        (("plan", "nano", "--recipe", "w8a8", "--picture", "map.gif"), 2, "map.gif"),
        (("plan", "nano", "--recipe", "w8a8", "--picture", "/dev/null/map.svg"), 2, "cannot be written"),
        (
            ("quantize", "nano", "--recipe", "w4a16_gptq", "--out", "x", "--calibration", "gone.jsonl"),
            1,
            "cannot be read",
        ),
        (
            ("quantize", "nano", "--recipe", "w4a16_gptq", "--out", "x", "--samples", "100000"),
            1,
            "at most 512",
        ),
        (("quantize", "nano", "--out", "x"), 2, "No recipe is given"),
        (("quantize", "nano", "--recipe", "w8a8", "--from-manifest", "x.json", "--out", "x"), 2, "Both --recipe and"),
        (("quantize", "nano", "--from-manifest", "gone.json", "--out", "x"), 2, "There is no file gone.json"),
        (("quantize", "nano", "--from-manifest", "x.json", "--seed", "1", "--out", "x"), 2, "the manifest says them"),
    ],
)  # fmt: skip
def test_bad_calls(capsys, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capsys, *arguments)
    assert got == code and words in err and out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_quantize_as_json_keeps_stdout_clean(capsys, tmp_path):
    out_dir = tmp_path / "w8a8"
    code, out, err = run(
        capsys, "quantize", "nano", "--recipe", "w8a8", "--out", str(out_dir), "--no-sanity", "--json"
    )
    document = json.loads(out)
    assert code == 0 and document["actual_bytes"] == document["predicted_bytes"] and "saving" in err
    code, out, _ = run(capsys, "quantize", "nano", "--recipe", "w8a8", "--out", str(out_dir), "--no-sanity")
    assert code == 0 and "found finished" in out
    again = (
        "--from-manifest",
        str(out_dir / "quantize.json"),
        "--out",
        str(tmp_path / "again"),
        "--no-sanity",
    )
    assert run(capsys, "quantize", "nano", *again)[0] == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        out_dir / "model.safetensors"
    ).read_bytes()


def test_an_export_is_read_back_as_the_same_recipe(capsys, tmp_path):
    file = str(tmp_path / "export.yaml")
    assert run(capsys, "plan", "nano", "--recipe", "mixed_w8a16_w4a16", "--export", file)[0] == 0
    code, out, _ = run(capsys, "plan", "nano", "--recipe", file, "--against", "mixed_w8a16_w4a16", "--json")
    assert code == 0 and json.loads(out)["identical_in_effect"] is True


def test_plan_exports_llm_compressors_recipe_and_replaces_no_file(capsys, tmp_path):
    import yaml

    file = tmp_path / "recipe.yaml"
    code, _, _ = run(capsys, "plan", "nano", "--recipe", "w8a8", "--export", str(file))
    stage = yaml.safe_load(file.read_text())["default_stage"]["default_modifiers"]
    assert code == 0 and stage["QuantizationModifier"]["scheme"] == "W8A8"
    before = file.read_text()
    for name in ("recipe.yaml", "recipe.txt"):
        code, _, err = run(capsys, "plan", "nano", "--recipe", "w4a16_gptq", "--export", str(tmp_path / name))
        assert code == 2 and "a new file" in err
    below = ("plan", "nano", "--recipe", "w8a8", "--export", str(file / "below.yaml"))
    code, _, err = run(capsys, *below)
    assert code == 2 and "cannot be written" in err
    assert file.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["recipe.yaml"]


def test_quantize_does_not_replace_a_folder_of_the_user(capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    code, out, err = run(capsys, "quantize", "nano", "--recipe", "w4a16_rtn", "--out", str(tmp_path))
    assert code == 2 and out == "" and "holds thesis.txt" in err and "What to do" in err
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_a_recipe_is_fitted_to_a_budget(capsys, tmp_path):
    """The documented call on nano: a file below the budget, near it, no worse than foreseen for the uniform one that fits."""
    import yaml

    file = tmp_path / "fitted.yaml"
    arguments = (
        "plan",
        "nano",
        "--fit",
        "2.6MB",
        "--for",
        "L4",
        "--samples",
        "4",
        "--export",
        str(file),
        "--json",
    )
    code, out, err = run(capsys, *arguments)
    document = json.loads(out)
    found = document["fit"]
    assert code == 0 and "measured model.layers.3.mlp.down_proj" in err
    assert 0.98 * 2_600_000 < document["predicted_bytes"] == found["predicted_bytes"] <= 2_600_000
    kl = {row["recipe"]: row["kl"]["value"] for row in found["beside"]}
    assert 0 < kl["fitted"] < kl["W4A16"] and kl["W8A8"] < kl["W4A16"] and kl["unquantized"] == 0
    assert found["smallest_bytes"] == 2_163_328 and found["search"]["texts"] == 4
    assert {row["part"] for row in found["not_offered"]} == {"table"}
    stage = yaml.safe_load(file.read_text())["default_stage"]["default_modifiers"]
    assert set(stage["QuantizationModifier"]["scheme"]) == {"W4A16", "W8A8"}
    assert {verdict["answer"] for verdict in document["serving"][:2]} == {"yes"}
