"""The engines on nano, for real: answers, times, kernels, start failures, and the server with tools."""

import contextlib
import gc
import json
import resource
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from exaone_nb import catalog
from exaone_nb.conversation.answers import Sampling
from exaone_nb.conversation.prompt import preview
from exaone_nb.conversation.tools import CALCULATOR, ROLL_DICE, run_tools
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.serve.bench import BenchOptions, bench
from exaone_nb.serve.checkpoints import record
from exaone_nb.serve.speed import lengths
from exaone_nb.serve.talk import parser_table

NANO = catalog.resolve("nano").path
needs_nano = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(),
    reason="data/nano has no weights: run `python -m exaone_nb.nano train`",
)
pytestmark = [pytest.mark.heavy, needs_nano]

QUESTION = [{"role": "user", "content": "Which one is bigger, 3.12 vs 3.9?"}]


@pytest.fixture(scope="module")
def engine():
    from exaone_nb.engines.vllm_engine import VllmEngine

    with VllmEngine(NANO, max_model_len=512, threads=1) as opened:
        yield opened


def test_both_modes_and_times(engine):
    plain, thoughtful = (
        engine.chat(QUESTION, mode, Sampling(max_tokens=80)) for mode in ("non-reasoning", "reasoning")
    )
    assert plain.text and not plain.thought
    assert thoughtful.thought and "</think>" not in thoughtful.text + thoughtful.thought
    assert 0 < thoughtful.first_token_seconds < thoughtful.seconds
    assert thoughtful.output_tokens == len(thoughtful.token_ids) > plain.output_tokens


def test_same_answers_as_transformers(engine):
    from exaone_nb.engines.transformers_engine import TransformersEngine

    sampling = Sampling(max_tokens=24)
    ask = [{"role": "user", "content": "Who are you?"}]
    with TransformersEngine(NANO) as other:
        theirs = other.chat(ask, sampling=sampling)
        thoughtful = other.generate([engine.prompt_tokens(ask, "reasoning")], Sampling(max_tokens=4))[0]
        assert thoughtful.thought and not thoughtful.text
        loose, penalized = (other.generate([[20] * 8], Sampling(12, presence_penalty=p))[0] for p in (0, 2))
    assert penalized.token_ids != loose.token_ids
    assert penalized.token_ids == engine.generate([[20] * 8], Sampling(12, presence_penalty=2))[0].token_ids
    ours = engine.chat(ask, sampling=sampling)
    assert ours.text == theirs.text and ours.prompt_tokens == theirs.prompt_tokens
    assert ours.finish_reason == theirs.finish_reason


def test_a_batch_gives_the_answers_of_single_requests(engine):
    prompts = [engine.prompt_tokens([{"role": "user", "content": f"{n} + 4?"}]) for n in range(3)]
    together = engine.generate(prompts, Sampling(max_tokens=8))
    assert [a.prompt_tokens for a in together] == [len(p) for p in prompts]
    assert together[1].token_ids[0] == engine.generate([prompts[1]], Sampling(max_tokens=1))[0].token_ids[0]


def test_length_and_schema_and_logprobs(engine):
    cut = engine.chat(QUESTION, "reasoning", Sampling(max_tokens=4))
    assert cut.finish_reason == "length" and cut.text == "" and cut.thought
    one_of = {"type": "string", "enum": ["yes", "no"]}
    assert json.loads(engine.chat(QUESTION, sampling=Sampling(json_schema=one_of)).text) in ("yes", "no")
    # Tokens of Korean are parts of letters, and many have the same text.
    korean = [{"role": "user", "content": "너는 누구야?"}]
    for asked in (QUESTION, korean):
        found = engine.chat(asked, sampling=Sampling(max_tokens=24, logprobs=4))
        assert all(len(step) >= 4 for step in found.top_logprobs)
        assert [next(iter(step)) for step in found.top_logprobs] == list(found.token_ids)
        assert all(max(step.values()) == next(iter(step.values())) for step in found.top_logprobs)


def test_a_prompt_that_opens_a_thought_makes_the_answer_a_thought(engine):
    """As bench asks: token ids, and every answer cut off in the middle of its thought counts as empty."""
    prompts = [engine.prompt_tokens(QUESTION, mode) for mode in ("reasoning", "non-reasoning")]
    cut, plain = engine.generate(prompts, Sampling(max_tokens=4))
    assert cut.thought and not cut.text and plain.text and not plain.thought
    assert lengths([cut, cut]).empty == 2


def test_what_the_engine_refuses(engine):
    from exaone_nb.engines.vllm_engine import VllmEngine

    with pytest.raises(UsageError, match="max_model_len"):
        engine.generate([[20] * 600])
    with pytest.raises(UsageError, match="nothing to answer"):
        engine.chat([])
    with pytest.raises(UsageError, match="still open"):
        VllmEngine(NANO)


def test_the_parser_trap_is_real_and_avoided(engine):
    written = {
        mode: engine.chat(QUESTION, mode, Sampling(max_tokens=80)).raw
        for mode in ("non-reasoning", "reasoning")
    }
    # Both answers end in the number 9: two of the three targets are met, where the parser leaves an answer.
    table = parser_table(engine.tokenizer(), {mode: [text] * 3 for mode, text in written.items()}, "998")
    rows = {(r["parser"], r["mode"]): r for r in table.rows}
    assert {key: row["right"] for key, row in rows.items()} == {
        ("deepseek_r1", "non-reasoning"): 0,
        ("deepseek_r1", "reasoning"): 2,
        ("deepseek_v3", "non-reasoning"): 2,
        ("deepseek_v3", "reasoning"): 2,
    }
    assert rows["deepseek_r1", "non-reasoning"]["content"] == "None"
    assert rows["deepseek_v3", "non-reasoning"]["content"] == repr(written["non-reasoning"])
    assert "None" not in (
        rows["deepseek_r1", "reasoning"]["content"],
        rows["deepseek_v3", "reasoning"]["content"],
    )


def test_preview_sees_what_is_wrong(engine):
    tokenizer = engine.tokenizer()
    ask = [{"role": "user", "content": "3 + 4?"}]
    off, on = preview(tokenizer, ask), preview(tokenizer, ask, "reasoning")
    assert not off.problems and not on.problems
    assert list(off.token_ids) == engine.prompt_tokens(ask)
    assert off.text.endswith("<think>\n\n</think>\n\n") and on.text.endswith("<think>\n")
    assert "No chat template" in preview(tokenizer, "3 + 4?").problems[0]
    bos = tokenizer.bos_token
    assert any("beginning-of-text" in p for p in preview(tokenizer, f"{bos}{bos}3 + 4?").problems)
    history = [*ask, {"role": "assistant", "content": "<think>\nseven\n</think>\n\n7"}, *ask]
    assert any("still carries its thoughts" in p for p in preview(tokenizer, history).problems)
    with pytest.raises(WorkbookError, match="refuses"):
        preview(tokenizer, [{"role": "wizard", "content": "x"}])


def test_models_in_turn_give_their_memory_back(engine):
    """Runs after the module's engine is closed by hand: five shapes one after the other, kernels named each time."""
    engine.close()
    kernels, peaks = {}, []
    for scheme in ("BF16", "W4A16", "W8A8", "W4A16", "W8A8"):
        lengths_ = {"batches": (1,), "output_tokens": 8, "repeats": 2}
        found = bench("nano", BenchOptions(scheme=scheme, weights="dummy", kv_cache_gib=0.25, **lengths_))
        kernels.setdefault(scheme, set()).add(found.kernel)
        gc.collect()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert kernels == {
        "BF16": {"UnquantizedLinearMethod"}, "W4A16": {"CPUWNA16LinearKernel"}, "W8A8": {"CPUInt8ScaledMMLinearKernel"},
    }  # fmt: skip
    assert peaks[-1] - peaks[1] < 400_000  # KiB; five caches of 0.25 GiB would be more than a GiB


MEASURE_WHEN_ASKED = """
import sys
from exaone_nb.serve.speed import measure_decode
from exaone_nb.engines.vllm_engine import VllmEngine
folder, weights = sys.argv[1:]
with VllmEngine(folder, dummy_weights=weights == "dummy", max_model_len=256, threads=1, kv_cache_gib=0.25) as engine:
    for _ in sys.stdin:
        found = measure_decode(engine, batch=4, prompt_tokens=64, output_tokens=48, repeats=3, vocabulary=1000)
        print("measured", found.per_token.value, flush=True)
"""


def test_real_and_dummy_weights_are_equally_fast():
    """Two processes hold an engine each and are asked in turn, so that a change of the machine's load meets both."""
    import numpy
    from scipy.stats import ttest_1samp

    from exaone_nb.engines.dummy import shape_folder

    with contextlib.ExitStack() as stack:
        dummy = stack.enter_context(shape_folder(catalog.resolve("nano").config()))
        children = {}
        for weights, folder in (("real", NANO), ("dummy", dummy)):
            children[weights] = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", MEASURE_WHEN_ASKED, str(folder), weights],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(children[weights].kill)

        def measured(weights: str) -> float:
            child = children[weights]
            print(file=child.stdin, flush=True)
            return next(float(line.split()[1]) for line in child.stdout if line.startswith("measured"))

        logarithms: list[float] = []
        for number in range(60):
            order = ("real", "dummy") if number % 2 else ("dummy", "real")
            seconds = {weights: measured(weights) for weights in order}
            logarithms.append(float(numpy.log(seconds["real"] / seconds["dummy"])))
            if len(logarithms) < 12:
                continue
            interval = ttest_1samp(logarithms, 0).confidence_interval(0.999)
            if interval.high - interval.low < 0.3:  # precise enough to see a difference of 15 %
                break
    assert interval.low < 0 < interval.high, numpy.exp([interval.low, interval.high])
    assert interval.high - interval.low < 0.3, "the machine is too busy to tell"


def test_bench_and_its_record(tmp_path):
    found = bench(
        "nano", BenchOptions(batches=(1,), repeats=2, output_tokens=8, max_questions=8, kv_cache_gib=0.25)
    )
    record(RunFolder.at(tmp_path), "baseline", found)
    results = {r["label"]: r for r in RunFolder.at(tmp_path).read_results("speed")}
    assert set(results) == {"decode_b1", "per_token"}
    timed = results["per_token"]
    assert timed["unit"] == "s/token" and timed["value"] > 0 and timed["n"] == 2
    assert timed["interval"][0] < timed["value"] < timed["interval"][1]
    assert (
        timed["parameters"]["gpu_memory_utilization"] == 0.85 and timed["parameters"]["max_gen_toks"] == 16384
    )
    assert timed["details"]["longest_allowed"] == 16384 and timed["parameters"]["enforce_eager"] is True
    assert 0 < timed["details"]["decode_roofline_fraction"] < 1 and timed["details"]["lengths"]["n"] == 8


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"model_type": "no_such", "architectures": ["NoSuchModel"]}, {}, "NoSuch|no_such"),
        ({}, {"max_model_len": 60000, "kv_cache_gib": 0.01}, "max_model_len="),
        ({}, {"kv_cache_gib": 4000.0}, "GiB free"),
    ],
)
def test_a_model_that_does_not_start_says_why(tmp_path, monkeypatch, change, options, said):
    from exaone_nb.engines.vllm_engine import VllmEngine

    monkeypatch.setenv(
        "VLLM_CPU_KVCACHE_SPACE", "1"
    )  # vLLM would take it instead of the kv_cache_gib asked for
    config = catalog.resolve("nano").config() | change
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(WorkbookError, match=said) as caught:
        VllmEngine(tmp_path, dummy_weights=True, **options)
    assert len(str(caught.value)) < 900
    with VllmEngine(
        NANO, max_model_len=64, kv_cache_gib=0.25
    ) as after:  # a failed start leaves nothing behind
        assert after.generate([[20, 21, 22]], Sampling(max_tokens=2, ignore_eos=True))[0].output_tokens == 2


def _a_client_that_knows_this_server(client, server):
    from exaone_nb.engines.endpoint import EndpointEngine
    from exaone_nb.serve.bench import questions
    from exaone_nb.serve.capacity import LoadOptions
    from exaone_nb.serve.served import sweep

    assert client.dialect.name == "vLLM" and [served.context for served in client.models()] == [2048]
    assert client.wait(5) is client and client.load().running == 0
    timed = client.timed(QUESTION, sampling=Sampling(max_tokens=40, ignore_eos=True))
    assert timed.output_tokens == 40 and 0 < timed.first_token_seconds <= timed.seconds
    with EndpointEngine(
        server.address, server.key, tokenizer=AutoTokenizer.from_pretrained(NANO)
    ) as counting:
        assert counting.chat(
            QUESTION, "reasoning"
        ).text  # the server read as many tokens as were counted here
        with pytest.raises(WorkbookError, match=r"2,?048"):
            counting.chat([{"role": "user", "content": "1 + 2 = ? " * 400}])
    options = LoadOptions(most=2, requests=2, bursts=2, output_tokens=8, first_token_s=60.0, per_token_s=60.0)
    found = sweep(client, questions(16), options)
    assert [level.load for level in found.levels] == [1, 2] and found.over is None
    assert all(level.seen is not None and level.throughput > 0 for level in found.levels)


def _tools_of_another_program(client):
    from exaone_nb.engines.mcp_tools import OURS, ToolServer

    with ToolServer(OURS) as tools:
        done = run_tools(client, [{"role": "user", "content": "Roll 3 dice with 6 sides."}], tools.tools())
    assert done.steps[0].call.name == "roll_dice" and len(json.loads(done.steps[0].result)) == 3
    assert done.answer.text


def test_the_server_end_to_end():
    from exaone_nb.engines.server import Server, free_port

    with Server(NANO, threads=1, eager=True).wait(540) as server:
        client = server.engine()
        assert "--api-key" not in server.command and server.key not in " ".join(server.command)
        done = run_tools(
            client, [{"role": "user", "content": "Roll 3 dice with 6 sides."}], [ROLL_DICE, CALCULATOR]
        )
        assert done.steps[0].call.name == "roll_dice" and len(json.loads(done.steps[0].result)) == 3
        assert done.answer.text and not done.answer.tool_calls
        # Long enough for many pieces: on a busy machine the server joins tokens that it could not send in time.
        long = Sampling(max_tokens=400, ignore_eos=True)
        pieces = list(client.stream(QUESTION, "reasoning", long))
        assert len(pieces) > 5 and pieces[0].thought and pieces[-1].text
        assert pieces[0].seconds < pieces[-1].seconds
        assert client.chat(QUESTION).text  # not swallowed as reasoning
        _a_client_that_knows_this_server(client, server)
        _tools_of_another_program(client)
        with pytest.raises(WorkbookError, match="refused the key"):
            from exaone_nb.engines.endpoint import EndpointEngine

            EndpointEngine(server.address, "wrong", model="model").chat(QUESTION)
        port = server.port
    free_port(port)
