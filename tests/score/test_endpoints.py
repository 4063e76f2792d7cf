"""Servers that answer badly, late, or not at all: one sentence each, and no answer is silently wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.paths import ROOT
from exaone_nb.results import RunFolder
from exaone_nb.score.evaluate import Score, score
from exaone_nb.score.samples import find_samples, read_rows
from exaone_nb.score.settings import Settings

pytestmark = pytest.mark.heavy


@pytest.fixture
def endpoint() -> Iterator[tuple[str, dict[str, Any]]]:
    """A chat endpoint that answers with `choices`, or with `status`, after `seconds`."""
    reply: dict[str, Any] = {"status": 200, "seconds": 0, "document": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(reply["seconds"])
            body = reply.get("body") or json.dumps(reply["document"]).encode()
            self.send_response(reply["status"])
            self.send_header("Content-Type", reply.get("type", "application/json"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the client has gone
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", reply
    server.shutdown()
    thread.join()
    server.server_close()


def choice(content: str | None, reason: str, **message: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": reason}]}


def settings_for(address: str, **options: Any) -> Settings:
    return Settings(backend="server-chat", base_url=address, limit=3, **options)


def test_an_endpoint_that_answers_without_choices_is_an_error(endpoint, tmp_path: Path) -> None:
    with pytest.raises(WorkbookError, match="without any choice"):
        score({"silent": "model"}, ["nano_gsm"], RunFolder.at(tmp_path), settings_for(endpoint[0]))


def test_null_content_counts_as_empty_not_as_wrong(endpoint, tmp_path: Path) -> None:
    address, reply = endpoint
    reply["document"] = choice(None, "stop")
    lines: list[str] = []

    async def in_a_notebook() -> list[Score]:  # whose kernel runs an event loop
        run = RunFolder.at(tmp_path)
        return score({"null": "model"}, ["nano_gsm"], run, settings_for(address), report=lines.append)

    (found,) = asyncio.run(in_a_notebook())
    assert {name for name, n in found.outcomes.items() if n} == {"empty", "unusable"}
    assert any(
        "All 3 answers of null on nano_gsm are empty" in line and "reasoning parser" in line for line in lines
    )


def test_an_answer_that_is_empty_because_the_thought_was_cut_is_both(endpoint, tmp_path: Path) -> None:
    """vLLM with deepseek_r1: the text stands in reasoning_content, content is null, the reason is length."""
    address, reply = endpoint
    reply["document"] = choice(None, "length", reasoning_content="Let me see: 3 + 4")
    (found,) = score({"cut": "model"}, ["nano_gsm"], RunFolder.at(tmp_path), settings_for(address))
    assert found.outcomes["empty"] == found.outcomes["truncated"] == found.outcomes["unusable"] == 3
    rows = read_rows(find_samples(tmp_path / "lm_eval" / "cut")["nano_gsm"])
    assert {row["finish_reason"] for row in rows} == {"length"}


@pytest.mark.parametrize(
    ("reply", "options", "told", "remedy"),
    [
        ({"status": 429}, {}, "too many requests (429)", "--concurrency"),
        ({"status": 429}, {"concurrency": 1}, "too many requests (429)", "--concurrency"),
        ({"status": 401}, {}, "refused three times: 401", "OPENAI_API_KEY"),
        ({"status": 500}, {}, "refused three times: 500", "name"),
        ({"seconds": 3}, {"timeout": 1}, "no answer within 1 s", "--timeout"),
        ({"body": b"<html>", "type": "text/html"}, {}, "is no OpenAI-compatible answer", "address"),
        ({"body": b"{'choices'"}, {}, "is no OpenAI-compatible answer", "address"),
        ({"body": b'"busy"'}, {}, "without any choice: 'busy'", "address"),
        ({"document": {"error": {"message": "no such model"}}}, {}, "no such model", "model's name"),
    ],
)
def test_a_server_that_refuses_or_is_slow_is_one_sentence(
    endpoint, reply: dict[str, Any], options: dict[str, Any], told: str, remedy: str, tmp_path: Path, capfd
) -> None:
    address, replies = endpoint
    replies.update(reply)
    with pytest.raises(WorkbookError) as caught:
        score({"bad": "model"}, ["nano_gsm"], RunFolder.at(tmp_path), settings_for(address, **options))
    assert told in caught.value.got and remedy in caught.value.remedy
    assert address in caught.value.got or "without any choice" in caught.value.got
    assert "\n" not in caught.value.got and not list(tmp_path.rglob("results_*"))
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out and "retrying" not in (said.err + said.out).lower()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """In a process of its own: what asyncio has to say of other requests comes when it ends."""
    command = [
        sys.executable, "-m", "exaone_nb", "score", "model", "--tasks", "nano_gsm", "--backend", "server-chat", "--base-url",
        "http://127.0.0.1:9/v1", "--limit", "4", "--out", str(tmp_path),
    ]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 1 and "127.0.0.1:9/v1 cannot be reached" in said
    assert "Traceback" not in said and "Task exception" not in said, said


def test_a_server_that_breaks_off_goes_on_where_it_was(endpoint, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("exaone_nb.score.kept_answers.FIRST_PORTION", 1)
    monkeypatch.setattr("exaone_nb.score.kept_answers.PORTION_SECONDS", 0)
    address, reply = endpoint
    reply["document"] = choice("#### 7", "stop")
    run, lines = RunFolder.at(tmp_path), []
    from exaone_nb.score.kept_answers import KeptAnswers

    keep = KeptAnswers._append

    def and_break_off(self: KeptAnswers, answers: dict[str, Any]) -> None:
        keep(self, answers)
        if len(self) == 2:
            reply["status"] = 429

    with monkeypatch.context() as patch:
        patch.setattr(KeptAnswers, "_append", and_break_off)
        with pytest.raises(WorkbookError, match="429"):
            score({"one": "model"}, ["nano_gsm"], run, settings_for(address))
    reply["status"] = 200
    (found,) = score({"one": "model"}, ["nano_gsm"], run, settings_for(address), report=lines.append)
    assert found.estimate.n == 3 and any("2 answers of an earlier start" in line for line in lines)
    (result,) = run.read_results("accuracy")
    assert result["details"]["answers_from_before"] == 2
    assert not list((tmp_path / "lm_eval" / "one").glob("answers_*"))
