"""Answers, modes, tool calls, lengths, differences: what needs no engine."""

import dataclasses

import pytest

from exaone_nb.conversation.answers import (
    Answer,
    Sampling,
    ToolCall,
    against_repetition,
    check_mode,
    recommended,
    split_thought,
)
from exaone_nb.conversation.prompt import with_soft_switch
from exaone_nb.conversation.tools import (
    CALCULATOR,
    ROLL_DICE,
    Tool,
    calculator,
    read_tool_calls,
    run_call,
    run_tools,
)
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.serve.speed import lengths
from exaone_nb.serve.tables import first_difference


@pytest.mark.parametrize(
    ("raw", "opened", "thought", "text"),
    [
        ("4", False, "", "4"),
        ("2 + 2 is 4\n</think>\n\n4", True, "2 + 2 is 4", "4"),
        ("2 + 2 is", True, "2 + 2 is", ""),  # cut off inside the block: nothing to score
        ("<think>\na\n</think>\n4", False, "a", "4"),
        ("<think>\na\n</think>\n4", True, "a", "4"),  # the model opened it again
        ("a </think> 4", False, "a", "4"),
        ("Hello <think>a</think> 4", False, "a", "Hello  4"),
    ],
)
def test_thought_and_answer_are_told_apart(raw, opened, thought, text):
    assert split_thought(raw, opened=opened) == (thought, text)


def test_soft_switch_goes_to_the_last_user_message_and_leaves_the_original_alone():
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    changed = with_soft_switch(messages, thinking=False)
    assert [m["content"] for m in changed] == ["a", "b", "c /no_think"]
    assert messages[2]["content"] == "c"
    with pytest.raises(UsageError, match="no user message"):
        with_soft_switch([{"role": "system", "content": "x"}], thinking=True)


@pytest.mark.parametrize("bad", [{"max_tokens": 0}, {"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}])
def test_impossible_sampling_is_refused(bad):
    with pytest.raises(UsageError):
        Sampling(**bad)


def test_modes():
    assert check_mode("reasoning") and not check_mode("non-reasoning")
    with pytest.raises(UsageError, match="thinking"):
        check_mode("thinking")


def test_recommended_sampling_follows_the_catalog():
    off = recommended("EXAONE-4.0-1.2B").sampling
    assert (off.temperature, off.top_p) == (0.0, 1.0)
    assert recommended("EXAONE-4.0-1.2B", korean=True).sampling.temperature == 0.1
    on = recommended("EXAONE-4.0-1.2B", "reasoning")
    assert (on.sampling.temperature, on.sampling.top_p) == (0.6, 0.95)
    assert against_repetition(on).sampling.presence_penalty == 1.5
    qwen = recommended("Qwen3-1.7B", "reasoning").sampling
    assert (qwen.temperature, qwen.top_p, qwen.top_k) == (0.6, 0.95, 20)
    assert recommended("LGAI-EXAONE/some-other").sampling.temperature == 0


def test_tool_calls_are_read_from_text_and_the_model_is_told_of_bad_ones():
    text, (call,) = read_tool_calls('Sure.<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>')
    assert text == "Sure." and (call.name, call.arguments) == ("f", '{"a": 1}')
    for bad in ('{"name": "f"', "[1]</tool_call>", '{"name": 1}</tool_call>'):
        (call,) = read_tool_calls(f"<tool_call>{bad}")[1]
        step = run_call(call, [ROLL_DICE, CALCULATOR])
        assert step.failed and "a call is JSON" in step.result and call.arguments == bad.split("</")[0]
    (call,) = read_tool_calls('<tool_call>{"name": "calculator", "arguments": "x"}</tool_call>')[1]
    assert "not an object" in run_call(call, [CALCULATOR]).result
    assert read_tool_calls("plain") == ("plain", [])


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("fly", "{}", "no tool 'fly'"),
        ("calculator", "{", "not JSON"),
        ("calculator", "[1]", "not an object"),
        ("calculator", '{"expr": "1"}', "missing"),
        ("calculator", '{"expression": "__import__(\'os\')"}', "only numbers"),
        ("calculator", '{"expression": "9**9**9"}', "only numbers"),
        ("calculator", '{"expression": "1/0"}', "ZeroDivisionError"),
        ("roll_dice", '{"sides": 6, "count": 1000000000}', "count"),
    ],
)
def test_bad_calls_become_results_that_say_what_is_wrong(name, arguments, told):
    step = run_call(ToolCall(name, arguments), [ROLL_DICE, CALCULATOR])
    assert step.failed and told in step.result


def test_calculator():
    assert calculator("127 * (46 - 4)") == 5334
    assert calculator("-3 + 1.5") == -1.5


class Scripted:
    """An engine that gives prepared answers and keeps what it was asked."""

    name = "scripted"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def chat(self, messages, mode="non-reasoning", sampling=None, tools=None):
        self.asked.append([dict(m) for m in messages])
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_tool_loop_feeds_results_back_and_drops_thoughts():
    call = Answer("", thought="secret", tool_calls=(ToolCall("calculator", '{"expression": "2*3"}', "id1"),))
    engine = Scripted(call, Answer("2 * 3 = 6."))
    done = run_tools(engine, [{"role": "user", "content": "2*3?"}], [CALCULATOR])
    assert done.answer.text == "2 * 3 = 6." and done.steps[0].result == "6"
    assert engine.asked[1][-1] == {"role": "tool", "tool_call_id": "id1", "content": "6"}
    assert "secret" not in str(engine.asked[1])


def test_tool_loop_ends_at_its_limit():
    engine = Scripted(Answer("", tool_calls=(ToolCall("nothing", "{}"),)))
    with pytest.raises(WorkbookError, match="3 times in a row"):
        run_tools(engine, [{"role": "user", "content": "x"}], [CALCULATOR], limit=3)
    assert len(engine.asked) == 3


def test_a_tool_that_raises_does_not_end_the_conversation():
    def broken(x: int) -> int:
        raise RuntimeError("no")

    tool = Tool("broken", "fails", {"properties": {"x": {"type": "integer"}}}, broken)
    assert "RuntimeError: no" in run_call(ToolCall("broken", '{"x": 1}'), [tool]).result


def answer(tokens: int, seconds: float, reason: str = "stop") -> Answer:
    return Answer("x", output_tokens=tokens, seconds=seconds, finish_reason=reason)


def test_length_tail():
    answers = [answer(10, 1.0) for _ in range(38)] + [answer(500, 9.0, "length"), answer(400, 8.0)]
    found = lengths(answers)
    assert (found.n, found.longest, found.cut_off, found.median) == (40, 500, 1, 10)
    assert found.tail_seconds == 8.0 and found.tail_share == pytest.approx(8 / 9)
    assert lengths([dataclasses.replace(answers[0], text="")]).empty == 1
    with pytest.raises(UsageError):
        lengths([])
    with pytest.raises(UsageError, match="no time"):
        lengths([Answer("x")])


class Letters:
    """Tokens are letters; those from 1000 on are parts of one, without a text of their own."""

    def decode(self, ids):
        return "".join(chr(i) if i < 1000 else "\ufffd" for i in ids)


def spoken(text: str, **tops: dict) -> Answer:
    steps = [tops.get(f"t{i}", {c: -0.1}) for i, c in enumerate(text)]
    by_id = tuple({ord(c): value for c, value in step.items()} for step in steps)
    return Answer(text, token_ids=[ord(c) for c in text], top_logprobs=by_id)


def test_first_difference_and_its_gap():
    base, other = spoken("abc", t2={"c": -0.2, "d": -0.5}), spoken("abd", t2={"d": -0.1})
    found = first_difference(base, other, Letters())
    assert (found["position"], found["common"], found["base_token"], found["other_token"]) == (
        2,
        "ab",
        "c",
        "d",
    )
    assert found["base_gap"] == pytest.approx(0.3) and found["other_gap"] is None
    assert first_difference(base, base, Letters()) is None
    assert first_difference(spoken("ab"), spoken("abc"), Letters())["base_token"] == "(end)"
    with pytest.raises(UsageError):
        first_difference(Answer("a", token_ids=[1]), base, Letters())


def test_the_gap_is_that_of_the_token_and_not_of_another_with_the_same_text():
    base = Answer("", token_ids=[1001], top_logprobs=({1001: -0.2, 1002: -0.5, 1003: -4.0},))
    other = Answer("", token_ids=[1002], top_logprobs=({1002: -0.3, 1001: -0.4, 1004: -5.0},))
    found = first_difference(base, other, Letters())
    assert found["base_gap"] == pytest.approx(0.3) and found["other_gap"] == pytest.approx(0.1)
    assert "1001" in found["base_token"] and "1002" in found["other_token"]
