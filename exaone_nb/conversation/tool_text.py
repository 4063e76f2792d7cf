"""Tool calls as text: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, the hermes form EXAONE 4.0 writes.

A server parses them itself; for the in-process engine, which hands back plain text, they are read here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from exaone_nb.conversation.answers import Answer, ToolCall

_BLOCK = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.S)


@dataclass(frozen=True)
class CallText:
    """One call as written: `arguments` is JSON text; `problem` says what is wrong with it, if anything."""

    name: str
    arguments: str
    problem: str = ""


def read_tool_calls(raw: str) -> tuple[str, list[CallText]]:
    """(the text around the calls, the calls). A malformed block becomes a call with a `problem`, never an error."""
    calls = []
    for block in _BLOCK.findall(raw):
        try:
            document = json.loads(block)
        except ValueError as error:
            calls.append(CallText("", block, f"not JSON: {error}"))
            continue
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            calls.append(CallText("", block, "no tool name"))
            continue
        arguments = document.get("arguments", {})
        problem = "" if isinstance(arguments, dict) else "arguments are not an object"
        calls.append(CallText(document["name"], json.dumps(arguments, ensure_ascii=False), problem))
    return _BLOCK.sub("", raw).strip(), calls


def with_tool_calls(answer: Answer) -> Answer:
    """An answer in plain text with the calls in it taken out of the text."""
    text, written = read_tool_calls(answer.text)
    calls = tuple(ToolCall(call.name, call.arguments) for call in written)
    return replace(
        answer, text=text, tool_calls=calls, finish_reason="tool_calls" if calls else answer.finish_reason
    )
