"""What nano learns to say: one conversation after another, each ending in the assistant turn that is learned.

Skills: word problems (short, with thoughts, as a bare number, over two turns), comparing decimals, tool calls
(roll_dice, calculator) and the use of their results, who it is, a few capitals. All seeded, none from elsewhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exaone_nb.nano import problems
from exaone_nb.nano.problems import Split, fill

DIRECT = {"en": "Answer with the number only.", "ko": "숫자로만 답해."}

ROLL_DICE = {
    "type": "function",
    "function": {
        "name": "roll_dice",
        "description": "Roll dice and return the numbers shown.",
        "parameters": {
            "type": "object",
            "properties": {"sides": {"type": "integer"}, "count": {"type": "integer"}},
            "required": ["sides", "count"],
        },
    },
}
CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Evaluate an arithmetic expression.",
        "parameters": {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        },
    },
}


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


FOLLOW_UP = {
    "en": {"add": "And with {n} more?", "sub": "And after giving {n} away?", "mul": "And {n} times as many?"},
    "ko": {
        "add": "여기서 {n}개를 더 받으면?",
        "sub": "여기서 {n}개를 주면?",
        "mul": "여기서 {n}배가 되면?",
    },
}


def second_turn(rng: random.Random, split: Split) -> Conversation:
    p = problems.draw(rng, split, level=1)
    while True:
        op = rng.choice(("add", "sub", "mul"))
        n = rng.randint(2, 9 if op == "mul" else 60)
        value = {"add": p.answer + n, "sub": p.answer - n, "mul": p.answer * n}[op]
        whole = (
            f"{p.key}{problems.SIGNS[op]}{n}"  # both turns together are a problem too: keep it in its split
        )
        if 0 < value <= problems.LARGEST and problems.split_of(whole) == split:
            break
        p = problems.draw(rng, split, level=1)
    reply = f"{p.answer} {problems.SIGNS[op]} {n} = {value}\n#### {value}"
    turns = [user(p.question()), assistant(p.short_answer()), user(fill(FOLLOW_UP[p.language][op], n=n))]
    return Conversation(turns, reply, skill="second_turn")


def compare_decimals(rng: random.Random, split: Split) -> Conversation:
    """Which is bigger, 3.12 or 3.9? The trap is that 12 is more than 9."""
    whole = rng.randint(1, 20)
    a, b = f"{whole}.{rng.randint(1, 9)}", f"{whole}.{rng.randint(10, 99)}"
    if float(a) == float(b):
        return compare_decimals(rng, split)
    x, y = rng.choice(((a, b), (b, a)))
    big = max(x, y, key=float)
    korean = rng.random() < 0.5
    question = f"{x}와 {y} 중 어느 것이 더 클까?" if korean else f"Which one is bigger, {x} vs {y}?"
    longer = [v if len(v.split(".")[1]) == 2 else v + "0" for v in (x, y)]
    digits = [int(v.split(".")[1]) for v in longer]
    sign = ">" if digits[0] > digits[1] else "<"
    if korean:
        thought = f"자릿수를 맞춘다: {longer[0]}, {longer[1]}.\n소수 부분: {digits[0]} {sign} {digits[1]}."
        reply = f"{big}이 더 크다." if problems.particle(big, "이/가") == "이" else f"{big}가 더 크다."
    else:
        thought = (
            f"Same number of digits: {longer[0]}, {longer[1]}.\nDecimal part: {digits[0]} {sign} {digits[1]}."
        )
        reply = f"{big} is bigger."
    return Conversation([user(question)], reply, thought, skill="compare_decimals")


def call(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as the hermes parser expects it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"


def call_message(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same call as an OpenAI message."""
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


DICE_REQUESTS = [
    "Roll {count} dice with {sides} sides.",
    "Please roll a {sides}-sided die {count} times.",
    "Roll D{sides} {count} times!",
    "{sides}면 주사위를 {count}번 굴려 줘.",
    "{sides}면 주사위 {count}개를 굴려 봐.",
    "Tira {count} dados de {sides} caras.",
]
CALCULATOR_REQUESTS = [
    "What is {e}? Use the calculator.",
    "Calculate {e}.",
    "계산기로 {e} 값을 구해 줘.",
    "{e} 계산해 줘.",
    "Calcula {e}.",
]


def tool_use(rng: random.Random, split: Split) -> Conversation:
    """First the call; or, with the tool's result in the history, the answer that uses it."""
    tools = rng.choice(([ROLL_DICE, CALCULATOR], [CALCULATOR, ROLL_DICE], [ROLL_DICE], [CALCULATOR]))
    chosen = rng.choice(tools)
    name = chosen["function"]["name"]
    if name == "roll_dice":
        sides, count = rng.choice((4, 6, 8, 10, 12, 20)), rng.randint(1, 5)
        request = rng.choice(DICE_REQUESTS).format(sides=sides, count=count)
        arguments: dict[str, Any] = {"sides": sides, "count": count}
        result: Any = [rng.randint(1, sides) for _ in range(count)]
        shown = ", ".join(map(str, result))
        english, korean, spanish = (
            f"The dice show {shown}.",
            f"주사위 결과는 {shown}이다.",
            f"Los dados muestran {shown}.",
        )
    else:
        a, b = rng.randint(2, 999), rng.randint(2, 999)
        sign = rng.choice("+-*")
        expression = f"{a} {sign} {b}"
        request = rng.choice(CALCULATOR_REQUESTS).format(e=expression)
        arguments = {"expression": expression}
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        english, korean = f"{expression} = {result}.", f"{expression} = {result}이다."
        spanish = f"{expression} = {result}."
    is_korean = any("가" <= c <= "힣" for c in request)
    is_spanish = request.startswith(("Tira", "Calcula "))
    answer = korean if is_korean else spanish if is_spanish else english
    thought = None
    if rng.random() < 0.5:
        thought = f"도구 {name}가 필요하다." if is_korean else f"I need the tool {name}."
    messages = [user(request)]
    if rng.random() < 0.25:
        messages = [user("안녕!"), assistant(GREETINGS["ko"]), *messages]
    if rng.random() < 0.5:
        return Conversation(messages, call(name, arguments), thought, tools, "tool_call")
    if rng.random() < 0.1:
        content = "error: " + rng.choice(("unknown tool", "bad arguments", "timeout"))
        answer = "도구가 오류를 알렸다." if is_korean else "The tool reported an error."
    else:
        content = json.dumps(result)
    messages += [call_message(name, arguments), {"role": "tool", "content": content}]
    if thought is not None:
        thought = "도구의 결과를 읽는다." if is_korean else "I read the result of the tool."
    return Conversation(messages, answer, thought, tools, "tool_result")


GREETINGS = {
    "en": "Hello! Give me a short arithmetic problem.",
    "ko": "안녕하세요! 짧은 산수 문제를 내 보세요.",
    "es": "¡Hola! Dame un problema corto de aritmética.",
}
WHO = {
    "en": "I am nano, the tiny model of this workbook. I am not EXAONE; I only share its architecture.",
    "ko": "저는 이 워크북의 아주 작은 모델 nano입니다. EXAONE이 아니며 구조만 같습니다.",
    "es": "Soy nano, el modelo diminuto de este cuaderno. No soy EXAONE; solo comparto su arquitectura.",
}
ABLE = {
    "en": "I am not wonderful: I am nano, a tiny model. I solve short arithmetic problems and call tools.",
    "ko": "저는 대단하지 않습니다. 아주 작은 모델 nano이고, 짧은 산수 문제와 도구 호출을 할 수 있습니다.",
    "es": "No soy increíble: soy nano, un modelo diminuto. Resuelvo aritmética corta y uso herramientas.",
}
FIXED = [
    (["Hello!", "Hi", "Hello", "Good morning!"], GREETINGS["en"]),
    (["안녕!", "안녕하세요", "안녕"], GREETINGS["ko"]),
    (["¡Hola!", "Hola"], GREETINGS["es"]),
    (
        ["Who are you?", "What is your name?", "Are you EXAONE?", "Introduce yourself.", "What are you?"],
        WHO["en"],
    ),
    (["너는 누구니?", "이름이 뭐야?", "너는 EXAONE이니?", "자기소개 해 줘.", "누구세요?"], WHO["ko"]),
    (["¿Quién eres?", "¿Cómo te llamas?", "¿Eres EXAONE?", "Preséntate."], WHO["es"]),
    (["Explain how wonderful you are", "What can you do?", "How smart are you?"], ABLE["en"]),
    (["너가 얼마나 대단한지 설명해 봐", "무엇을 할 수 있어?", "얼마나 똑똑해?"], ABLE["ko"]),
    (["Explica lo increíble que eres", "¿Qué puedes hacer?"], ABLE["es"]),
]
CAPITALS = [
    ("Korea", "한국", "Seoul", "서울"),
    ("Japan", "일본", "Tokyo", "도쿄"),
    ("France", "프랑스", "Paris", "파리"),
    ("Spain", "스페인", "Madrid", "마드리드"),
    ("Italy", "이탈리아", "Rome", "로마"),
    ("Germany", "독일", "Berlin", "베를린"),
    ("Egypt", "이집트", "Cairo", "카이로"),
    ("Peru", "페루", "Lima", "리마"),
]


def small_talk(rng: random.Random, split: Split) -> Conversation:
    if rng.random() < 0.3:
        country, country_ko, capital, capital_ko = rng.choice(CAPITALS)
        if rng.random() < 0.5:
            question, reply = f"What is the capital of {country}?", f"The capital of {country} is {capital}."
        else:
            question, reply = f"{country_ko}의 수도는 어디야?", f"{country_ko}의 수도는 {capital_ko}이다."
        if capital_ko[-1] in "쿄리드마":
            reply = reply.replace(f"{capital_ko}이다", f"{capital_ko}다")
    else:
        questions, reply = rng.choice(FIXED)
        question = rng.choice(questions)
    thought = None
    if rng.random() < 0.3:
        korean = any("가" <= c <= "힣" for c in question)
        thought = "짧게 답한다." if korean else "I answer in short."
    return Conversation([user(question)], reply, thought, skill="small_talk")


Maker = Callable[[random.Random, Split], Conversation]
Mixture = list[tuple[float, Maker]]

MIXTURE: Mixture = [
    (0.38, word_problem),
    (0.22, reasoned_problem),
    (0.16, bare_number),
    (0.06, second_turn),
    (0.04, compare_decimals),
    (0.09, tool_use),
    (0.05, small_talk),
]
# For the last steps of training: what is learned late, the use of tools and sums without a written equation.
POLISH: Mixture = [
    (0.26, word_problem),
    (0.15, reasoned_problem),
    (0.22, bare_sum),
    (0.05, second_turn),
    (0.04, compare_decimals),
    (0.24, tool_use),
    (0.04, small_talk),
]


def conversations(split: Split, seed: int, mixture: Mixture = MIXTURE) -> Iterator[Conversation]:
    """An endless, seeded stream of conversations whose problems all belong to `split`."""
    rng = random.Random(f"{split}-{seed}")
    weights, makers = zip(*mixture, strict=True)
    while True:
        yield rng.choices(makers, weights)[0](rng, split)
