"""What a user types, turned into a place; and records of the catalog."""

from __future__ import annotations

import json

import pytest

from exaone_nb import catalog
from exaone_nb.errors import UsageError, WorkbookError


def test_names_begin_with_nano() -> None:
    assert catalog.names()[0] == "nano" and len(catalog.names()) == 32


@pytest.mark.parametrize("model", ["EXAONE-4.0-1.2B", "LGAI-EXAONE/EXAONE-4.0-1.2B"])
def test_catalog_names_with_and_without_organisation(model: str) -> None:
    place = catalog.resolve(model)
    assert (place.kind, place.hub_id) == ("catalog", "LGAI-EXAONE/EXAONE-4.0-1.2B")
    assert place.config()["num_hidden_layers"] == 30


def test_hub_ids_may_be_full_of_dots() -> None:
    assert catalog.resolve("LGAI-EXAONE/EXAONE-4.0-1.2B-FP8").kind == "hub"
    assert catalog.resolve("someone/thing-1.5").hub_id == "someone/thing-1.5"


def test_folders_files_and_addresses(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "exaone4"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert catalog.resolve(tmp_path).config() == {"model_type": "exaone4"}
    assert catalog.resolve(tmp_path / "model.safetensors").config() == {"model_type": "exaone4"}
    address = catalog.resolve("https://example.org/models/thing/")
    assert (address.kind, address.name) == ("url", "thing")
    with pytest.raises(WorkbookError, match="address"):
        address.config()


@pytest.mark.parametrize("text", ["", "./nowhere", "/no/where", "EXAONE-4.0-1.2", "a/missing.safetensors"])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.resolve(text)
    assert caught.value.expected and caught.value.remedy


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.resolve("EXAONE-4.0-1.2")
    assert "EXAONE-4.0-1.2B" in caught.value.remedy


@pytest.mark.parametrize("content", ["", "[1]", "{broken", "\xff"])
def test_bad_config_files(tmp_path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(WorkbookError):
        catalog.resolve(tmp_path).config()
    with pytest.raises(WorkbookError, match=r"config\.json"):
        catalog.read_config(tmp_path / "none" / "config.json")


def test_a_hub_config_is_fetched_alone(monkeypatch, tmp_path) -> None:
    import huggingface_hub

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    asked = []

    def give(repository, name):
        asked.append((repository, name))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", give)
    assert catalog.resolve("someone/thing").config() == {"model_type": "qwen3"}
    assert asked == [("someone/thing", "config.json")]


def test_weights_folder_of_an_address_or_a_file_is_refused(tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    for name in ("https://example.org/thing", tmp_path / "model.safetensors"):
        with pytest.raises(WorkbookError):
            catalog.weights_folder(name)


def test_records_merge_family_and_model() -> None:
    small, large = catalog.record("EXAONE-4.0-1.2B"), catalog.record("EXAONE-4.0-32B")
    assert small.licence == large.licence and small.deployment == large.deployment
    assert small.sampling["settings"][0]["temperature_in_korean"] == 0.1, "Korean conversation with the 1.2B"
    assert "temperature_in_korean" not in large.sampling["settings"][0]
