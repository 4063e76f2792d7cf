"""The model note: one for every catalog model, complete, and saying where each recorded figure is from."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.note import model_note
from exaone_nb.errors import UsageError

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
        "2,558,821,288 bytes",
        "971,261,368 bytes",
        "3.75 GiB",
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


def test_models_outside_the_catalog_are_refused(tmp_path) -> None:
    for name in ("someone/else", str(tmp_path)):
        with pytest.raises(UsageError, match="not in the catalog"):
            model_note(name)
