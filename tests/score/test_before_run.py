"""What is refused before a model is loaded: the checks that `--preview` makes, and settings that no engine can serve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from exaone_nb.cli import main
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.results import RunFolder
from exaone_nb.score import backends
from exaone_nb.score.evaluate import score
from exaone_nb.score.settings import Settings

pytestmark = pytest.mark.heavy


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("exaone_nb.score.backends.opened", never)


@pytest.mark.parametrize("backend", ["hf", "vllm"])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_model_len": 128}, "do not fit into max_model_len 128"),
        ({"max_model_len": 512, "gen_kwargs": {"max_gen_toks": 512}}, "+ answer 512 tokens do not fit"),
    ],
)
def test_prompts_that_would_be_cut_are_refused(
    backend: str, settings: dict[str, object], told: str, tmp_path: Path
) -> None:
    run = RunFolder.at(tmp_path)
    with pytest.raises(WorkbookError) as caught:
        score({"nano": "nano"}, ["nano_gsm"], run, Settings(backend=backend, limit=8, **settings))
    assert told in caught.value.got and "--preview" in caught.value.remedy
    assert not list(tmp_path.rglob("*.json*"))


def test_choices_count_with_their_prompt(tmp_path: Path) -> None:
    """Prompt and choice together must fit; the prompt alone would."""
    from transformers import AutoTokenizer

    from exaone_nb.score.preview import preview_tasks

    (look,) = preview_tasks("nano", ["nano_mc"], Settings(limit=4))
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    prompt = len(tokenizer(look.prompt, add_special_tokens=False)["input_ids"])
    assert look.longest_prompt > prompt and not look.problems
    settings = Settings(limit=4, max_model_len=look.longest_prompt)
    with pytest.raises(WorkbookError, match="do not fit"):
        score({"nano": "nano"}, ["nano_mc"], RunFolder.at(tmp_path), settings)
    with pytest.raises(AssertionError, match="was loaded"):
        fits = Settings(limit=4, max_model_len=look.longest_prompt + 1)
        score({"nano": "nano"}, ["nano_mc"], RunFolder.at(tmp_path), fits)


def test_a_text_whose_likelihood_is_measured_is_no_prompt() -> None:
    """It has no template and may be longer than the context: lm-eval reads it in windows."""
    from exaone_nb.score.preview import preview_tasks

    (look,) = preview_tasks("nano", ["prose_en"], Settings(limit=2, max_model_len=64))
    assert look.longest_prompt > 64 and look.checks == ()


def test_a_context_longer_than_the_models_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="max_model_len is 65,540") as caught:
        score({"nano": "nano"}, ["nano_gsm"], RunFolder.at(tmp_path), Settings(max_model_len=65_540))
    assert "65,536" in caught.value.expected
    for verb in ("memory", "speed"):
        with pytest.raises(SystemExit) as ended:
            main([verb, "nano", "--context", "65540", "--gpu", "L4"])
        assert ended.value.code == 2 and "context is 65,540" in capsys.readouterr().err


def test_what_may_be_meant_is_said_and_run(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(AssertionError, match="was loaded"):
        settings = Settings(limit=4, chat_template=False)
        score({"nano": "nano"}, ["nano_gsm"], RunFolder.at(tmp_path), settings, report=lines.append)
    assert any("No chat template was applied" in line for line in lines)


def test_a_chat_endpoint_is_not_asked_for_log_likelihoods(tmp_path: Path) -> None:
    settings = Settings(backend="server-chat", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="nano_mc") as caught:
        score({"model": "model"}, ["nano_mc", "nano_gsm"], RunFolder.at(tmp_path), settings)
    assert "--backend server" in caught.value.remedy


def test_one_candidate_that_cannot_run_stops_all_before_the_first_is_loaded(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(NANO, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(WorkbookError, match="bare has no chat template"):
        score({"good": "nano", "bare": bare}, ["nano_gsm"], RunFolder.at(tmp_path / "run"), Settings(limit=2))


def test_the_record_says_how_the_generation_config_was_used(tmp_path: Path) -> None:
    stored = {
        "eos_token_id": 6,
        "do_sample": True,
        "repetition_penalty": 1.1,
        "transformers_version": "5.17.0",
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(stored))
    for backend in ("hf", "vllm"):
        found = backends.generation_config(tmp_path, Settings(backend=backend))
        assert found["not_applied"] == {"do_sample": True, "repetition_penalty": 1.1}
    assert backends.generation_config(NANO, Settings())["not_applied"] == {}
    served = Settings(backend="server-chat", base_url="http://x/v1")
    assert "server" in backends.generation_config("model", served)["used"]
