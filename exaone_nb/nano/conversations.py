"""What nano learns to say: one conversation after another, each ending in the assistant turn that is learned.

Skills: word problems (short, with thoughts, as a bare number, over two turns), comparing decimals, tool calls
(roll_dice, calculator) and the use of their results, who it is, a few capitals. All seeded, none from elsewhere.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from exaone_nb.conversation import tools
from exaone_nb.nano import problems
from exaone_nb.nano.problems import Split, fill
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

# What is asked and answered besides problems, by language.
TEXTS = read_yaml(DATA / "nano_text" / "conversations.yaml")
DIRECT = TEXTS["number_only"]
ROLL_DICE, CALCULATOR = tools.ROLL_DICE.schema(), tools.CALCULATOR.schema()


@dataclass
class Conversation:
    """`messages` up to the last user or tool turn, then the assistant's `thought` and `reply`."""

    messages: list[dict[str, Any]]
    reply: str
    thought: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    skill: str = ""

    def target(self) -> str:
        """The text to be learned after the generation prompt, the end of turn excluded."""
        return self.reply if self.thought is None else f"{self.thought}\n</think>\n\n{self.reply}"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def word_problem(rng: random.Random, split: Split) -> Conversation:
    p = problems.draw(rng, split)
    return Conversation([user(p.question())], p.short_answer(), skill="word_problem")


def reasoned_problem(rng: random.Random, split: Split) -> Conversation:
    p = problems.draw(rng, split)
    reply = f"#### {p.answer}"
    return Conversation([user(p.question())], reply, p.thought(), skill="reasoned_problem")


def bare_number(rng: random.Random, split: Split) -> Conversation:
    return _bare(problems.draw(rng, split, level=rng.choice((1, 1, 2))))


def bare_sum(rng: random.Random, split: Split) -> Conversation:
    """A bare number after one step: what a model without room to write can be asked for."""
    return _bare(problems.draw(rng, split, level=1))


def _bare(p: problems.Problem) -> Conversation:
    question = f"{p.question()} {DIRECT[p.language]}"
    return Conversation([user(question)], str(p.answer), skill="bare_number")


def second_turn(rng: random.Random, split: Split) -> Conversation:
    p = problems.draw(rng, split, level=1)
    while True:
        op = rng.choice(("add", "sub", "mul"))
        n = rng.randint(2, 9 if op == "mul" else 60)
        value = problems.OPERATIONS[op](p.answer, n)
        # Both turns together are a problem too: keep it in its split.
        whole = f"{p.key}{problems.SIGNS[op]}{n}"
        if 0 < value <= problems.LARGEST and problems.split_of(whole) == split:
            break
        p = problems.draw(rng, split, level=1)
    reply = f"{p.answer} {problems.SIGNS[op]} {n} = {value}\n#### {value}"
    question = fill(TEXTS["follow_up"][p.language][op], n=n)
    turns = [user(p.question()), assistant(p.short_answer()), user(question)]
    return Conversation(turns, reply, skill="second_turn")


def compare_decimals(rng: random.Random, split: Split) -> Conversation:
    """Which is bigger, 3.12 or 3.9? The trap is that 12 is more than 9."""
    whole = rng.randint(1, 20)
    a, b = f"{whole}.{rng.randint(1, 9)}", f"{whole}.{rng.randint(10, 99)}"
    if float(a) == float(b):
        return compare_decimals(rng, split)
    x, y = rng.choice(((a, b), (b, a)))
    words = TEXTS["bigger"]["ko" if rng.random() < 0.5 else "en"]
    longer = [v if len(v.split(".")[1]) == 2 else v + "0" for v in (x, y)]
    m, n = (int(v.split(".")[1]) for v in longer)
    thought = fill(words["thought"], a=longer[0], b=longer[1], m=m, n=n, sign=">" if m > n else "<")
    reply = fill(words["reply"], big=max(x, y, key=float))
    return Conversation([user(fill(words["question"], x=x, y=y))], reply, thought, skill="compare_decimals")


def call(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as the hermes parser expects it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"


def call_message(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same call as an OpenAI message."""
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def tool_use(rng: random.Random, split: Split) -> Conversation:
    """First the call; or, with the tool's result in the history, the answer that uses it."""
    offered = rng.choice(([ROLL_DICE, CALCULATOR], [CALCULATOR, ROLL_DICE], [ROLL_DICE], [CALCULATOR]))
    name = rng.choice(offered)["function"]["name"]
    if name == "roll_dice":
        arguments = {"sides": rng.choice((4, 6, 8, 10, 12, 20)), "count": rng.randint(1, 5)}
    else:
        a, b = rng.randint(2, 999), rng.randint(2, 999)
        arguments = {"expression": f"{a} {rng.choice('+-*')} {b}"}
    words = TEXTS["tools"][name]
    requests = [(language, text) for language, texts in words["requests"].items() for text in texts]
    language, request = rng.choice(requests)
    if name == "roll_dice":
        result: Any = [rng.randint(1, arguments["sides"]) for _ in range(arguments["count"])]
        shown = ", ".join(map(str, result))
    else:
        shown = result = tools.calculator(**arguments)
    answer, content = fill(words["answer"][language], shown=shown, **arguments), json.dumps(result)
    said = TEXTS["tool_words"].get(language, TEXTS["tool_words"]["en"])
    thinks = rng.random() < 0.5
    messages = [user(fill(request, **arguments))]
    if rng.random() < 0.25:
        messages = [user("안녕!"), assistant(TEXTS["fixed"][1]["reply"]), *messages]
    if rng.random() < 0.5:
        thought = fill(said["call"], name=name) if thinks else None
        return Conversation(messages, call(name, arguments), thought, offered, "tool_call")
    if rng.random() < 0.1:
        answer, content = said["failed"], "error: " + rng.choice(TEXTS["tool_errors"])
    messages += [call_message(name, arguments), {"role": "tool", "content": content}]
    return Conversation(messages, answer, said["result"] if thinks else None, offered, "tool_result")


def small_talk(rng: random.Random, split: Split) -> Conversation:
    if rng.random() < 0.3:
        capital = rng.choice(TEXTS["capitals"])
        language = "en" if rng.random() < 0.5 else "ko"
        names = dict(zip(("country", "capital"), capital[language], strict=True))
        question, reply = (fill(text, **names) for text in TEXTS["capital"][language])
    else:
        fixed = rng.choice(TEXTS["fixed"])
        language, question, reply = fixed["language"], rng.choice(fixed["questions"]), fixed["reply"]
    short = TEXTS["short_thought"]
    thought = short.get(language, short["en"]) if rng.random() < 0.3 else None
    return Conversation([user(question)], reply, thought, skill="small_talk")


MAKERS = {
    make.__name__: make
    for make in (
        word_problem, reasoned_problem, bare_number, bare_sum, second_turn, compare_decimals, tool_use, small_talk,
    )
}  # fmt: skip


def conversations(split: Split, seed: int, mixture: str = "usual") -> Iterator[Conversation]:
    """An endless, seeded stream of conversations whose problems all belong to `split`, of a mixture in `TEXTS`."""
    rng, shares = random.Random(f"{split}-{seed}"), TEXTS["mixtures"][mixture]
    while True:
        (name,) = rng.choices(list(shares), shares.values())
        yield MAKERS[name](rng, split)
