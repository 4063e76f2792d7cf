"""What goes wrong between a client and a server, against a small server of our own that misbehaves on request."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from exaone_nb.conversation.answers import Sampling
from exaone_nb.conversation.tools import CALCULATOR, run_tools
from exaone_nb.engines import server as server_module
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.server import Server, free_port
from exaone_nb.errors import UsageError, WorkbookError
from tests.waiting import appears, gone

ASK = [{"role": "user", "content": "hello"}]


def completion(content="hi", **message):
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": "model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }  # fmt: skip


def continuation(text, tokens):
    return {
        "id": "1", "object": "text_completion", "created": 0, "model": "model",
        "choices": [{"index": 0, "text": text, "finish_reason": "length", "logprobs": None}],
        "usage": {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens},
    }  # fmt: skip


CALL = {"id": "1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "1"}'}}


@pytest.fixture
def misbehaving():
    """Yields (address, plan): `plan` holds status, body and type of the next answers, and what was asked.

    `bodies` are sent before `body`, one each; `reply` makes a body of a request.
    """
    plan = {"status": 200, "body": json.dumps(completion()), "type": "application/json", "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            asked = json.loads(self.rfile.read(length))
            plan["asked"].append((self.path, self.headers.get("Authorization"), asked))
            if plan["status"] == 0:  # dies in the middle of its answer
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
                )
                self.connection.close()
                return
            if "reply" in plan and plan["status"] == 200:
                body = plan["reply"](asked)
            else:
                body = plan["bodies"].pop(0) if plan.get("bodies") else plan["body"]
            body = body.encode()
            self.send_response(plan["status"])
            self.send_header("Content-Type", plan["type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Http(ThreadingHTTPServer):
        request_queue_size = 128  # as real servers have it; Python's own refuses the sixth that waits

    http = Http(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/v1", plan
    http.shutdown()
    http.server_close()


def test_a_good_answer_and_what_was_asked(misbehaving):
    address, plan = misbehaving
    plan["body"] = json.dumps(completion("4", reasoning="2 + 2"))
    with EndpointEngine(address, "secret", model="model") as engine:
        found = engine.chat(ASK, "reasoning", Sampling(top_k=20, json_schema={"type": "object"}))
    assert (found.text, found.thought, found.output_tokens) == ("4", "2 + 2", 2)
    _, key, request = plan["asked"][0]
    assert key == "Bearer secret"
    assert request["chat_template_kwargs"] == {"enable_thinking": True} and request["top_k"] == 20
    assert request["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, '{"error": {"message": "bad key"}}', "refused the key"),
        (403, '{"error": {"message": "not for you"}}', "refused the key"),
        (404, "{}", "no such path"),
        (429, '{"error": {"message": "slow down"}}', "fewer requests"),
        (500, "<html><body>oops</body></html>", "failed"),
        (400, '{"error": {"message": "too long"}}', "too long"),
        (0, "", "ended while it was answering"),
    ],
)
def test_failures_are_one_sentence(misbehaving, status, body, said):
    address, plan = misbehaving
    plan |= {"status": status, "body": body}
    with pytest.raises(WorkbookError) as caught, EndpointEngine(address, "key", model="model") as engine:
        engine.chat(ASK)
    assert said in str(caught.value) and len(str(caught.value)) < 500
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_web_page_instead_of_an_answer(misbehaving, kind):
    address, plan = misbehaving
    plan |= {"body": "<html><body>Welcome</body></html>", "type": kind}
    with pytest.raises(WorkbookError, match="not"), EndpointEngine(address, "key", model="model") as engine:
        engine.chat(ASK)


def test_an_answer_without_choices(misbehaving):
    address, plan = misbehaving
    plan["body"] = "{}"
    with (
        pytest.raises(WorkbookError, match="not a chat completion"),
        EndpointEngine(address, model="m") as engine,
    ):
        engine.chat(ASK)


def test_an_answer_taken_for_reasoning_is_an_answer_again(misbehaving):
    """What vLLM sends under deepseek_r1 with reasoning off; with reasoning on the same message is a thought."""
    address, plan = misbehaving
    plan["body"] = json.dumps(completion(None, reasoning="#### 3"))
    with EndpointEngine(address, model="m") as engine:
        off, on = engine.chat(ASK), engine.chat(ASK, "reasoning")
        assert (off.text, off.thought, off.raw) == ("#### 3", "", "#### 3")
        assert (on.text, on.thought) == ("", "#### 3")
        plan["body"] = json.dumps(completion(None, reasoning="a dice roll", tool_calls=[CALL]))
        called = engine.chat(ASK, tools=[CALCULATOR.schema()])
    assert (called.text, called.thought, called.tool_calls[0].name) == ("", "a dice roll", "calculator")


def test_a_tool_call_taken_for_reasoning_is_run(misbehaving):
    address, plan = misbehaving
    written = '<tool_call>{"name": "calculator", "arguments": {"expression": "2 * 3"}}</tool_call>'
    plan["bodies"] = [json.dumps(completion(None, reasoning=text)) for text in (written, "2 * 3 = 6.")]
    with EndpointEngine(address, model="m") as engine:
        done = run_tools(engine, ASK, [CALCULATOR])
    assert [step.result for step in done.steps] == ["6"] and done.answer.text == "2 * 3 = 6."
    assert plan["asked"][1][2]["messages"][-1]["content"] == "6"


@pytest.mark.parametrize(
    ("content", "reason", "mode", "thought", "text"),
    [
        ("First 3 + 4", "length", "reasoning", "First 3 + 4", ""),  # no parser, cut off: nothing to score
        ("3 + 4</think>7", "length", "reasoning", "3 + 4", "7"),
        ("<think>3 + 4</think>7", "stop", "reasoning", "3 + 4", "7"),
        ("First 3 + 4", "length", "non-reasoning", "", "First 3 + 4"),
    ],
)
def test_a_server_without_a_reasoning_parser(misbehaving, content, reason, mode, thought, text):
    address, plan = misbehaving
    reply = completion(content)
    reply["choices"][0]["finish_reason"] = reason
    plan["body"] = json.dumps(reply)
    with EndpointEngine(address, model="m") as engine:
        found = engine.chat(ASK, mode)
    assert (found.thought, found.text) == (thought, text)


def test_every_option_reaches_the_server_or_is_refused(misbehaving):
    address, plan = misbehaving
    every = Sampling(9, 0.5, 0.9, top_k=7, presence_penalty=1.5, seed=3, ignore_eos=True)
    wanted = {
        "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 7, "presence_penalty": 1.5, "seed": 3,
        "ignore_eos": True,
    }  # fmt: skip
    step = {"token": "h", "logprob": -0.1, "bytes": None}
    rivals = [step, {"token": "\ufffd", "logprob": -2.0}, {"token": "\ufffd", "logprob": -3.0}]
    reply = completion("h")
    reply["choices"][0]["logprobs"] = {"content": [{**step, "top_logprobs": rivals}]}
    with EndpointEngine(address, model="m") as engine:
        plan["body"] = json.dumps(reply)
        found = engine.chat(ASK, sampling=replace(every, logprobs=3))
        assert found.text_logprobs == ((("h", -0.1), ("\ufffd", -2.0), ("\ufffd", -3.0)),)
        plan["body"] = json.dumps(continuation("hi", 5))
        engine.generate([[1, 2]], every)
        for refused in ({"logprobs": 1}, {"json_schema": {"type": "object"}}):
            with pytest.raises(UsageError, match="chat"):
                engine.generate([[1]], Sampling(**refused))
    chat, complete = (request for _, _, request in plan["asked"])
    assert {name: chat.get(name) for name in wanted} == wanted and chat["top_logprobs"] == 3
    assert {name: complete.get(name) for name in wanted} == wanted


def test_every_continuation_has_its_own_count(misbehaving):
    address, plan = misbehaving
    plan["reply"] = lambda request: json.dumps(continuation(f"{request['prompt']}", len(request["prompt"])))
    prompts = [[7] * (1 + n % 5) for n in range(100)]
    with EndpointEngine(address, model="m") as engine:
        found = engine.generate(prompts)
        assert [(a.text, a.output_tokens) for a in found] == [(str(p), len(p)) for p in prompts]
        assert engine.generate([]) == []
        plan |= {"status": 429, "body": "{}"}
        with pytest.raises(WorkbookError, match="fewer requests"):
            engine.generate(prompts)


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://127.0.0.1:99999/v1", "http://host:x/v1", "http://", "", None]
)
def test_an_address_that_is_none(address):
    with pytest.raises(UsageError, match="The address is"):
        EndpointEngine(address, model="m")


def test_nobody_listens():
    with (
        pytest.raises(WorkbookError, match="cannot be reached"),
        EndpointEngine(f"http://127.0.0.1:{free_port()}/v1", model="m") as e,
    ):
        e.chat(ASK)
    with pytest.raises(UsageError, match="http"):
        EndpointEngine("localhost:8000")


def test_a_port_that_is_taken(misbehaving, tmp_path):
    port = int(misbehaving[0].split(":")[2].split("/")[0])
    with pytest.raises(WorkbookError, match=f"Port {port} is taken"):
        free_port(port)
    with pytest.raises(WorkbookError, match="taken"):
        Server(tmp_path, port=port)


# A stand-in for vLLM: healthy after a moment, with a worker process of its own.
FAKE = textwrap.dedent(
    """
    import subprocess, sys, http.server
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("worker", worker.pid, flush=True)
    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
        def do_POST(self):
            import os; os._exit(3)
        def log_message(self, *a): pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
    """
)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def fake(monkeypatch, tmp_path):
    monkeypatch.setattr(
        server_module, "server_command", lambda folder, port, **_: [sys.executable, "-c", FAKE, str(port)]
    )
    return tmp_path


def worker_of(log: str) -> int:
    return int(next(line for line in log.splitlines() if line.startswith("worker")).split()[1])


def test_stop_ends_the_server_and_its_workers(fake):
    with Server(fake).wait(60) as server:
        worker, port = worker_of(server.log()), server.port
        assert alive(worker) and server.ready_seconds < 60
    assert gone(worker)
    free_port(port)
    server.stop()  # twice is fine
    with pytest.raises(UsageError, match="not running"):
        server.engine()


def test_a_server_that_dies_in_the_middle_of_a_request(fake):
    with Server(fake).wait(60) as server:
        worker = worker_of(server.log())
        with pytest.raises(WorkbookError, match="ended while it was answering"):
            server.engine().chat(ASK)
        assert gone(worker), "the worker of a dead server must not live on"


def test_a_server_that_cannot_start_says_why(monkeypatch, tmp_path):
    code = "import sys; print('noise\\n' * 300); sys.exit('ValueError: the model has no layers')"
    monkeypatch.setattr(server_module, "server_command", lambda *_, **__: [sys.executable, "-c", code])
    with pytest.raises(WorkbookError, match="the model has no layers") as caught:
        Server(tmp_path).wait(60)
    assert len(str(caught.value)) < 600


def test_a_server_that_never_answers(monkeypatch, tmp_path):
    code = "import time; print('still loading', flush=True); time.sleep(600)"
    monkeypatch.setattr(server_module, "server_command", lambda *_, **__: [sys.executable, "-c", code])
    server = Server(tmp_path)
    with pytest.raises(WorkbookError, match="still loading"):
        server.wait(5)
    assert not server.running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_orphans_when_the_notebook_dies(number, tmp_path):
    """A process that starts a server is killed (or interrupted while it waits); the server and its worker end too."""
    script = tmp_path / "notebook.py"
    script.write_text(
        "import sys, time\n"
        "from exaone_nb.engines import server as m\n"
        f"m.server_command = lambda f, port, **k: [sys.executable, '-c', {FAKE!r}, str(port)]\n"
        "s = m.Server('x').wait(60)\n"
        "print(s.log(), flush=True)\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    worker = int(process.stdout.readline().split()[1])
    assert alive(worker)
    os.kill(process.pid, number)
    process.wait(timeout=30)
    process.stdout.close()
    assert gone(worker)


def test_no_orphan_when_the_parent_dies_before_the_guard_runs(tmp_path):
    """The guard is told whose child it is: its parent may be gone before its Python has started."""
    said = tmp_path / "started"
    command = [sys.executable, "-c", f"open({str(said)!r}, 'w').close(); import time; time.sleep(600)"]
    guarded = [sys.executable, "-m", "exaone_nb.processes"]
    gone_parent = subprocess.Popen([sys.executable, "-c", ""])
    gone_parent.wait()
    subprocess.run([*guarded, str(gone_parent.pid), *command], timeout=30, check=False)
    assert not said.exists()
    mine = subprocess.Popen([*guarded, str(os.getpid()), *command])
    try:
        appears(said)
        assert said.exists()
    finally:
        mine.terminate()
        mine.wait(timeout=30)
