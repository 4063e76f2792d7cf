"""Letting a model use Python functions: call, result, answer, with a limit on how often it may go round.

Calls come as text, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, the hermes form EXAONE 4.0 writes. A
server parses them itself; those of the engines in this process are read here. Whatever the model gets wrong (a tool
that does not exist, arguments that are not JSON or do not fit) goes back to it as the tool's result, so that it can
correct itself; nothing it writes is ever evaluated as code. Tools of other programs: `exaone_nb.engines.mcp_tools`.
"""

import ast
import json
import operator
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb.conversation.answers import Answer, Engine, Message, Mode, Sampling, ToolCall
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

MAX_INTEGER_DIGITS = 40
_BLOCK = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.S)


@dataclass(frozen=True)
class Tool:
    """What is called, and what the model is shown of it: `parameters` is the JSON schema of an object.

    What `function` raises is for the model to read; a WorkbookError is for people and ends the conversation.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]

    def schema(self) -> dict[str, Any]:
        shown = ("name", "description", "parameters")
        return {"type": "function", "function": {name: getattr(self, name) for name in shown}}


@dataclass(frozen=True)
class Step:
    """One call and what came back; `failed` when it could not be run."""

    call: ToolCall
    result: str
    failed: bool = False


@dataclass(frozen=True)
class ToolConversation:
    """A finished tool conversation: every step, and the last answer."""

    steps: tuple[Step, ...]
    answer: Answer


def run_tools(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    *,
    mode: Mode = "non-reasoning",
    sampling: Sampling | None = None,
    limit: int = 5,
) -> ToolConversation:
    """Ask, run what the model calls, feed the results back, until it answers in words.

    Raises WorkbookError after `limit` rounds that all ended in calls, and when a tool's server is gone.
    """
    history: list[Message] = [dict(message) for message in messages]
    schemas = [tool.schema() for tool in tools]
    steps: list[Step] = []
    for _ in range(limit):
        answer = engine.chat(history, mode, sampling, schemas)
        if not answer.tool_calls:
            return ToolConversation(tuple(steps), answer)
        # Thoughts are not fed back: the model's makers drop them from the history.
        asked: list[dict[str, Any]] = []
        history.append({"role": "assistant", "content": answer.text, "tool_calls": asked})
        for call in answer.tool_calls:
            name, step = call.id or f"call-{len(steps)}", run_call(call, tools)
            function = {"name": call.name, "arguments": call.arguments or "{}"}
            asked.append({"id": name, "type": "function", "function": function})
            steps.append(step)
            history.append({"role": "tool", "tool_call_id": name, "content": step.result})
    raise WorkbookError(
        say("The model called tools {limit} times in a row and never answered.", limit=limit),
        expected="an answer in words once the results are there.",
        remedy="Raise limit, or look at the last results: a tool that always fails is called again and again.",
    )


def run_call(call: ToolCall, tools: Sequence[Tool]) -> Step:
    """Run one call; a mistake becomes a result that says what was wrong."""
    known = {tool.name: tool for tool in tools}
    if not call.name:
        return _failure(call, 'a call is JSON: {"name": ..., "arguments": {...}}')
    if (tool := known.get(call.name)) is None:
        return _failure(call, f"no tool {call.name!r}; there are {', '.join(known) or 'none'}")
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError as error:
        return _failure(call, f"the arguments are not JSON: {error}")
    if not isinstance(arguments, dict):
        return _failure(call, "the arguments are not an object")
    known_names, needed = (set(tool.parameters.get(key, ())) for key in ("properties", "required"))
    missing, extra = needed - set(arguments), set(arguments) - known_names
    if missing or extra:
        return _failure(call, f"arguments missing: {sorted(missing)}, unknown: {sorted(extra)}")
    try:
        return Step(call, json.dumps(tool.function(**arguments), ensure_ascii=False))
    except WorkbookError:
        raise
    except Exception as error:  # a tool's own error is for the model to read
        return _failure(call, f"{type(error).__name__}: {error}")


def read_tool_calls(raw: str) -> tuple[str, list[ToolCall]]:
    """(the text around the calls, the calls). Never an error: `run_call` tells the model what is wrong with a call.

    A block that is no JSON object with a name becomes a call without one, whose arguments are the block as written.
    """
    calls = []
    for block in _BLOCK.findall(raw):
        try:
            document = json.loads(block)
        except ValueError:
            document = None
        if isinstance(document, dict) and isinstance(document.get("name"), str):
            block = json.dumps(document.get("arguments", {}), ensure_ascii=False)
            calls.append(ToolCall(document["name"], block))
        else:
            calls.append(ToolCall("", block))
    return _BLOCK.sub("", raw).strip(), calls


def with_tool_calls(answer: Answer) -> Answer:
    """An answer in plain text with the calls in it taken out of the text."""
    text, calls = read_tool_calls(answer.text)
    reason = "tool_calls" if calls else answer.finish_reason
    return replace(answer, text=text, tool_calls=tuple(calls), finish_reason=reason)


def _failure(call: ToolCall, reason: str) -> Step:
    return Step(call, json.dumps({"error": reason}, ensure_ascii=False), failed=True)


_draw = random.Random(0)


def roll_dice(sides: int, count: int) -> list[int]:
    """`count` throws of a die with `sides` sides, from a seeded generator."""
    if not (isinstance(sides, int) and isinstance(count, int) and 2 <= sides <= 1000 and 1 <= count <= 100):
        raise ValueError("sides must be 2 to 1000 and count 1 to 100")
    return [_draw.randint(1, sides) for _ in range(count)]


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def calculator(expression: str) -> float | int:
    """The value of an arithmetic expression (+ - * / and brackets), read as a syntax tree and never evaluated."""
    if not isinstance(expression, str) or len(expression) > 200:
        raise ValueError("the expression must be a text of at most 200 characters")

    def value(node: ast.AST) -> float | int:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            if len(str(node.value)) > MAX_INTEGER_DIGITS:
                raise ValueError("a number is too long")
            return node.value
        if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in _OPERATORS:
            parts = (node.operand,) if isinstance(node, ast.UnaryOp) else (node.left, node.right)
            return _OPERATORS[type(node.op)](*map(value, parts))
        raise ValueError("only numbers, + - * / and brackets are allowed")

    return value(ast.parse(expression, mode="eval").body)


def _takes(**types: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


# The schemas nano was trained with; the README's example has one roll_dice(max_num).
ROLL_DICE = Tool(
    "roll_dice",
    "Roll dice and return the numbers shown.",
    _takes(sides="integer", count="integer"),
    roll_dice,
)
CALCULATOR = Tool("calculator", "Evaluate an arithmetic expression.", _takes(expression="string"), calculator)
