"""Arithmetic word problems in English and Korean, with worked answers in gsm8k's format (`#### 42`).

A problem is a starting number and one to three steps (add, subtract, multiply, divide). The wording is chosen
apart from the numbers. Which split a problem belongs to follows from its numbers and steps alone, so the same
arithmetic never stands in two splits, not even once in English and once in Korean.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "ko"]
Split = Literal["train", "validation", "test", "calibration"]

LARGEST = 999
LEVELS = (1, 2, 3)  # steps in a problem
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


@dataclass(frozen=True)
class Problem:
    """`start`, then `steps` as (operation, operand); `language` and `wording` choose the sentences."""

    start: int
    steps: tuple[tuple[str, int], ...]
    language: Language
    wording: int

    @property
    def level(self) -> int:
        return len(self.steps)

    @property
    def key(self) -> str:
        """The arithmetic alone, for instance `12+7*2`, applied from left to right."""
        return str(self.start) + "".join(f"{SIGNS[op]}{n}" for op, n in self.steps)

    @property
    def values(self) -> list[int]:
        """The start and the value after each step."""
        values = [self.start]
        for op, n in self.steps:
            v = values[-1]
            values.append({"add": v + n, "sub": v - n, "mul": v * n, "div": v // n}[op])
        return values

    @property
    def answer(self) -> int:
        return self.values[-1]

    @property
    def equations(self) -> list[str]:
        values = self.values
        return [f"{values[i]} {SIGNS[op]} {n} = {values[i + 1]}" for i, (op, n) in enumerate(self.steps)]

    def question(self) -> str:
        """The problem in words."""
        return _question(self)

    def short_answer(self) -> str:
        """The non-reasoning answer: one equation a line, then `#### N`."""
        return "\n".join([*self.equations, f"#### {self.answer}"])

    def thought(self) -> str:
        """The reasoning that stands between <think> and </think>: the number at hand after every step."""
        start, add, end = THOUGHT_WORDS[self.language]
        lines = [fill(start, n=self.start)]
        for (op, n), equation in zip(self.steps, self.equations, strict=True):
            lines.append(f"{fill(add[op], n=n)} {equation}.")
        return "\n".join([*lines, fill(end, n=self.answer)])


def split_of(key: str) -> Split:
    """The split a problem's arithmetic belongs to: 8 % test, 4 % validation, 4 % calibration, the rest train."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    if bucket < 8:
        return "test"
    if bucket < 12:
        return "validation"
    return "calibration" if bucket < 16 else "train"


def draw(
    rng: random.Random,
    split: Split,
    language: Language | None = None,
    level: int | None = None,
    wide: bool = False,
) -> Problem:
    """One random problem of `split`; language and level are drawn when not given, `wide` has larger numbers."""
    while True:
        steps_wanted = level or rng.choice(LEVELS)
        start = _operand(rng, wide)
        value, steps = start, []
        while len(steps) < steps_wanted:
            step = _draw_step(rng, value, wide)
            if step is None:
                break
            steps.append(step)
            op, n = step
            value = {"add": value + n, "sub": value - n, "mul": value * n, "div": value // n}[op]
        problem = Problem(start, tuple(steps), language or rng.choice(("en", "ko")), rng.randrange(1 << 30))
        if len(steps) == steps_wanted and split_of(problem.key) == split:
            return problem


def drill(rng: random.Random, split: Split, count: int) -> list[str]:
    """`count` bare equations like `12 + 7 = 19`, the arithmetic that the word problems of `split` are made of."""
    lines: list[str] = []
    while len(lines) < count:
        start = rng.randint(2, LARGEST) if rng.random() < 0.3 else _operand(rng)
        step = _draw_step(rng, start)
        if step and split_of(f"{start}{SIGNS[step[0]]}{step[1]}") == split:
            lines += Problem(start, (step,), "en", 0).equations
    return lines


def _operand(rng: random.Random, wide: bool = False) -> int:
    """Mostly two digits; three-digit arithmetic is rare, and harder. `wide`: any number up to 300."""
    if wide:
        return rng.randint(2, 300)
    return rng.randint(2, 99) if rng.random() < 0.9 else rng.randint(100, 300)


def _draw_step(rng: random.Random, value: int, wide: bool = False) -> tuple[str, int] | None:
    op = rng.choices(("add", "sub", "mul", "div"), weights=(4, 4, 3, 1))[0]
    if op == "add" and value + 300 <= LARGEST:
        return op, _operand(rng, wide)
    if op == "sub" and value > 3:
        return op, rng.randint(2, min(value - 1, _operand(rng, wide)))
    if op == "mul" and value * 2 <= LARGEST:
        return op, rng.randint(2, min(9, LARGEST // value))
    if op == "div":
        divisors = [d for d in range(2, 10) if value % d == 0 and value // d > 1]
        if divisors:
            return op, rng.choice(divisors)
    return None


THOUGHT_WORDS = {
    "en": (
        "We start with {n}.",
        {"add": "Add {n}:", "sub": "Take away {n}:", "mul": "Multiply by {n}:", "div": "Divide by {n}:"},
        "The answer is {n}.",
    ),
    "ko": (
        "처음 수는 {n}이다.",
        {
            "add": "{n|을/를} 더한다:",
            "sub": "{n|을/를} 뺀다:",
            "mul": "{n|을/를} 곱한다:",
            "div": "{n|으로/로} 나눈다:",
        },
        "답은 {n}이다.",
    ),
}

NAMES = {
    "en": ["Mina", "Tom", "Sora", "Jack", "Emma", "Leo", "Anna", "Ben", "Nora", "Sam"],
    "ko": ["민아", "지훈", "소라", "준호", "유나", "도윤", "하린", "서준", "수빈", "태오"],
}
THINGS = {
    "en": [
        "apples",
        "books",
        "coins",
        "pencils",
        "stickers",
        "marbles",
        "cards",
        "cookies",
        "stamps",
        "beads",
    ],
    "ko": ["사과", "책", "동전", "연필", "스티커", "구슬", "카드", "과자", "우표", "단추"],
}
OPENINGS = {
    "en": [
        "{name} has {n} {thing}.",
        "{name} starts with {n} {thing}.",
        "There are {n} {thing} in {name}'s box.",
    ],
    "ko": [
        "{name|은/는} {thing} {n}개를 가지고 있다.",
        "{name}의 상자에 {thing|이/가} {n}개 있다.",
        "{name|은/는} {thing} {n}개로 시작한다.",
    ],
}
EVENTS = {
    "en": {
        "add": ["{name} buys {n} more.", "A friend gives {name} {n} more.", "Then {name} finds {n} more."],
        "sub": ["{name} gives {n} away.", "Then {name} loses {n}.", "{name} sells {n} of them."],
        "mul": ["Then the number becomes {n} times as large.", "{name} now gets {n} times as many."],
        "div": [
            "{name} shares them equally among {n} people and keeps one share.",
            "Only one of {n} equal parts is left.",
        ],
    },
    "ko": {
        "add": ["{name|은/는} {n}개를 더 샀다.", "친구가 {n}개를 더 주었다.", "그 다음 {n}개를 더 찾았다."],
        "sub": ["{name|은/는} {n}개를 나누어 주었다.", "그 다음 {n}개를 잃어버렸다.", "그중 {n}개를 팔았다."],
        "mul": ["그러자 개수가 {n}배가 되었다.", "{name}의 것은 이제 {n}배로 늘었다."],
        "div": ["{n}명이 똑같이 나누고 한 몫만 가졌다.", "{n}등분한 것 중 하나만 남았다."],
    },
}
CLOSINGS = {
    "en": [
        "How many {thing} does {name} have now?",
        "How many {thing} are there now?",
        "How many {thing} are left?",
    ],
    "ko": [
        "{name|은/는} 이제 {thing|을/를} 몇 개 가지고 있을까?",
        "{thing|은/는} 모두 몇 개일까?",
        "지금 {thing|은/는} 몇 개일까?",
    ],
}


def fill(template: str, **values: object) -> str:
    """Fill `{name}`, and `{name|은/는}` with the Korean particle that the word's last sound calls for."""

    def one(match: re.Match[str]) -> str:
        word, particles = str(values[match[1]]), match[2]
        return word + (particle(word, particles) if particles else "")

    return re.sub(r"\{(\w+)(?:\|([^}]+))?\}", one, template)


def particle(word: str, pair: str) -> str:
    """The particle of `pair` (after a consonant / after a vowel) that follows `word`.

    Digits are read in Korean. 으로/로 takes 로 after the consonant ㄹ too.
    """
    after_consonant, after_vowel = pair.split("/")
    last = "영일이삼사오육칠팔구"[int(word[-1])] if word[-1].isdigit() else word[-1]
    final = (ord(last) - 0xAC00) % 28
    if final == 0 or (final == 8 and after_vowel == "로"):
        return after_vowel
    return after_consonant


def _question(problem: Problem) -> str:
    rng = random.Random(problem.wording)
    lang = problem.language
    name, thing = rng.choice(NAMES[lang]), rng.choice(THINGS[lang])
    parts = [fill(rng.choice(OPENINGS[lang]), name=name, thing=thing, n=problem.start)]
    parts += [fill(rng.choice(EVENTS[lang][op]), name=name, n=n) for op, n in problem.steps]
    parts.append(fill(rng.choice(CLOSINGS[lang]), name=name, thing=thing))
    return " ".join(parts)


def distractors(problem: Problem, rng: random.Random, count: int = 3) -> list[int]:
    """Wrong answers that a slip would give: off by one or ten, a forgotten step, a sign swapped."""
    answer = problem.answer
    near = [answer + d for d in (-10, -2, -1, 1, 2, 10)]
    slips = list(problem.values[:-1])
    op, n = problem.steps[-1]
    before = problem.values[-2]
    slips.append({"add": before - n, "sub": before + n, "mul": before + n, "div": before - n}[op])
    pool = sorted({v for v in (*near, *slips) if 0 < v != answer})
    return rng.sample(pool, count)
