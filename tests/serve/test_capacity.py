"""How many users a server holds, against a server whose costs are known: each test says what must stop it."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from exaone_nb.conversation.answers import Answer
from exaone_nb.engines.dialects import ServerLoad, read_load
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import NANO
from exaone_nb.serve import capacity_views as views
from exaone_nb.serve import served
from exaone_nb.serve.capacity import Capacity, Level, LoadOptions, reason
from exaone_nb.serve.served import measure_level, sweep

ASK = [[{"role": "user", "content": "hello"}]]


@contextmanager
def simulated(*, read=0.0, step=0.0, each=0.0, seats=100, cache=0.0, usage=True, late=0, lump=1):
    """The address of a server that reads one prompt after another in `read` seconds each, writes a token in
    `step` + `each` times the answers under way, and gives `seats` of them a place in a cache that is full to `cache`.
    Request number `late` waits for 0.6 s more; a piece of the stream holds `lump` tokens."""
    room, reading, lock = threading.Semaphore(seats), threading.Lock(), threading.Lock()
    state = {"running": 0, "waiting": 0, "asked": []}

    def count(name, by):
        with lock:
            state[name] += by

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("/models"):
                return self.page(json.dumps({"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "vllm"}]}))  # fmt: skip
            page = f'vllm:num_requests_running{{engine="0"}} {state["running"]}.0\n'
            page += f'vllm:num_requests_waiting{{engine="0"}} {state["waiting"]}.0\nvllm:kv_cache_usage_perc {cache}\n'
            return self.page(page)

        def page(self, text):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state["asked"].append(asked)
            count("waiting", 1)
            with room:
                count("waiting", -1)
                count("running", 1)
                with reading:
                    time.sleep(read + 0.6 * (0 < late == len(state["asked"])))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for number in range(asked["max_tokens"] // lump):
                    if number:
                        time.sleep(step + each * state["running"])
                    self.say({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]})
                counted = {"prompt_tokens": 7, "completion_tokens": asked["max_tokens"], "total_tokens": 9}
                if usage:
                    self.say({"choices": [], "usage": counted})
                self.wfile.write(b"data: [DONE]\n\n")
                count("running", -1)

        def say(self, event):
            whole = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"} | event
            self.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
            self.wfile.flush()

        def log_message(self, *_):
            pass

    class Http(ThreadingHTTPServer):
        request_queue_size = 128

    http = Http(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield EndpointEngine(f"http://127.0.0.1:{http.server_port}/v1", model="m"), state
    finally:
        http.shutdown()
        http.server_close()


# On a machine that others use too a thread may come late by tens of milliseconds: costs and limits are far above that.
SMALL = {"requests": 2, "bursts": 2, "output_tokens": 4, "most": 8}
WIDE = {"first_token_s": 30.0, "per_token_s": 30.0}


@pytest.mark.parametrize(
    ("costs", "limits", "within", "over", "why", "said"),
    [
        # Four answers have a place; the second four wait for 4 x 0.2 s.
        ({"step": 0.2, "seats": 4, "cache": 0.97}, {"first_token_s": 0.45}, 4, 8, "cache", "cache, which is full"),
        ({"step": 0.2, "seats": 4, "cache": 0.2}, {"first_token_s": 0.45}, 4, 8, "seats", "own limit of answers"),
        # A prompt takes 0.15 s to read, so the last of 4 has its first token after 0.6 s and the last of 8 after 1.2 s.
        ({"read": 0.15}, {"first_token_s": 0.9}, 4, 8, "compute", "for reading the prompts (the first token takes 1."),
        # Every further answer makes each token 0.1 s slower: 0.2 s at 2, 0.4 s at 4.
        ({"each": 0.1}, {"per_token_s": 0.36}, 2, 4, "step", "grows with every answer"),
        # A constant step that is over the limit from the start.
        ({"step": 0.2}, {"per_token_s": 0.1, "most": 1}, None, 1, "step", "does not hold 1 user"),
        # Nobody waits but for the one answer of 20 tokens.
        ({"step": 0.1}, {"answer_s": 0.9, "runaway_tokens": 20, "most": 2}, 1, 2, "one long answer", "of 20 tokens"),
    ],
)  # fmt: skip
def test_what_stops_a_server_is_named(costs, limits, within, over, why, said):
    options = LoadOptions(**SMALL | WIDE | limits)
    with simulated(**costs) as (engine, _):
        found = sweep(engine, ASK, options, model="it")
    assert (found.within and found.within.load, found.over and found.over.load, found.reason) == (
        within,
        over,
        why,
    )
    words = views.capacity_words(found)
    assert said in words and "95 %" in words
    document = json.loads(json.dumps(found.document()))
    assert document["over"] == over and document["levels"][0]["load"] == 1


def test_a_server_that_holds_all_that_was_tried():
    with simulated(step=0.001) as (engine, _):
        found = sweep(engine, ASK, LoadOptions(**SMALL | WIDE | {"most": 4}))
    assert [level.load for level in found.levels] == [1, 2, 4] and found.over is None
    assert "holds at least 4 users at once" in views.capacity_words(found) and found.reason == ""
    assert len(views.capacity_table([found])) == 3


def test_what_one_level_measures():
    """Read 0.3 s one after another, then 0.2 s per token: by hand for three users."""
    with simulated(read=0.3, step=0.2) as (engine, state):
        level = measure_level(engine, ASK, 3, LoadOptions(**SMALL | {"output_tokens": 5}))
    assert len(level.answers) == 6 and level.groups == (0, 0, 0, 1, 1, 1)
    assert level.first_token().value == pytest.approx(0.6, abs=0.25)
    assert level.first_token(0.95).value == pytest.approx(0.9, abs=0.25)
    assert level.per_token().value == pytest.approx(0.2, abs=0.08)
    assert level.complete(0.95).value == pytest.approx(1.7, abs=0.3)
    assert level.throughput == pytest.approx(30 / level.seconds) and level.first_token().interval
    assert {asked["ignore_eos"] for asked in state["asked"]} == {True}
    assert {answer.output_tokens for answer in level.answers} == {5}


def test_a_server_that_joins_tokens_is_believed_how_many_they_are():
    with simulated(lump=4) as (engine, _):
        answer = engine.timed(ASK[0])
    assert answer.output_tokens == 256 and answer.text == "a" * 64 and answer.prompt_tokens == 7


def test_a_server_that_counts_no_tokens_is_counted_by_its_pieces():
    with simulated(usage=False) as (engine, _):
        answer = engine.timed(ASK[0])
    assert answer.output_tokens == 256 and answer.text == "a" * 256 and answer.prompt_tokens == 0


def test_requests_at_a_rate_come_at_random_moments_whatever_is_finished():
    options = LoadOptions(arrival="rate", requests=12, output_tokens=2, **WIDE)
    with simulated(step=0.4) as (engine, state):
        level = measure_level(engine, ASK, 20, options)
    gaps = np.random.default_rng(0).exponential(1 / 20, size=12)
    assert level.seconds == pytest.approx(gaps[1:].sum() + 0.4, abs=0.2)  # none waited for another's end
    assert len(set(level.groups)) == 12 and len(state["asked"]) == 12
    found = Capacity("it", options, (level,), level, None)
    assert "20 requests per second" in views.capacity_words(found)


def stopped(load, *, per_token=0.2, seen=None, roof=None, **limits):
    """A sweep of two levels by hand, the second over the limits and as many tokens per second as the first."""
    options = LoadOptions(**WIDE | {"per_token_s": 0.1} | limits)
    levels = [
        Level(n, tuple(Answer("a", output_tokens=11, first_token_seconds=0.1, seconds=0.1 + 10 * s) for _ in range(n)), tuple(range(n)), t, seen)
        for n, s, t in ((load // 2, 0.05, 1.0), (load, per_token, 2.0))
    ]  # fmt: skip
    return Capacity("it", options, tuple(levels), levels[0], levels[1], roof=roof)


class Roof:
    def __init__(self, seconds, bound):
        self.seconds, self.bound = seconds, bound


@pytest.mark.parametrize(
    ("roof", "expected"),
    [(None, "step"), (Roof(0.15, "bandwidth"), "bandwidth"), (Roof(0.15, "compute"), "compute"), (Roof(0.01, "bandwidth"), "overhead")],
)  # fmt: skip
def test_a_slow_step_is_held_against_the_roof(roof, expected):
    found = stopped(8, roof=roof)
    assert reason(found) == expected
    if roof:
        assert found.roof_share == pytest.approx(roof.seconds / 0.2)


def test_a_queue_that_lasts_is_one_and_a_moment_is_none():
    looks = [ServerLoad(8, 0, 0.5, 2), ServerLoad(4, 4, 0.99, 2)]
    assert ServerLoad.worst(looks) == ServerLoad(8, 4, 0.99, 0)
    assert ServerLoad.worst([*looks, *[ServerLoad(8, 0, 0.5, 3)] * 6]) == ServerLoad(8, 0, 0.99, 1)
    assert ServerLoad.worst([]) is None and ServerLoad.worst([ServerLoad(4, 2)]).cache is None
    assert reason(stopped(8, seen=ServerLoad(4, 4))) == "seats"  # of a cache it says nothing
    assert reason(stopped(8, seen=ServerLoad(8, 3, 0.2))) == "step"  # all eight were under way
    assert reason(stopped(8, seen=ServerLoad(5, 3, 0.2, preempted=2))) == "cache"


# In Prometheus' text format, with the names that each server's source prints (engines/dialects.py).
PAGES = {
    'vllm:num_requests_running{engine="0",model_name="m"} 3.0\nvllm:num_requests_waiting{engine="0",model_name="m"} 2.0\n'
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\nvllm:num_preemptions_total{engine="0",model_name="m"} 1.0\n': (3, 2, 0.25, 1),
    '# TYPE sglang:num_running_reqs gauge\nsglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0\n'
    'sglang:token_usage{model_name="x"} 0.28\nsglang:num_queue_reqs{model_name="x"} 2826.0\n': (162, 2826, 0.28, 0),
    "# HELP llamacpp:requests_processing n\nllamacpp:requests_processing 4\nllamacpp:requests_deferred 46\n": (4, 46, None, 0),
}  # fmt: skip


@pytest.mark.parametrize(("page", "expected"), PAGES.items())
def test_what_servers_say_of_their_load(page, expected):
    assert read_load(page) == ServerLoad(*expected)
    assert read_load("<html>") is None and read_load("other:metric 1\n") is None


@pytest.mark.parametrize(
    "wrong",
    [{"arrival": "waves"}, {"most": 0}, {"requests": 1}, {"bursts": 1}, {"first_token_s": 0.0}, {"per_token_s": float("nan")}, {"answer_s": -1.0}, {"mode": "loud"}],
)  # fmt: skip
def test_wrong_options(wrong):
    with pytest.raises(UsageError):
        LoadOptions(**wrong)


def test_no_questions_and_no_server():
    engine = EndpointEngine("http://127.0.0.1:9/v1", model="m")
    with pytest.raises(UsageError, match="no questions"):
        sweep(engine, [])
    with pytest.raises(WorkbookError, match="cannot be reached"):
        sweep(engine, ASK)


def test_the_runaway_in_words():
    ends = [Answer("a", output_tokens=5, seconds=1.0 + n / 100) for n in range(19)]
    long = Answer("a", output_tokens=500, seconds=10.0, finish_reason="length")
    words = views.runaway_words([*ends, ends[0]], [*ends, long])
    # 19 of 20 answers are 95 %; the last of them ends after 1.18 s.
    assert (
        "20 answers end after 1.2 s" in words
        and "500 tokens" in words
        and "10.0 s. For the last 88% of that time" in words
    )


def test_a_load_that_breaks_a_limit_by_chance_is_asked_again():
    """One late answer in 16 is more than 5 %; one in 32, after the load was asked again, is not."""
    options = LoadOptions(most=1, requests=16, output_tokens=2, first_token_s=0.4, per_token_s=30.0)
    with simulated(late=3) as (engine, state):
        assert measure_level(engine, ASK, 1, options).broken(options) == ["first token"]
    with simulated(late=3) as (engine, state):
        found = sweep(engine, ASK, options)
    assert found.over is None and len(found.levels[0].answers) == 32
    assert len(set(found.levels[0].groups)) == 32 and len(state["asked"]) == 33  # and the warm-up


def test_the_figures_can_be_drawn_and_say_what_they_show():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    found = stopped(8)
    figure = views.capacity_figure([found, found])
    assert [axes.get_ylabel() for axes in figure.axes] == ["first token, s", "per token after it, ms"]
    assert "1 user" not in views.capacity_alt([found]) and "4 users at once" in views.capacity_alt([found])
    ends = [Answer("a", output_tokens=5, seconds=1.0 + n / 100) for n in range(20)]
    both = views.runaway_figure({"all end": ends, "one does not": ends}, [9.7, 10.8], [12.3, 13.9])
    assert len(both.axes) == 2
    plt.close("all")


def test_the_verb(capsys, tmp_path):
    from exaone_nb.cli import main

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["capacity", "--requests", "2", "--output", "4", "--per-token", "30", *words])
        return ended.value.code, capsys.readouterr().out

    with simulated(step=0.001) as (engine, _):
        here = ("--address", engine.address)
        code, said = call(*here, "--most", "2", "--first-token", "30", "--json", "--out", str(tmp_path))
        document = json.loads(said)
        assert code == 0 and document["within"] == 2 and document["over"] is None and document["model"] == "m"
        (result,) = [json.loads(path.read_text()) for path in (tmp_path / "results").iterdir()]
        assert (result["kind"], result["value"], result["unit"]) == ("capacity", 2, "users")
        code, said = call(*here, "--most", "1", "--first-token", "0.00001")
        assert code == 1 and "does not hold 1 user" in said


def test_a_gguf_file_is_swept_behind_llama_cpps_own_server(tmp_path):
    pytest.importorskip("xllamacpp", reason="make install brings llama.cpp")
    from exaone_nb.converter.gguf_file import convert

    for file in NANO.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    convert(NANO, "BF16", tmp_path / "nano.gguf")
    runs = []

    def first(engine):
        runs.extend(served.runaway(engine, served.questions(6), 300))

    options = LoadOptions(most=2, requests=4, bursts=2, output_tokens=8, **WIDE)
    found = served.capacity_of(str(tmp_path), options, name="gguf", first=first, threads=1)
    assert found.model == "gguf" and [level.load for level in found.levels] == [1, 2] and found.over is None
    assert all(level.seen is not None and level.seen.cache is None for level in found.levels)
    ended, never = runs
    assert len(ended) == len(never) == 6 and never[0].output_tokens == 300
    assert all(answer.output_tokens < 256 for answer in (*ended, *never[1:]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nano", "--arrival", "waves"], "bursts or rate"),
        (["nano", "--most", "0"], "most is 0"),
        (["nanoo"], "Did you mean"),
        (["--address", "localhost:8000"], "http://HOST:PORT/v1"),
    ],
)
def test_wrong_calls_of_the_verb(capsys, words, said):
    from exaone_nb.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["capacity", *words])
    captured = capsys.readouterr()
    assert ended.value.code == 2 and said in captured.err and captured.out == ""
