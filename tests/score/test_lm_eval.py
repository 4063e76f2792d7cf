"""lm-eval itself, on nano: files, resuming, endpoints, and one answer whichever way the model is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exaone_nb.catalog import weights_folder
from exaone_nb.cli import main
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.score.compare import compare_all
from exaone_nb.score.comparison_views import score_table
from exaone_nb.score.evaluate import score
from exaone_nb.score.flips import flips
from exaone_nb.score.lm_eval_adapter import find_tasks
from exaone_nb.score.named import scored_items
from exaone_nb.score.preview import expected_seconds, preview_tasks
from exaone_nb.score.samples import find_samples, read_rows, read_samples
from exaone_nb.score.settings import Settings

pytestmark = pytest.mark.heavy
TASKS = ["nano_gsm", "nano_mc"]
ITEMS = 24


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Nano scored twice in one process through vLLM, the second time under another name."""
    run = RunFolder.at(tmp_path_factory.mktemp("score"))
    score({"baseline": "nano", "twin": "nano"}, TASKS, run, Settings(limit=ITEMS))
    return run


def test_every_model_and_task_leaves_a_result_and_lm_evals_own_files(run: RunFolder) -> None:
    results = run.read_results("accuracy")
    assert {(r["recipe"], r["label"]) for r in results} == {
        (m, t) for m in ("baseline", "twin") for t in TASKS
    }
    for result in results:
        details = result["details"]
        counts = details["outcomes"]
        assert result["n"] == ITEMS == len(details["items"])
        assert counts["correct"] + counts["wrong"] + counts["unusable"] == ITEMS
        assert result["interval"][0] <= result["value"] <= result["interval"][1]
        items = read_samples(run.path / details["samples_file"])
        assert items.score == result["value"] and items.settings["n_samples"] == ITEMS
        assert str(run.path) not in json.dumps(result)
        assert details["generation_config"]["not_applied"] == {} and details["answers_from_before"] == 0
    assert not list((run.path / "lm_eval" / "baseline").glob(".part-*"))
    assert not list((run.path / "lm_eval" / "baseline").glob("answers_*")), "the samples hold them now"
    assert set(find_samples(run.path / "lm_eval" / "baseline")) == set(TASKS)


def test_the_same_model_twice_is_identical(run: RunFolder) -> None:
    found = compare_all(scored_items(run, "baseline"), {"twin": scored_items(run, "twin")})
    assert {c.discordant.share for c in found} == {0} and all(
        "the same outcome on every item" in c.words for c in found
    )


def test_the_same_model_twice_changed_no_answer(run: RunFolder) -> None:
    one, two = scored_items(run, "baseline"), scored_items(run, "twin")
    assert [flips(one[task], two[task], ("baseline", "twin")) for task in TASKS] == [[], []]


def test_what_is_finished_is_not_run_again(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("exaone_nb.score.backends.opened", never)
    lines: list[str] = []
    scores = score({"baseline": "nano"}, TASKS, run, Settings(limit=ITEMS), report=lines.append)
    assert all(s.resumed for s in scores) and "scored before" in lines[0]
    with pytest.raises(AssertionError, match="was loaded"):
        score({"baseline": "nano"}, TASKS, run, Settings(limit=ITEMS - 1))
    table = score_table(scores)
    assert [row["n"] for row in table.rows] == [ITEMS, ITEMS]
    assert expected_seconds(run, preview_tasks("nano", TASKS, Settings(limit=ITEMS))) > 0


def test_hf_and_vllm_read_the_same_choices(run: RunFolder) -> None:
    """Two engines, bfloat16: the likeliest choice agrees on nearly all items; generation is a token race."""
    score({"hf": "nano"}, ["nano_mc"], run, Settings(limit=ITEMS, backend="hf"))
    left, right = scored_items(run, "baseline")["nano_mc"], scored_items(run, "hf")["nano_mc"]
    assert left.keys == right.keys
    assert (left.values == right.values).mean() >= 0.9


def test_a_cut_answer_is_counted_as_cut(run: RunFolder) -> None:
    settings = Settings(limit=ITEMS, gen_kwargs={"max_gen_toks": 2})
    (found,) = score({"short": "nano"}, ["nano_gsm"], run, settings)
    # Two tokens may be the answer by luck: then the item counts as correct, as lm-eval counts it.
    assert found.outcomes["truncated"] + found.outcomes["correct"] == ITEMS
    assert found.outcomes["truncated"] > found.outcomes["correct"]
    items = read_samples(run.path / found.samples_file)
    assert items.outcomes == found.outcomes, "the file says why an answer ended"


def test_the_preview_is_the_prompt_that_is_sent(run: RunFolder) -> None:
    (look,) = preview_tasks("nano", ["nano_gsm"], Settings(limit=ITEMS))
    rows = read_rows(find_samples(run.path / "lm_eval" / "baseline")["nano_gsm"])
    assert look.prompt == rows[0]["arguments"]["gen_args_0"]["arg_0"]
    assert all(check.ok for check in look.checks) and (look.items, look.requests) == (ITEMS, ITEMS)
    (off,) = preview_tasks("nano", ["nano_gsm"], Settings(limit=4, chat_template=False))
    assert any(not check.ok and "No chat template" in check.text for check in off.checks)
    (thinking,) = preview_tasks("nano", ["nano_mc"], Settings(limit=4, thinking=True))
    assert any(not check.ok and "cannot think" in check.text for check in thinking.checks)
    (long,) = preview_tasks("nano", ["nano_gsm"], Settings(limit=4, max_model_len=64))
    assert any(not check.ok and "do not fit" in check.text for check in long.checks)


def test_the_command_line(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "baseline", "twin", "--out", str(run.path), "--json"])
    assert ended.value.code in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert [c["difference"] for c in document["comparisons"]] == [0, 0]
    with pytest.raises(SystemExit) as ended:
        main(["compare", "baseline", "nobody", "--out", str(run.path)])
    assert ended.value.code == 2
    assert "no accuracy of 'nobody'" in capsys.readouterr().err


def test_unknown_tasks_and_broken_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean nano_gsm"):
        find_tasks(["nano_gms"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}", encoding="utf-8")
    run = RunFolder.at(tmp_path / "run")
    with pytest.raises(WorkbookError, match="tokenizer of broken"):
        score({"broken": tmp_path / "broken"}, ["nano_mc"], run, Settings(limit=2))
    assert not run.read_results()


def test_our_server_gives_the_same_answers(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from exaone_nb.engines.server import Server

    folder = weights_folder("nano")
    with Server(folder, eager=True) as server:
        server.wait()
        monkeypatch.setitem(os.environ, "OPENAI_API_KEY", server.key)
        common = {"base_url": server.address, "limit": ITEMS}
        score({"server": "model"}, TASKS, run, Settings(backend="server", tokenizer=str(folder), **common))
        score({"chat": "model"}, ["nano_gsm"], run, Settings(backend="server-chat", **common))

    def answers(recipe: str, task: str) -> dict[tuple[str, str], object]:
        rows = read_rows(find_samples(run.path / "lm_eval" / recipe)[task])
        return {(r["doc_hash"], r["filter"]): r["resps"] for r in rows}

    assert answers("server", "nano_gsm") == answers("baseline", "nano_gsm")
    assert answers("chat", "nano_gsm") == answers("baseline", "nano_gsm")
    left, right = scored_items(run, "baseline")["nano_mc"], scored_items(run, "server")["nano_mc"]
    assert (left.values == right.values).all()
