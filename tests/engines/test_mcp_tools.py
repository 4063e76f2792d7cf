"""Tools of another program over MCP: what is offered and called, everything that goes wrong, and who is left afterwards."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytest.importorskip("mcp", reason="the package mcp comes with vLLM: make install on Linux")

from exaone_nb.conversation.answers import Answer, Sampling, ToolCall
from exaone_nb.conversation.tools import CALCULATOR, ROLL_DICE, run_call, run_tools
from exaone_nb.engines.mcp_tools import OURS, TIME, ToolServer
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.serve.talk import recorded_agent_table, tool_table
from exaone_nb.show import measured as records
from tests.waiting import appears, gone

# A server with tools that hang, die and fail. It writes its id and that of a process it started to a file; asked to,
# it does so and starts no server, and it never listens to a signal or to the end of its input.
WRONG = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {other.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[2] == "silent":
    time.sleep(600)
from mcp.server.mcpserver import MCPServer
server = MCPServer("wrong")
@server.tool()
def hang() -> str:
    open(sys.argv[1] + ".called", "w").close()
    time.sleep(600)
@server.tool()
def die() -> str:
    print("out of memory", file=sys.stderr, flush=True)
    os._exit(3)
@server.tool()
def fail(n: int) -> str:
    raise ValueError("secret of the server")
@server.tool()
def words() -> str:
    return "thirty \\N{DEGREE SIGN}C"
server.run()
time.sleep(600)
"""


def wrong(pids, kind="server"):
    return [sys.executable, "-c", WRONG, str(pids), kind]


def processes_of(pids):
    return [int(word) for word in pids.read_text().split()]


class Scripted:
    """An engine that gives prepared answers and keeps what it was offered."""

    name = "scripted"

    def __init__(self, *answers):
        self.answers, self.offered, self.asked = list(answers), [], []

    def chat(self, messages, mode="non-reasoning", sampling=None, tools=None):
        self.offered, self.asked = tools, [dict(m) for m in messages]
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def calls(name, **arguments):
    return Answer("", tool_calls=(ToolCall(name, json.dumps(arguments), "id1"),))


def test_our_own_server_offers_what_nano_knows_and_says_why_a_call_fails():
    with ToolServer(OURS) as server:
        tools = server.tools()
        for mine, known in zip(tools, (ROLL_DICE, CALCULATOR), strict=True):
            assert (mine.name, mine.description) == (known.name, known.description)
            kinds = {name: entry["type"] for name, entry in mine.parameters["properties"].items()}
            assert kinds == {name: entry["type"] for name, entry in known.parameters["properties"].items()}
            assert mine.parameters["required"] == known.parameters["required"]
        engine = Scripted(calls("calculator", expression="127 * 46"), Answer("127 * 46 = 5842."))
        done = run_tools(engine, [{"role": "user", "content": "127 * 46?"}], tools)
        assert done.steps[0].result == "5842" and done.answer.text == "127 * 46 = 5842."
        assert engine.offered[1]["function"]["name"] == "calculator"
        assert engine.asked[-1] == {"role": "tool", "tool_call_id": "id1", "content": "5842"}
        rolled = json.loads(run_call(calls("roll_dice", sides=6, count=3).tool_calls[0], tools).result)
        assert len(rolled) == 3 and all(1 <= shown <= 6 for shown in rolled)
        for arguments, told in (
            ({"sides": 6}, "missing: ['count']"),
            ({"sides": 6, "count": 1, "colour": "red"}, "unknown: ['colour']"),
            ({"sides": "many", "count": 1}, "valid integer"),
            ({"sides": 6, "count": 10**9}, "count 1 to 100"),
        ):
            step = run_call(calls("roll_dice", **arguments).tool_calls[0], tools)
            assert step.failed and told in step.result
        with pytest.raises(RuntimeError, match="Unknown tool: nope"):
            server.call("nope", {})
    server.close()  # twice is fine
    with pytest.raises(UsageError, match="is closed"):
        server.tools()


def test_the_chapters_table_says_what_was_offered_called_and_made_of_it(tmp_path):
    engine = Scripted(
        calls("calculator", expression="2 * 3"),
        calls("roll_dice", sides="many", count=1),
        Answer("It is 7."),  # misread, and shown so
        Answer("I am nano."),
        calls("calculator", expression="1"),
    )
    command = shlex.join(OURS)
    table = tool_table(engine, {command: ["2 * 3?", "Who are you?", "Again?"]}, Sampling())
    first, second, third, fourth = table.rows
    assert (first["called"], first["result"]) == ('calculator({"expression": "2 * 3"})', "6")
    assert "answer" not in first and second["answer"] == "It is 7." and "valid integer" in second["result"]
    assert third["called"] == "nothing" and third["answer"] == "I am nano."
    assert "never answered" in fourth["answer"] and fourth["asked"] == "Again?"
    assert table.cells()[0][0] == "roll_dice, calculator"
    died = tool_table(Scripted(calls("die")), {shlex.join(wrong(tmp_path / "pids")): ["?"]}, Sampling())
    assert "out of memory" in died.rows[0]["answer"]


def test_what_another_framework_made_of_our_tools_is_recorded():
    document = records.record("qwen_agent_nano")
    assert document["date"] in records.told(document) and "Qwen-Agent" in records.told(document)
    table = recorded_agent_table(document)
    assert len(table) == 4 and table.headings()[0] == "asked"
    assert all(row["called"].startswith("ours-") and row["result"] and row["answer"] for row in table.rows)


def test_a_server_that_others_wrote():
    pytest.importorskip("mcp_server_time", reason="make install on Linux installs it")
    with ToolServer(TIME) as server:
        assert {"get_current_time", "convert_time"} <= {tool.name for tool in server.tools()}
        found = server.call(
            "convert_time",
            {"source_timezone": "Asia/Seoul", "time": "12:00", "target_timezone": "Asia/Kolkata"},
        )
        # Korea is at UTC+9 and India at UTC+5:30, both without summer time.
        assert found["target"]["datetime"].endswith("08:30:00+05:30")
        step = run_call(calls("get_current_time", timezone="Mars/Base").tool_calls[0], server.tools())
        assert step.failed and "Invalid timezone" in step.result


def test_a_tool_that_fails_hangs_or_kills_its_server(tmp_path):
    pids = tmp_path / "pids"
    with ToolServer(wrong(pids)) as server:
        tools = server.tools()
        failed = run_call(calls("fail", n=1).tool_calls[0], tools)
        assert failed.failed and "fail" in failed.result
        assert server.call("words", {}) == "thirty °C"
        server.call_seconds = 1.0
        # The model is told of what takes too long, and a loop of nothing else ends.
        engine = Scripted(calls("hang"))
        began = time.monotonic()
        with pytest.raises(WorkbookError, match="2 times in a row and never answered"):
            run_tools(engine, [{"role": "user", "content": "?"}], tools, limit=2)
        assert 2 <= time.monotonic() - began < 15
        assert "no result within 1 s" in engine.asked[-1]["content"]
        server.call_seconds = 20.0
        assert server.call("words", {}) == "thirty °C"  # the server lives on
        with pytest.raises(WorkbookError, match=r"ended\. The last that it wrote: out of memory"):
            run_tools(Scripted(calls("die")), [{"role": "user", "content": "?"}], tools)
        with pytest.raises(WorkbookError, match="ended"):
            server.call("words", {})
    assert all(gone(pid) for pid in processes_of(pids))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('no licence')", "ended. The last that it wrote: no licence"),
        ("import time; print('Welcome!', flush=True); time.sleep(600)", "did not answer"),
        ("import sys; [print('{}', flush=True) for _ in sys.stdin]", "did not answer"),
    ],
)
def test_a_program_that_is_no_tool_server(code, said, capfd):
    with pytest.raises(WorkbookError) as caught:
        ToolServer([sys.executable, "-c", code], start_seconds=1.0)
    assert said in str(caught.value) and len(str(caught.value)) < 400
    assert not any(capfd.readouterr())


def test_a_program_that_is_not_there():
    with pytest.raises(WorkbookError, match=r"ended.*no-such-program"):
        ToolServer(["no-such-program"])


def test_a_server_sees_no_secret_of_ours(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code = "import os; raise SystemExit(str(sorted(os.environ)))"
    with pytest.raises(WorkbookError, match="PATH") as caught:
        ToolServer([sys.executable, "-c", code])
    assert "HF_TOKEN" not in str(caught.value)


CLIENT = """
import sys
from exaone_nb.engines.mcp_tools import ToolServer
program = [sys.executable, "-c", sys.argv[1], sys.argv[2], sys.argv[4]]
with ToolServer(program, call_seconds=600) as server:
    print("open", flush=True)
    if sys.argv[3] == "waiting":
        import time; time.sleep(600)
    if sys.argv[3] == "calling":
        server.call("hang", {})
"""


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("starting", signal.SIGINT),
        ("waiting", signal.SIGINT),
        ("calling", signal.SIGINT),
        ("closing", signal.SIGINT),
        ("calling", signal.SIGKILL),
    ],
)
def test_nobody_is_left_after_ctrl_c(tmp_path, moment, how):
    """Against a server that listens to nothing and has started another process."""
    pids = tmp_path / "pids"
    kind = "silent" if moment == "starting" else "server"
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, WRONG, str(pids), moment, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        if moment == "starting":
            awaited = pids
        else:
            assert client.stdout.readline() == "open\n"
            awaited = tmp_path / ("pids.called" if moment == "calling" else "pids")
        appears(awaited)
        time.sleep(0.5)
        family = processes_of(pids)
        assert all(psutil.pid_exists(pid) for pid in family)
        os.kill(client.pid, how)
        _, errors = client.communicate(timeout=30)
        assert client.returncode not in (0, None)
        assert how == signal.SIGKILL or errors.rstrip().endswith("KeyboardInterrupt"), errors[-2000:]
        assert all(gone(pid) for pid in family)
    finally:
        client.kill()
        client.wait()
