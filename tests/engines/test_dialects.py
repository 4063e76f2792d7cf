"""Servers that call themselves OpenAI-compatible: each is spoken to as its own page or source says. llama.cpp's is real."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from transformers import AutoTokenizer

from exaone_nb.conversation.answers import Sampling
from exaone_nb.conversation.prompt import prompt_ids
from exaone_nb.conversation.tools import CALCULATOR, ROLL_DICE, run_tools
from exaone_nb.engines.dialects import DIALECTS, ServedModel, dialect_of, is_ready
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.errors import WorkbookError
from exaone_nb.paths import DATA, NANO
from exaone_nb.serve.talk import dialect_table

ASK = [{"role": "user", "content": "What is 12 + 30?"}]
TEMPLATE_ON, TEMPLATE_OFF = (
    {"chat_template_kwargs": {"enable_thinking": on}, "reasoning_effort": None} for on in (True, False)
)


@contextmanager
def server(owner="", health=(200,), **message):
    """A server that lists one model of `owner`, answers /health with these codes in turn, and keeps what it is asked."""
    state = {"asked": [], "health": list(health), "prompt_tokens": 3, "models": [{"id": "m", "object": "model", "created": 0, "owned_by": owner}]}  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                self.reply(state["health"].pop(0) if len(state["health"]) > 1 else state["health"][0], {})
            else:
                self.reply(200 if state["models"] else 404, {"object": "list", "data": state["models"]})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state["asked"].append(asked)
            answer = {"role": "assistant", "content": "42", **message}
            if any(turn["role"] == "tool" for turn in asked["messages"]):
                answer = {"role": "assistant", "content": "It is 6."}
            self.reply(
                200,
                {
                    "id": "1", "object": "chat.completion", "created": 0, "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": answer}],
                    "usage": {"prompt_tokens": state["prompt_tokens"], "completion_tokens": 2, "total_tokens": 5},
                },
            )  # fmt: skip

        def reply(self, code, body):
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1", state
    finally:
        http.shutdown()
        http.server_close()


@pytest.mark.parametrize(
    ("owner", "name", "on", "off", "always"),
    [
        # docs.vllm.ai, Reasoning Outputs; top_k and min_p: or the model's generation_config.json decides.
        ("vllm", "vLLM", TEMPLATE_ON, TEMPLATE_OFF, {"top_k": 0, "min_p": 0.0}),
        # llama.cpp tools/server/README.md: chat_template_kwargs; its own defaults are top_k 40 and min_p 0.05.
        ("llamacpp", "llama.cpp", TEMPLATE_ON, TEMPLATE_OFF, {"top_k": 0, "min_p": 0.0}),
        ("sglang", "SGLang", TEMPLATE_ON, TEMPLATE_OFF, {}),
        ("tensorrt_llm", "TensorRT-LLM", TEMPLATE_ON, TEMPLATE_OFF, {}),
        # docs.ollama.com/api/openai-compatibility: reasoning_effort, of which "none" switches thinking off.
        (
            "library",
            "Ollama",
            {"reasoning_effort": "medium", "chat_template_kwargs": None},
            {"reasoning_effort": "none", "chat_template_kwargs": None},
            {},
        ),
        ("somebody", "unknown", TEMPLATE_ON, TEMPLATE_OFF, {}),
    ],
)
def test_thinking_is_switched_as_each_server_does(owner, name, on, off, always):
    with server(owner) as (address, state), EndpointEngine(address) as engine:
        assert engine.dialect.name == name and engine.model == "m"
        engine.chat(ASK, "reasoning")
        engine.chat(ASK)
        engine.chat(ASK, sampling=Sampling(top_k=7))
    for asked, expected in zip(state["asked"], (on | always, off | always, {"top_k": 7}), strict=True):
        assert {key: asked.get(key) for key in expected} == expected


def test_a_server_that_lists_no_models_is_spoken_to_like_vllm():
    with server() as (address, state), EndpointEngine(address, model="m") as engine:
        state["models"] = []
        assert engine.chat(ASK).text == "42" and engine.dialect.name == "unknown"
        with pytest.raises(WorkbookError, match="knows no such path"):
            engine.models()
        assert "model" in state["asked"][0]


def test_the_context_of_a_served_model():
    """As llama.cpp's and vLLM's servers wrote it on 2026-11-26, shortened."""
    llama = {"id": "nano.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 512, "n_ctx_train": 65536}}
    assert ServedModel.of(llama) == ServedModel("nano.gguf", "llamacpp", 512)
    assert ServedModel.of({"id": "model", "owned_by": "vllm", "max_model_len": 2048}).context == 2048
    assert ServedModel.of({"id": "x", "owned_by": "library", "meta": None}).context is None


def test_a_server_that_is_still_loading_is_waited_for():
    with server("llamacpp", health=(503, 503, 200)) as (address, state), EndpointEngine(address) as engine:
        assert engine.wait(30) is engine and state["health"] == [200]
    with server("library", health=(404,)) as (
        address,
        state,
    ):  # Ollama has no /health: its list of models answers
        assert is_ready(address)
        state["models"] = []
        assert not is_ready(address)
    with (
        server(health=(503,)) as (address, _),
        EndpointEngine(address) as engine,
        pytest.raises(WorkbookError, match="did not answer within 1 s"),
    ):
        engine.wait(1)
    assert not is_ready(address)


def test_a_prompt_that_the_server_cut_is_noticed():
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    long = [{"role": "user", "content": "1 + 2 = ? " * 100}]
    sent = len(prompt_ids(tokenizer, long, False))
    with server("library") as (address, state), EndpointEngine(address, tokenizer=tokenizer) as engine:
        for counted in (sent, sent + 20, sent - 5, 0):  # 0: it does not count them
            state["prompt_tokens"] = counted
            assert engine.chat(long).text == "42"
        state["prompt_tokens"] = sent // 2
        with pytest.raises(WorkbookError, match=rf"cut the prompt: it read {sent // 2:,} of {sent:,} tokens"):
            engine.chat(long)


def test_a_call_that_no_parser_took_out_of_the_text_is_run():
    written = 'Let me see.<tool_call>{"name": "calculator", "arguments": {"expression": "2 * 3"}}</tool_call>'
    with server("sglang", content=written) as (address, state), EndpointEngine(address) as engine:
        done = run_tools(engine, ASK, [CALCULATOR])
        assert [step.result for step in done.steps] == ["6"] and done.answer.text == "It is 6."
        assert state["asked"][1]["messages"][1]["content"] == "Let me see."
        assert engine.chat(ASK).text == written  # nobody asked for tools


def test_every_dialect_says_where_it_was_read():
    assert len({one.owner for one in DIALECTS}) == len(DIALECTS) == 5
    for one in DIALECTS:
        assert any(figure.isdigit() for figure in one.source) and one.too_long
        assert dialect_of(one.owner) is one
    shown = {row[0]: row for row in dialect_table().cells()}
    assert shown["Ollama"][1:3] == ['{"reasoning_effort": "none"}', "top_k, ignore_eos"]
    assert shown["llama.cpp"][4] == "yes" and shown["Ollama"][4] == "no"


LLAMA = """
import sys, threading, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.cpuparams.n_threads = sys.argv[1], 2048, 2, 1
p.use_jinja, p.endpoint_metrics, p.verbosity = True, True, 0
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The address of llama.cpp's own server with nano."""
    pytest.importorskip("xllamacpp", reason="pip install xllamacpp")
    pytest.importorskip("gguf", reason="pip install gguf")
    file = tmp_path_factory.mktemp("gguf") / "nano.gguf"
    command = [sys.executable, "-m", "exaone_nb", "convert", "nano", "--gguf", "BF16", "--out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    child = subprocess.Popen(
        [sys.executable, "-c", LLAMA, str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield next(line.strip() for line in child.stdout if line.startswith("http")) + "/v1"
    finally:
        child.kill()
        child.communicate()


def test_llama_cpps_own_server(llama):
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    with EndpointEngine(llama, tokenizer=tokenizer).wait(60) as engine:
        assert engine.dialect.name == "llama.cpp"
        (served,) = engine.models()
        assert served.context == 1024  # of 2,048 for both places
        line = json.loads((DATA / "tasks" / "nano_gsm.jsonl").read_text(encoding="utf-8").splitlines()[0])
        asked = [{"role": "user", "content": line["question"]}]
        for thinking, mode in ((True, "reasoning"), (False, "non-reasoning")):
            found = engine.chat(asked, mode)
            assert bool(found.thought) == thinking and found.text and found.output_tokens > 0
            assert found.prompt_tokens == len(prompt_ids(tokenizer, asked, thinking))
        done = run_tools(
            engine, [{"role": "user", "content": "Roll 3 dice with 6 sides."}], [ROLL_DICE, CALCULATOR]
        )
        assert done.steps[0].call.name == "roll_dice" and len(json.loads(done.steps[0].result)) == 3
        timed = engine.timed(ASK, sampling=Sampling(max_tokens=40, ignore_eos=True))
        assert timed.output_tokens == 40 and 0 < timed.first_token_seconds < timed.seconds
        with pytest.raises(WorkbookError, match="exceeds the available context size"):
            engine.chat([{"role": "user", "content": "1 + 2 = ? " * 400}])
        load = engine.load()
        assert load is not None and load.waiting == 0
