"""What the chapter on inference says and asks: sampling, sizes, tables, and the whole chapter where there is no vLLM."""

import os
import subprocess
import sys
import types

import pytest

from exaone_nb import catalog
from exaone_nb.conversation.answers import Answer, Sampling, goes_round, in_words
from exaone_nb.conversation.prompt import Preview
from exaone_nb.engines import environment, options
from exaone_nb.errors import UsageError
from exaone_nb.hardware import Machine
from exaone_nb.serve import tables, talk
from exaone_nb.serve.checkpoints import Candidate
from exaone_nb.serve.speed import PerToken, lengths
from exaone_nb.workbook.chapters import discover, has_tag

(CHAPTER,) = [one for one in discover() if one.number == "08"]


class Recorder:
    """Keeps how it was asked; answers with `answers` by turns."""

    def __init__(self, *answers):
        self.answers, self.samplings = list(answers), []

    def chat(self, messages, mode, sampling):
        self.samplings.append(sampling)
        return self.answers.pop(0) if self.answers else Answer("fine", raw="fine", finish_reason="stop")


def test_a_korean_prompt_takes_the_temperature_for_korean():
    engine = Recorder()
    prompts = ["너가 얼마나 대단한지 설명해 봐", "Explain"]
    rows = talk.talk(engine, prompts, "EXAONE-4.0-1.2B", max_tokens=9).rows
    assert [s.temperature for s in engine.samplings] == [0.1, 0.6, 0.0, 0.6]
    assert {s.max_tokens for s in engine.samplings} == {9}
    assert [row["sampled"] for row in rows[:3]] == [
        "temperature 0.1",
        "temperature 0.6, top_p 0.95",
        "greedy",
    ]


def test_an_answer_that_goes_round_is_asked_for_again_with_the_penalty():
    circle = Answer("", raw="I think so, and so I think. " * 9, finish_reason="length")
    plain = Answer("fine", raw="fine", finish_reason="stop")
    engine = Recorder(plain, circle)
    rows = talk.talk(engine, ["Explain"], "EXAONE-4.0-1.2B", max_tokens=9).rows
    assert [s.presence_penalty for s in engine.samplings] == [0, 0, 1.5]
    assert "presence penalty 1.5" in rows[1]["sampled"] and "second try" in rows[1]["sampled"]
    engine = Recorder(circle, circle)  # nano's makers name no penalty: a second try would be the first again
    assert len(talk.talk(engine, ["Explain"], "nano", max_tokens=9)) == len(engine.samplings) == 2


@pytest.mark.parametrize(
    ("text", "round_"),
    [
        ("well " * 20, True),
        ("x" * 40, True),
        ("Once. " + "one two three four five six seven eight nine ten " * 4, True),
        ("".join(map(str, range(100))) + "one two three four five six seven eight nine ten " * 3, False),
        ("1 + 1 = 2, 2 + 2 = 4, 3 + 3 = 6, 4 + 4 = 8, 5 + 5 = 10", False),
        ("....", False),
        ("", False),
    ],
)
def test_going_round(text, round_):
    assert goes_round(text) is round_


def test_words_for_sampling():
    assert in_words(Sampling(temperature=0.6, top_p=0.8, top_k=20)) == "temperature 0.6, top_p 0.8, top_k 20"


def test_preview_shows_every_token():
    seen = Preview("<b>é\n", (7, 8, 9), ("<b>", "\ufffd", "\n"), ())
    assert seen.shown == "7:'<b>' 8 9:'\\n'"


def test_sizes_follow_the_model_and_the_machine(monkeypatch):
    nano, real = (catalog.resolve(name).config() for name in ("nano", "EXAONE-4.0-1.2B"))
    monkeypatch.setattr(options, "core_count", lambda: 16)
    assert [options.threads_for(c) for c in (nano, real)] == [1, 16] and options.threads_for(nano, 3) == 3
    assert not options.is_tiny({"model_type": "nobody knows it"})
    monkeypatch.setattr(options.catalog, "weights_folder", lambda model: catalog.Path(model))
    monkeypatch.setattr(
        options.catalog, "read_config", lambda path: nano if path.parent.name == "nano" else real
    )
    for gpu, longest in ((True, 4096), (False, 512)):
        monkeypatch.setattr(options, "has_gpu", lambda gpu=gpu: gpu)
        assert options.sizes_for("nano").answer_tokens == 160
        found = options.sizes_for("real")
        assert found.answer_tokens == longest and found.max_model_len >= longest + 1024
    assert options.sizes_for("real", answer_tokens=8000).max_model_len == 9024
    short = options.sizes_for("real", answer_tokens=8000, max_model_len=2048)
    assert (short.max_model_len, short.answer_tokens) == (2048, 1024)  # the server refuses a longer wish
    with pytest.raises(UsageError, match="max_model_len is 200,000"):
        options.sizes_for("real", max_model_len=200_000)
    with pytest.raises(UsageError, match="answer_tokens"):
        options.sizes_for("real", answer_tokens=-1)


def test_a_card_is_named_before_torch_is_loaded(monkeypatch):
    """The chapter on inference names its machine first thing; on an H200 it said "no GPU"."""
    monkeypatch.setattr(environment, "this_gpu", lambda: Machine("NVIDIA H200", 9.0))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert environment.machine_sentence() == "NVIDIA H200"
    monkeypatch.setattr(environment, "this_gpu", lambda: None)
    assert environment.machine_sentence().endswith("no GPU")


def timed(*seconds):
    return PerToken(seconds, lengths([Answer("x", output_tokens=1, seconds=1.0)]), 1, 1)


def test_speed_norm_has_an_interval_over_the_rounds():
    table = tables.per_token_table(
        {"baseline": timed(1.0, 2.0, 4.0), "half": timed(0.5, 1.0, 2.0), "one": timed(0.5)}
    )
    norms = [row["speed_norm"] for row in table.rows]
    assert [norm.interval for norm in norms] == [None, (0.5, 0.5), None]  # slow rounds slow both
    (_, apart) = tables.per_token_table({"baseline": timed(1.0, 1.0), "other": timed(0.9, 1.1)}).rows
    # Ratios 0.9 and 1.1: mean 1, s = 0.1414, t(0.975, 1) = 12.7062, so a factor of exp(1.27062) around 1.
    assert apart["speed_norm"].interval == pytest.approx((1 - 3.56306, 1 - 1 / 3.56306), abs=1e-4)


def test_recorded_rows_read_as_the_measured_ones_do():
    rows = tables.recorded("speed_1.2B_cpu")["rows"]
    shown = tables.speed_table(rows)
    assert [row["name"] for row in shown.rows] == ["BF16", "W8A8", "W4A16"]
    assert not any("_" in head for head in shown.headings())
    row = {
        "name": "A",
        "scheme": "A",
        "runs_as": "A",
        "batch": 1,
        "tokens_per_second": 4.0,
        "first_token_seconds": 1.0,
    }
    near = row | {"name": "B", "tokens_per_second": 5.0, "tokens_per_second_interval": [3.5, 7.0]}
    far = row | {"name": "C", "tokens_per_second": 8.0, "tokens_per_second_interval": [7.5, 9.0]}
    words = tables.comparison_words([row | {"tokens_per_second_interval": [3.6, 4.4]}, near, far])
    assert "B writes 1.2 times as fast as A in the mean (the intervals touch" in words
    assert "C writes 2.0 times as fast as A in the mean (the intervals are apart)" in words
    # A batch of eight is compared with the first row at eight, not with one request.
    eight = [row | {"batch": 8, "tokens_per_second": 30.0}, near | {"batch": 8, "tokens_per_second": 15.0}]
    eight = [one | {"tokens_per_second_interval": None} for one in eight]
    words = tables.comparison_words([row, near, *eight])
    assert words.count("times as fast") == 2 and "At batch 8 B writes 0.5 times as fast as A" in words


def test_how_many_answers_stay_the_same_is_said_for_every_candidate():
    def answered(*token_ids):
        return Answer("x", token_ids=token_ids, top_logprobs=tuple({token: -0.1} for token in token_ids))

    base = (answered(1, 2, 3), answered(4, 5))
    longer = Candidate("longer", None, (answered(1, 2, 3, 9), answered(4, 5)))
    candidates = [Candidate("baseline", None, base), Candidate("alike", None, base), longer]
    words = tables.agreement_words(candidates, tokenizer=types.SimpleNamespace(decode=str))
    assert words.endswith("last token: alike 2 of 2, longer 1 of 2.")


def test_a_figure_of_eight_bit_activations_is_called_that():
    row = {"name": "w4a16", "scheme": "W4A16", "runs_as": "W4A8", "batch": 1, "tokens_per_second": 4.0}
    assert "w4a16 run as W4A8" in tables.eight_bit_words([row]) and "w4a16 run as W4A8" in tables.speed_words(
        [row]
    )
    assert "W4A8" in tables.speed_table([row]).cells()[0]
    assert tables.eight_bit_words([row | {"runs_as": "W4A16"}]) == ""


def test_on_a_gpu_the_server_waits_until_the_other_engine_is_closed():
    """The first cell that may start one does not there; the one that uses it comes after the engine's block."""
    sources = [c["source"] for c in CHAPTER.document["cells"] if c["cell_type"] == "code"]
    (place,) = [n for n, source in enumerate(sources) if "def start_server" in source]
    started = []
    names = {
        "catalog": types.SimpleNamespace(weights_folder=lambda model: model),
        "Server": lambda folder, **options: started.append(options) or "server",
        **{
            "MODEL": "nano",
            "DTYPE": "auto",
            "TENSOR_PARALLEL_SIZE": 1,
            "DATA_PARALLEL_SIZE": 1,
            "GPU_MEMORY_UTILIZATION": 0.5,
        },
        **{"with_server": True, "sizes": options.Sizes(1, 160, 2048), "has_gpu": lambda: True},
    }
    exec(sources[place], names)
    assert names["server"] is None and started == []
    names["start_server"]()
    assert started[0]["gpu_memory_utilization"] == 0.5
    engine = next(n for n, source in enumerate(sources) if "with open_engine(MODEL" in source)
    used = next(n for n, source in enumerate(sources) if "server or start_server()" in source)
    stopped = next(n for n, source in enumerate(sources) if "server.stop()" in source)
    assert place < engine < used <= stopped


HIDDEN = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.split(".")[0] == "vllm" else find(name, *a)

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "vllm":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""


@pytest.mark.heavy
def test_the_chapter_runs_without_vllm(tmp_path):
    """Its cells one after the other in a process that has no vLLM; llama.cpp answers, the rest says what is missing."""
    sources = [HIDDEN]
    for cell in CHAPTER.document["cells"]:
        if cell["cell_type"] == "code":
            sources.append(cell["source"])
            if has_tag(cell, "parameters"):
                sources.append(f"RUN_DIR, ANSWER_TOKENS = {str(tmp_path)!r}, 8")
    sources.append("import sys\nprint('the end', len(answers), 'vllm' in sys.modules)")
    script = tmp_path / "chapter.py"
    script.write_text("\n\n".join(sources), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "engine: llama.cpp" in done.stdout and "the end 8 False" in done.stdout
