"""What a model is measured on: nano by its config, others with general text, and what cannot be had is said."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest
from huggingface_hub import constants

from exaone_nb import catalog, hub, materials
from exaone_nb.errors import WorkbookError
from exaone_nb.paths import DATA, NANO, ROOT
from exaone_nb.written import read_yaml

REAL = "LGAI-EXAONE/EXAONE-4.0-1.2B"


@pytest.fixture
def answering(monkeypatch):
    monkeypatch.setattr(materials, "unreachable", lambda: "")


def test_nano_is_known_by_its_config_and_nobody_is_asked(monkeypatch, tmp_path):
    def asked():
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(materials, "unreachable", asked)
    copy = shutil.copytree(NANO, tmp_path / "my-model")
    for model in ("nano", copy):
        found = materials.materials_for(model)
        assert (found.kind, found.calibration, found.preset) == ("nano", ("nano_calibration",), "")
        assert list(materials.warnings_on(model, found.calibration, found.tasks)) == []


def test_a_folder_called_nano_with_another_config_is_not_nano(tmp_path, answering):
    folder = tmp_path / "nano"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(catalog.resolve(REAL).config()), encoding="utf-8")
    assert materials.materials_for(folder).kind == "general"
    assert catalog.record(folder).name == "EXAONE-4.0-1.2B"


def test_a_model_that_is_not_nano_gets_general_text_and_the_lectures_task(answering):
    found = materials.materials_for(REAL)
    assert found.calibration[0] == "LGAI-EXAONE/MANTA-1M" and "gsm8k" in found.tasks
    assert found.preset == "lecture-gsm8k"
    assert not set(found.calibration) & set(found.held_out)
    assert list(materials.warnings_on(REAL, [*found.calibration, *found.held_out], found.tasks)) == []


def test_offline_the_workbooks_own_are_taken_and_said_to_say_nothing(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = materials.materials_for(REAL)
    assert found.kind == "offline" and "HF_HUB_OFFLINE is set" in found.why
    assert not set(found.tasks) & {"nano_gsm", "nano_gsm_ko"}, (
        "96 tokens, zero-shot, a format never asked for"
    )
    said = list(materials.warnings_on(REAL, [*found.calibration, *found.held_out], found.tasks))
    assert any(line.startswith("nano_calibration: short arithmetic") for line in said)
    assert any(line.startswith("everyday_mc:") for line in said) and len(said) == 2
    (made,) = materials.warnings_on(REAL, tasks=["gsm8k", "nano_gsm"])
    assert made.startswith("nano_gsm: made for nano") and "96 tokens" in made


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (200, ""),
        (404, ""),  # a mirror need not have a front page
        (403, "it answers 403"),
        (503, "it answers 503"),
        (httpx.ConnectError("no route"), "no route"),
        (httpx.ConnectTimeout("too late"), "too late"),
    ],
)
def test_whether_the_hub_answers(monkeypatch, answer, words):
    def handle(request):
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: client)
    why = hub.unreachable()
    assert words in why and bool(why) == bool(words)


def test_every_set_names_what_is_there():
    """Files on this disk, tasks that lm-eval or the workbook has, presets that exist, and a source for every licence."""
    from exaone_nb.compress.calibration import TextSource
    from exaone_nb.score.settings import PRESETS
    from exaone_nb.workbook.values import lm_eval_tasks

    document = read_yaml(materials.FILE)
    known = lm_eval_tasks() | {path.stem for path in (DATA / "tasks").glob("*.yaml")}
    for chosen in document["sets"].values():
        assert set(chosen["tasks"]) <= known and chosen["preset"] in {"", *PRESETS}
        for name in (*chosen["calibration"], *chosen["held_out"]):
            path = TextSource(name).path
            assert path is None or path.is_file(), name
            assert materials.about_text(name)["about"]
    named = {
        name
        for chosen in document["sets"].values()
        for use in ("calibration", "held_out")
        for name in chosen[use]
    }
    assert set(document["texts"]) == named
    assert all(entry["source"] and entry["date"] for entry in document["texts"].values())


def test_the_general_set_is_in_korean_and_english():
    """The language is part of the name of every subset; MANTA is the lecture's."""
    general = read_yaml(materials.FILE)["sets"]["general"]
    for use in ("calibration", "held_out"):
        assert any(name.endswith((":ko", ".ko")) for name in general[use])
    assert "LGAI-EXAONE/MANTA-1M" in general["calibration"]
    assert any(name.endswith(".en") for name in general["held_out"])


@pytest.fixture
def rows_of_the_hub(monkeypatch, tmp_path):
    """Every data set of the hub is this file, read by datasets' own streaming."""
    import datasets
    from huggingface_hub import DatasetInfo

    read, file = datasets.load_dataset, tmp_path / "rows.jsonl"
    lines = ({"text": "안녕" if i % 4 == 0 else "hello"} for i in range(2000))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *name, **how: read("json", data_files=str(file), **how)
    )
    info = DatasetInfo(id="a/b", author="", sha="", last_modified=None, private=False, downloads=0, likes=0, tags=["license:odc-by"])  # fmt: skip
    monkeypatch.setattr("huggingface_hub.dataset_info", lambda name, timeout: info)
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path / "cache"))


def test_the_texts_of_a_chapter_are_shown_with_licence_and_language(answering, rows_of_the_hub):
    from exaone_nb.compress import texts

    found = texts.choose(REAL, samples=16, documents=8)
    assert [source.name for source in found.held_out] == [
        "wikimedia/wikipedia:20231101.en",
        "wikimedia/wikipedia:20231101.ko",
    ]
    rows = found.table().records()
    assert len(rows) == 4 and all(row["licence"].startswith("odc-by (its page on the hub, ") for row in rows)
    assert {row["use"] for row in rows} == {"calibration", "judging"}
    assert all(row["korean"] == 0.25 for row in rows)
    assert found.warnings == () and found.why


def test_a_hub_that_answers_and_gives_nothing_leaves_the_workbooks_own(answering, monkeypatch, tmp_path):
    import datasets

    from exaone_nb.compress import texts

    def gone(*name, **how):
        raise ConnectionError("broke off")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path))
    found = texts.choose(REAL, samples=16, documents=8)
    assert [source.name for source in found.calibration] == ["nano_calibration"]
    assert [source.name for source in found.held_out] == ["data/tasks/prose_en.jsonl"]
    assert "cannot be reached" in found.why and any("short arithmetic" in line for line in found.warnings)
    with pytest.raises(WorkbookError, match="mine/own"):
        texts.choose(REAL, ["mine/own"], ["mine/own"], samples=4, documents=4)


def test_a_user_named_text_that_cannot_be_had_is_an_error_also_beside_a_default(
    answering, monkeypatch, tmp_path
):
    import datasets

    from exaone_nb.compress import texts

    def gone(*name, **how):
        raise ConnectionError("broke off")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path))
    with pytest.raises(WorkbookError, match="mine/own"):
        texts.choose(REAL, ["mine/own"], samples=4, documents=4)
    mine = ROOT / "data" / "tasks" / "prose_en.jsonl"
    found = texts.choose(REAL, [str(mine)], samples=4, documents=4)
    assert [source.name for source in found.calibration] == [str(mine)]
