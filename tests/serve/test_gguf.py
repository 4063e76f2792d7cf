"""A GGUF checkpoint through what measures and scores: the same questions and counts, in llama.cpp."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from exaone_nb.cli import main
from exaone_nb.compress.gguf_checkpoint import gguf_checkpoint
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score import backends
from exaone_nb.score.evaluate import score
from exaone_nb.score.settings import Settings
from exaone_nb.serve.bench import BenchOptions, bench, questions
from exaone_nb.serve.checkpoints import checkpoints, record

pytest.importorskip("xllamacpp", reason="pip install xllamacpp: llama.cpp for GGUF files")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose only checkpoint is nano in Q8_0."""
    made = RunFolder(tmp_path_factory.mktemp("gguf") / "run")
    gguf_checkpoint(NANO, "Q8_0", made.checkpoints / "Q8_0")
    return made


def test_it_is_measured_in_llama_cpp(run, monkeypatch):
    """The tokens of the clock are counted by llama.cpp; transformers counts the same in the same answers."""
    monkeypatch.setattr("exaone_nb.engines.choice.VllmEngine", None)
    options = BenchOptions(
        batches=(1, 4), prompt_tokens=16, output_tokens=8, repeats=2, max_questions=6, max_model_len=512
    )
    seen = []
    found = bench(
        str(run.checkpoint("Q8_0")), options, first=lambda engine: seen.append(engine.chat_all(questions(6)))
    )
    assert (found.engine, found.scheme, found.runs_as, found.dtype) == ("llama.cpp", "Q8_0", "Q8_0", "Q8_0")
    assert found.kernel.startswith("ggml ") and found.limits == (None, None)
    timed = found.per_token
    assert [answer.token_ids for answer in timed.answers] == [answer.token_ids for answer in seen[0]]
    assert (
        timed.output_tokens == sum(len(answer.token_ids) for answer in timed.answers)
        and not timed.lengths.cut_off
    )
    assert [d.batch for d in found.decodes] == [1, 4] and min(d.per_token.value for d in found.decodes) > 0
    paths = record(run, "Q8_0", found, rounds_from="now")
    (kept,) = [json.loads(path.read_text()) for path in paths if "per_token" in path.name]
    assert kept["details"]["engine"] == "llama.cpp" and "xllamacpp" in kept["details"]["versions"]
    assert list(checkpoints(run, "nano")) == [BASELINE, "Q8_0"]


def test_without_vllm_the_baseline_is_measured_in_llama_cpp_too(monkeypatch):
    monkeypatch.setattr("exaone_nb.engines.choice.has_vllm", lambda: False)
    options = BenchOptions(
        batches=(1,), prompt_tokens=8, output_tokens=4, repeats=1, max_questions=0, max_model_len=256
    )
    found = bench("nano", options)
    assert (found.engine, found.dtype) == ("llama.cpp", "BF16")
    assert any("made just now" in remark for remark in found.remarks)


@pytest.mark.heavy
def test_it_is_scored_with_the_prompts_and_counts_of_every_other(run, tmp_path):
    """lm-eval's samples of llama.cpp and of transformers hold the same prompts, item by item."""
    settings, out = Settings(backend="hf", limit=12), RunFolder.at(tmp_path)
    told: list[str] = []
    models = {"nano": NANO, "Q8_0": run.checkpoint("Q8_0")}
    found = score(models, ["nano_gsm", "nano_mc"], out, settings, report=told.append, without_refused=True)
    assert [(one.recipe, one.task, one.estimate.n) for one in found] == [
        ("nano", "nano_gsm", 12), ("nano", "nano_mc", 12), ("Q8_0", "nano_gsm", 12)
    ]  # fmt: skip
    assert any("Q8_0: llama.cpp gives no log-likelihoods" in line and "nano_mc" in line for line in told)
    asked = {}
    for one in (found[0], found[2]):
        lines = [json.loads(line) for line in (tmp_path / one.samples_file).read_text("utf-8").splitlines()]
        asked[one.recipe] = {line["doc_id"]: line["prompt_hash"] for line in lines}
        assert {line["finish_reason"] for line in lines} == {"stop"}
    assert asked["nano"] == asked["Q8_0"] and abs(found[0].estimate.value - found[2].estimate.value) <= 2 / 12
    again = score(models, ["nano_gsm"], out, settings, report=told.append)
    assert all(one.resumed for one in again)


@pytest.mark.heavy
def test_log_likelihoods_are_refused_before_anything_starts(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(backends, "opened", None)
    with pytest.raises(UsageError, match="gives no log-likelihoods of a prompt, and nano_mc needs them"):
        score(
            {"q": run.checkpoint("Q8_0")}, ["nano_gsm", "nano_mc"], RunFolder.at(tmp_path), Settings(limit=4)
        )
    with pytest.raises(SystemExit, match="2"):
        main(
            [
                "score",
                str(run.checkpoint("Q8_0")),
                "--tasks",
                "nano_mc",
                "--limit",
                "4",
                "--out",
                str(tmp_path),
            ]
        )
    assert "llama.cpp" in capsys.readouterr().err and not list(tmp_path.rglob("*.json*"))


def test_a_result_of_another_file_is_refused(run: RunFolder, tmp_path: Path):
    """The board holds a GGUF checkpoint's bytes and fingerprint against the folder, as of every checkpoint."""
    from exaone_nb.errors import WorkbookError
    from exaone_nb.score.candidates import _refuse_stale
    from exaone_nb.score.evaluate import fingerprint

    folder = shutil.copytree(run.checkpoint("Q8_0"), tmp_path / "run" / "checkpoints" / "Q8_0")
    run, scored = (
        RunFolder(tmp_path / "run"),
        {"nano_gsm": {"details": {"model_fingerprint": fingerprint(folder)}}},
    )
    _refuse_stale(run, "Q8_0", {"value": 3_668_704}, scored)
    with pytest.raises(WorkbookError, match=r"Q8_0 has 3,668,704 bytes now, and 1 were measured"):
        _refuse_stale(run, "Q8_0", {"value": 1}, scored)
    (file,) = folder.glob("*.gguf")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WorkbookError, match="another Q8_0"):
        _refuse_stale(run, "Q8_0", {"value": 3_668_704}, scored)
