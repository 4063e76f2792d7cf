"""The model note: one for every catalog model, complete, and saying where each recorded figure is from."""

from __future__ import annotations

import json

import pytest

from exaone_nb import catalog
from exaone_nb.errors import UsageError
from exaone_nb.show.note import lost_answers, model_note

HEADINGS = (
    "Key specifications",
    "Sizes",
    "Modes and sampling",
    "Deployment",
    "Published scores",
    "Licence",
)


@pytest.mark.parametrize("model", [name for name in catalog.names() if name != "nano"])
def test_every_model_has_a_whole_note(model: str) -> None:
    note = model_note(model)
    assert note.startswith(f"# {model}\n")
    for heading in (*HEADINGS, "Citation", "Where the config comes from"):
        assert f"\n## {heading}\n\n" in note
    assert "{model}" not in note and "{name}" not in note and "{context}" not in note
    assert catalog.record(model).hub_id in note, "a deployment command names the model"
    assert note.count("```") % 2 == 0


def test_exaone_1_2b_says_what_its_card_says() -> None:
    note = model_note("EXAONE-4.0-1.2B")
    for fact in (
        "1,279,391,488",
        "| BF16 | 2,558,821,288 | 2.559 | 2.383 |",
        "| W4A16 | 971,261,368 |",
        "| 4,026,531,840 | 4.027 | 3.750 |",
        "| AIME 2025 | 23.5 | 45.2 |",
        "| GPQA-Diamond | 40.1 | 52.0 |",
        "| reasoning | 0.6 | 0.95 |",
        "EXAONE AI Model License Agreement 1.2 - NC",
        "vllm serve LGAI-EXAONE/EXAONE-4.0-1.2B --enable-auto-tool-choice",
        "llama3 scaling by 16",
        "arXiv:2507.11407",
    ):
        assert fact in note, fact


def test_asterisks_are_kept_and_missing_figures_said() -> None:
    note = model_note("Qwen3-1.7B")
    assert "| MMLU-Redux | 63.4* | 73.9* |" in note and "lecture's own mark" in note
    assert "| BFCL-v3 | not published | " in model_note("gemma-3-1b-it").replace(" |\n", " | ")
    assert "Recorded, not measured here." in note


def test_hybrid_and_expert_facts() -> None:
    assert "16 full, 48 sliding (window 4,096)" in model_note("EXAONE-4.0-32B")
    assert "128 per layer, 8 used" in model_note("K-EXAONE-236B-A23B")
    assert "latent vector of 512" in model_note("DeepSeek-R1")
    assert "| as published (kernels of MXFP4A16) | 13,761," in model_note("gpt-oss-20b")


# Where a model's norms sit, as its modeling file says (anatomy/test_arrangements.py runs them).
@pytest.mark.parametrize(
    ("model", "norms"),
    [
        ("K-EXAONE-236B-A23B", "| norms | Pre-LN with QK norm: RMSNorm before attention and MLP;"),
        ("EXAONE-4.0-32B", "| norms | QK-Reorder-LN: RMSNorm on the outputs of attention and MLP,"),
        ("Qwen3-0.6B", "| norms | Pre-LN with QK norm: "),
        ("EXAONE-3.5-2.4B-Instruct", "| norms | Pre-LN: "),
        ("Mistral-Small-3.2-24B-Instruct-2506", "| norms | Pre-LN: "),
        ("gemma-3-1b-it", "| norms | Sandwich-LN with QK norm: "),
    ],
)
def test_the_norms_are_those_of_the_family(model: str, norms: str) -> None:
    assert norms in model_note(model)


@pytest.mark.parametrize("model", [name for name in catalog.names() if name != "nano"])
def test_a_parser_that_loses_answers_is_named_wherever_the_model_also_answers_without_thinking(
    model: str,
) -> None:
    record = catalog.record(model)
    vllm = record.deployment.get("vllm", {})
    named = "deepseek_r1" in vllm.get("command", "") + vllm.get("card_parser", "")
    answers = {mode["name"] for mode in record.modes} & {"non-reasoning"}
    assert bool(lost_answers(record)) == (named and bool(answers))


def test_the_parser_trap_is_told_where_it_is_one() -> None:
    for name in ("EXAONE-4.0-1.2B", "Qwen3-0.6B"):
        assert lost_answers(catalog.record(name)) in model_note(name)
    trapped = {name for name in catalog.names() if name != "nano" and lost_answers(catalog.record(name))}
    assert {"EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "Qwen3-0.6B"} <= trapped
    assert not trapped & {"DeepSeek-R1", "DeepSeek-R1-0528", "Qwen3-4B-Instruct-2507", "K-EXAONE-236B-A23B"}


def test_any_config_has_a_note(tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    config = catalog.resolve("Qwen3-0.6B").config()
    (folder / "config.json").write_text(json.dumps(config))
    note = model_note(str(folder))
    assert note.startswith("# mine\n") and "596,049,920" in note and "| BF16 | 1,192,135,096 |" in note
    assert "Licence\n" not in note and "the model's own card" in note, "nothing is claimed that is not known"
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "starling"}))
    note = model_note(str(folder))
    assert "| layers | 28 |" in note and "no layout for model_type 'starling'" in note and "norms" not in note
    assert "# nano\n" in model_note("nano")
    with pytest.raises(UsageError, match="No model"):
        model_note("nothing-of-that-name")
