"""Talking to a model as its makers recommend, what reasoning parsers make of its answers, and how it uses tools."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from exaone_nb.conversation.answers import (
    MODES,
    THINK_CLOSE,
    THINK_OPEN,
    Engine,
    Message,
    Sampling,
    against_repetition,
    goes_round,
    in_words,
    recommended,
)
from exaone_nb.conversation.tools import run_tools
from exaone_nb.engines.dialects import DIALECTS
from exaone_nb.engines.mcp_tools import ToolServer
from exaone_nb.engines.vllm_adapter import reasoning_parser
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.written import read_csv

# The README asks how wonderful the model is, in its three languages, and which of two decimals is bigger.
README_PROMPTS = {
    "Korean": "너가 얼마나 대단한지 설명해 봐",
    "English": "Explain how wonderful you are",
    "Spanish": "Explica lo increíble que eres",
}
README_RIDDLE = "Which one is bigger, 3.12 vs 3.9?"
PARSERS = ("deepseek_r1", "deepseek_v3")
TOOL_COLUMNS = (
    Column("offered", say("tools offered"), code=True),
    Column("asked"),
    Column("called", code=True),
    Column("result", say("what came back"), code=True),
    Column("answer", say("what the model made of it")),
)
TALK = columns(("prompt", "mode", "sampled", "thought", "answer", "tokens", "ended by"))


def ask(text: str) -> list[Message]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]


def talk(engine: Engine, prompts: Sequence[str], model: str, *, max_tokens: int) -> Table:
    """Every prompt in both modes, sampled as the model's makers recommend.

    A prompt in Korean takes the temperature they give for it. An answer that was cut off going round in circles is asked
    for again with the presence penalty they name, where they name one.
    """
    rows = []
    for prompt, mode in product(prompts, MODES):
        korean = bool(re.search("[가-힣]", prompt))
        advice = recommended(model, mode, max_tokens=max_tokens, korean=korean)
        answer, sampled = engine.chat(ask(prompt), mode, advice.sampling), in_words(advice.sampling)
        firmer = against_repetition(advice)
        if answer.finish_reason == "length" and goes_round(answer.raw) and firmer != advice:
            answer, again = engine.chat(ask(prompt), mode, firmer.sampling), in_words(firmer.sampling)
            sampled = say("{sampling}, second try: the first went round in circles", sampling=again)
        written = (answer.thought, answer.text, answer.output_tokens, answer.finish_reason)
        values = (prompt, mode, sampled, *written)
        rows.append(dict(zip((column.name for column in TALK), values, strict=True)))
    return Table(TALK, rows)


def advice_table(models: Iterable[str]) -> Table:
    """The recommended sampling of models, with its source."""
    heads, rows = columns(("model", "mode", "temperature", "top_p", "top_k", "remark", "source")), []
    for model, mode in product(models, MODES):
        found = recommended(model, mode)
        temperature, top_k = found.as_written, found.sampling.top_k or None
        top_p = found.sampling.top_p if found.sampling.temperature else None
        values = (model, mode, temperature, top_p, top_k, found.remark, found.source)
        rows.append(dict(zip((column.name for column in heads), values, strict=True)))
    return Table(heads, rows)


def parser_table(
    tokenizer: Any, written: Mapping[str, Sequence[str]], targets: Sequence[str]
) -> Table | None:
    """What two of vLLM's reasoning parsers make of non-streamed answers: mode -> the texts that the model wrote.

    The first text is shown. `right` counts those whose content ends in the number that `targets` asks for. None for a
    tokenizer without think tags, for which vLLM has no parser.
    """
    if not {THINK_OPEN, THINK_CLOSE} <= tokenizer.get_vocab().keys():
        return None
    rows = []
    for name, (mode, texts) in product(PARSERS, written.items()):
        parser = reasoning_parser(name, tokenizer, enable_thinking=mode == "reasoning")
        parts = [parser.extract_reasoning(text, None) for text in texts]
        found = [numbers(content or "")[-1:] == [n] for (_, content), n in zip(parts, targets, strict=True)]
        reasoning, content = map(repr, parts[0])
        row = {"parser": name, "mode": mode, "reasoning": reasoning, "content": content, "right": sum(found)}
        rows.append(row)
    heads = [Column("parser", code=True), *columns(("mode", "reasoning", "content"))]
    return Table([*heads, Column("right", say("right of {n}", n=len(targets)))], rows)


def numbers(text: str) -> list[str]:
    """The whole numbers of a text, in order."""
    return re.findall(r"-?\d+", text)


def tool_table(
    engine: Engine, asked: Mapping[str, Sequence[str]], sampling: Sampling, caption: str = ""
) -> Table:
    """Tools over MCP: what was offered, called and given back, and what the model made of it; a row per call.

    `asked` maps a tool server's command line to questions. A server that fails, and a model that calls and calls, are a
    row that says so.
    """
    rows: list[dict[str, Any]] = []
    for command, questions in asked.items():
        with ToolServer(shlex.split(command)) as server:
            tools = server.tools()
            for question in questions:
                row = {"offered": [tool.name for tool in tools], "asked": question}
                try:
                    done = run_tools(engine, ask(question), tools, sampling=sampling)
                except WorkbookError as error:
                    rows.append(row | {"answer": error.got})
                    continue
                calls = [
                    {"called": f"{step.call.name}({step.call.arguments})", "result": step.result}
                    for step in done.steps
                ]
                rows += [row | call for call in calls[:-1]]
                last = calls[-1] if calls else {"called": say("nothing")}
                rows.append(row | last | {"answer": done.answer.text})
    return Table(TOOL_COLUMNS, rows, caption)


def recorded_agent_table(document: dict[str, Any]) -> Table:
    """What another agent framework made of the same tools (scripts/record_qwen_agent.py)."""
    return Table(TOOL_COLUMNS, document["rows"]).without_empty()


def dialect_table() -> Table:
    """How servers that call themselves OpenAI-compatible differ, and where that was read or tried."""
    heads = (
        Column("name", say("server")),
        Column("thinking", say("thinking is switched off by"), code=True),
        Column("ignores", say("options of ours that it ignores"), code=True),
        Column("too_long", say("a prompt that is too long"), ours=True),
        Column("load", say("says its queue at /metrics")),
        Column("source", say("from"), ours=True),
    )
    rows = [
        vars(one) | {"thinking": json.dumps(one.switch(False)), "load": one.load is not None}
        for one in DIALECTS
    ]
    return Table(heads, rows)


def recorded_answers() -> Table:
    """What EXAONE-4.0-1.2B was seen to answer elsewhere; every row has its source and date."""
    rows = [
        row | {part: translated(row[part]) for part in ("sampling", "source")}
        for row in read_csv(DATA / "recorded_answers.csv")
    ]
    return Table(columns(rows[0]), rows)


def switch_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What `switch_rows` found: the prompt as a string, and whether the model thinks."""
    columns = [
        Column("case", say("case")),
        Column("prompt", say("the exact string")),
        Column("thinks", say("thinks")),
        Column("does", say("what the model does")),
    ]
    return Table(columns, rows)
