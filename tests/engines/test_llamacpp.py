"""llama.cpp as an engine: same prompts and answers as elsewhere, what its figures say, broken files, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from exaone_nb.conversation.answers import Sampling
from exaone_nb.conversation.tools import ROLL_DICE
from exaone_nb.engines import llamacpp_adapter
from exaone_nb.engines.choice import choose_engine, open_engine
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.serve.bench import questions

xllamacpp = pytest.importorskip("xllamacpp", reason="pip install xllamacpp: llama.cpp for GGUF files")
ASKED = [{"role": "user", "content": "Tom has 3 apples and buys 4 more. How many apples has he?"}]


@pytest.fixture(scope="module")
def engine(bf16: Path):
    with LlamacppEngine(bf16, max_model_len=1024, threads=1, max_num_seqs=8) as opened:
        yield opened


def test_what_the_adapter_sets_is_there():
    """The contract: an upgrade that renames a setting fails here first."""
    parameters = xllamacpp.CommonParams()
    named = {
        *llamacpp_adapter.SETTINGS,
        "n_parallel",
        "n_batch",
        "n_ctx",
        "api_keys",
        "cpuparams",
        "cpuparams_batch",
    }
    assert not [name for name in named if not hasattr(parameters, name)]
    assert not [name for name in llamacpp_adapter.SAMPLING if not hasattr(parameters.sampling, name)]
    assert not [name for name in ("path",) if not hasattr(parameters.model, name)]
    assert not [name for name in ("n_threads",) if not hasattr(parameters.cpuparams, name)]


def test_llama_cpp_cuts_our_prompts_into_the_same_tokens(engine):
    """Rendered by the chat template here, cut by the tokenizer of the folder and by the one inside the file."""
    tokenizer = engine.tokenizer()
    calls = [
        [ASKED, "non-reasoning", None], [ASKED, "reasoning", None], [ASKED, "non-reasoning", [ROLL_DICE.schema()]],
        [[{"role": "system", "content": "너는 엑사원이다.\n\n  Ünïcode 🙂 1234567"}, *ASKED], "non-reasoning", None],
        *([conversation, "non-reasoning", None] for conversation in questions(200)),
    ]  # fmt: skip
    for messages, mode, tools in calls:
        ids = engine.prompt_tokens(messages, mode, tools)
        assert engine.server.tokenize(tokenizer.decode(ids)) == ids


def test_greedy_answers_are_those_of_transformers(engine):
    """bf16 weights in both; what is added up in another order may tip a close decision, so a few may part."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.bfloat16).eval()
    prompts = [engine.prompt_tokens(conversation) for conversation in questions(24)]
    same = 0
    for prompt, answer in zip(prompts, engine.generate(prompts, Sampling(max_tokens=96)), strict=True):
        with torch.no_grad():
            made = model.generate(torch.tensor([prompt]), max_new_tokens=96, do_sample=False)[
                0, len(prompt) :
            ]
        same += tuple(made.tolist()) == answer.token_ids
    assert same >= 20, f"{same} of {len(prompts)} answers are the same to the last token"


def test_an_answer_says_how_it_ended_and_how_long_it_is(engine):
    whole = engine.chat(ASKED, sampling=Sampling(max_tokens=64))
    assert whole.text.endswith("7") and whole.finish_reason == "stop"
    ends = engine.tokenizer().convert_tokens_to_ids(["[|endofturn|]"])
    assert whole.output_tokens == len(whole.token_ids) and whole.token_ids[-1] in ends
    cut = engine.chat(ASKED, sampling=Sampling(max_tokens=3))
    assert (cut.finish_reason, cut.output_tokens, cut.token_ids) == ("length", 3, whole.token_ids[:3])
    assert whole.prompt_tokens == len(engine.prompt_tokens(ASKED))
    thinking = engine.chat(ASKED, "reasoning", Sampling(max_tokens=200))
    assert thinking.thought and "</think>" not in thinking.text and thinking.text.endswith("7")


def test_times_add_up_and_those_who_wait_are_told_apart(engine):
    """Twenty requests on eight slots: the last ones wait for the first, and the whole takes about as long as its last."""
    prompts = [[20 + n, 21, 22, 23] for n in range(20)]
    engine.generate(prompts, Sampling(max_tokens=8, ignore_eos=True))
    started = time.perf_counter()
    answers = engine.generate(prompts, Sampling(max_tokens=64, ignore_eos=True))
    took = time.perf_counter() - started
    assert {answer.output_tokens for answer in answers} == {64}
    assert all(0 < answer.first_token_seconds < answer.seconds for answer in answers)
    assert 0.5 * took < max(answer.seconds for answer in answers) <= took
    assert min(a.first_token_seconds for a in answers[-4:]) > max(a.first_token_seconds for a in answers[:8])


def test_sampling_is_seeded_and_its_limits_hold(engine):
    draw = Sampling(max_tokens=24, temperature=5.0, seed=7)
    first, again = (engine.chat(ASKED, sampling=draw).token_ids for _ in range(2))
    assert first == again
    greedy = engine.chat(ASKED, sampling=Sampling(max_tokens=24)).token_ids
    assert first != greedy
    one = Sampling(max_tokens=24, temperature=5.0, top_k=1, seed=7)
    assert engine.chat(ASKED, sampling=one).token_ids == greedy
    tiny = Sampling(max_tokens=24, temperature=5.0, top_p=1e-6, seed=7)
    assert engine.chat(ASKED, sampling=tiny).token_ids == greedy


def test_log_probabilities_belong_to_their_tokens(engine):
    found = engine.chat(ASKED, sampling=Sampling(max_tokens=32, logprobs=3))
    assert len(found.top_logprobs) == len(found.token_ids)
    told = [(token, top) for token, top in zip(found.token_ids, found.top_logprobs, strict=True) if top]
    assert len(told) > len(found.token_ids) / 2
    assert all(next(iter(top)) == token and max(top.values()) == top[token] <= 0 for token, top in told)
    # Part of a letter has none: the tokens of 압 are three, and the last one alone has figures.
    top = llamacpp_adapter._top_logprobs(
        [9, 8, 250], [{"id": 250, "logprob": -0.5, "top_logprobs": [{"id": 4, "logprob": -1.0}]}]
    )
    assert top == ({}, {}, {250: -0.5, 4: -1.0})


def test_a_schema_is_kept(engine):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    import json

    assert set(json.loads(engine.chat(ASKED, sampling=Sampling(max_tokens=40, json_schema=schema)).raw)) == {
        "n"
    }


def test_prompts_without_room_are_refused(engine):
    with pytest.raises(UsageError, match="no tokens"):
        engine.generate([[1, 2], []])
    with pytest.raises(UsageError, match="1,024 tokens; max_model_len is 1,024"):
        engine.generate([[20] * 1024])


def test_sixteen_bit_models_run_without_a_file_of_their_own(engine):
    with open_engine("nano", "llama.cpp", max_model_len=512, threads=1) as made:
        assert made.dtype == "BF16" and "made just now" in made.remarks[0]
        assert made.chat(ASKED).token_ids == engine.chat(ASKED).token_ids
        place = Path(made._files._exit_callbacks[0][1].__self__.name) if made._files._exit_callbacks else None
    assert place is not None and not place.exists()
    with pytest.raises(UsageError, match="The engine is closed"):
        made.chat(ASKED)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: b"", "is no GGUF file"),
        (lambda content: content[: len(content) // 2], "stopped early|describes"),
        (lambda content: b"GGML" + content[4:], "no GGUF file"),
        (lambda content: content.replace(b"exaone4", b"exaoneX"), "unknown model architecture: 'exaoneX'"),
        (lambda content: content.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_ux.weight"), "ffn_up"),
    ],
    ids=["empty", "half", "other magic", "unknown family", "a tensor is missing"],
)
def test_a_broken_file_is_a_sentence(bf16, tmp_path, damage, said):
    folder = shutil.copytree(bf16, tmp_path / "broken")
    (file,) = folder.glob("*.gguf")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WorkbookError, match=said) as caught:
        LlamacppEngine(folder, max_model_len=512)
    assert "\n" not in caught.value.got and caught.value.remedy
    assert not _servers()


def test_what_must_lie_beside_the_file(bf16, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    file = Path(shutil.copy(next(bf16.glob("*.gguf")), alone / "nano.gguf"))
    with pytest.raises(UsageError, match=r"no config.json beside nano.gguf"):
        open_engine(str(file))
    shutil.copy(NANO / "config.json", alone)
    with pytest.raises(WorkbookError, match="tokenizer of alone cannot be loaded"):
        open_engine(str(file))
    shutil.copy(file, alone / "second.gguf")
    with pytest.raises(UsageError, match="lies beside other GGUF files"):
        open_engine(str(file))


def test_the_engine_is_chosen_by_what_the_model_is(bf16, tmp_path, monkeypatch):
    packed = shutil.copytree(NANO, tmp_path / "packed")
    config = (packed / "config.json").read_text(encoding="utf-8")
    (packed / "config.json").write_text('{"quantization_config": {},' + config.lstrip()[1:], encoding="utf-8")
    assert choose_engine(folder=bf16).name == "llama.cpp"
    for name in ("vllm", "transformers"):
        with pytest.raises(UsageError, match="GGUF file, and"):
            choose_engine(name, folder=bf16)
    monkeypatch.setattr("exaone_nb.engines.choice.has_vllm", lambda: False)
    assert [choose_engine(folder=place).name for place in (NANO, packed)] == ["llama.cpp", "transformers"]
    monkeypatch.setattr("exaone_nb.engines.choice.has_llamacpp", lambda: False)
    assert choose_engine(folder=NANO).name == "transformers"
    monkeypatch.setattr("exaone_nb.engines.environment.has_llamacpp", lambda: False)
    with pytest.raises(WorkbookError, match="not installed here"):
        choose_engine(folder=bf16)


def test_a_server_that_dies_is_a_sentence(bf16):
    with LlamacppEngine(bf16, max_model_len=512, threads=1) as engine:
        for process in _servers():
            process.kill()
        with pytest.raises(WorkbookError, match=r"could not go on with model-BF16\.gguf"):
            engine.chat(ASKED)
    assert not _servers()


MOMENTS = """
import sys
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines import llamacpp_adapter
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
from exaone_nb import processes

moment, folder = sys.argv[1:]
def at(name, before):
    def told(*arguments, **options):
        if moment == name:
            print("now", flush=True)
        return before(*arguments, **options)
    return told

processes.start = at("loading", processes.start)
processes.end = at("closing", processes.end)
with LlamacppEngine(folder, max_model_len=2048, threads=1, max_num_seqs=64) as engine:
    if moment == "between":
        print("now", flush=True)
        __import__("time").sleep(60)
    prompts, length = {"prompt": ([[20] * 1900] * 64, 1), "generating": ([[20, 21]] * 64, 2000)}.get(moment, ([[20, 21]], 2))
    if moment in ("prompt", "generating"):
        print("now", flush=True)
    engine.generate(prompts, Sampling(max_tokens=length, ignore_eos=True))
print("finished", flush=True)
"""


@pytest.mark.heavy  # each starts a Python that loads transformers
@pytest.mark.parametrize("moment", ["loading", "prompt", "generating", "between", "closing"])
def test_ctrl_c_leaves_nobody_behind(bf16, moment):
    child = subprocess.Popen(
        [sys.executable, "-c", MOMENTS, moment, str(bf16)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "now\n"
        time.sleep(0.0 if moment == "closing" else 0.3)
        family = psutil.Process(child.pid).children(recursive=True)
        os.kill(child.pid, signal.SIGINT)
        said, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert errors.rstrip().endswith("KeyboardInterrupt") and "finished" not in said, errors[-1000:]
    psutil.wait_procs(family, timeout=10)
    assert not [
        process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_without_a_guard_the_server_sees_for_itself_that_nobody_is_there(bf16):
    """As on Windows: whoever opened it is killed, and says no goodbye."""
    code = "import sys, time\nfrom exaone_nb import processes\nprocesses.GUARDED = False\n"
    code += "from pathlib import Path\nfrom exaone_nb.engines.llamacpp_adapter import LlamaServer\n"
    code += "s = LlamaServer(Path(sys.argv[1]), slots=1, context=256, threads=1)\n"
    code += "print(s._process.pid, flush=True)\ntime.sleep(60)"
    (file,) = bf16.glob("*.gguf")
    opened = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    server = psutil.Process(int(opened.stdout.readline()))
    opened.kill()
    opened.communicate()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_an_interrupted_request_leaves_the_engine_as_it_was(engine, monkeypatch):
    before = engine.chat(ASKED).token_ids

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.generate([[20, 21, 22]] * 8, Sampling(max_tokens=900, ignore_eos=True))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert engine.chat(ASKED).token_ids == before


def _servers() -> list[psutil.Process]:
    """llama.cpp's processes below this one, that of the module's engine apart."""
    adapter = llamacpp_adapter.__name__
    mine = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    named = [
        p for p in mine if adapter in " ".join(p.cmdline()[:4]) and "exaone_nb.processes" not in p.cmdline()
    ]
    return [p for p in named if '"slots": 8,' not in " ".join(p.cmdline())]
