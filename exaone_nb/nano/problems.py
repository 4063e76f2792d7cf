"""Arithmetic word problems in English and Korean, with worked answers in gsm8k's format (`#### 42`).

A problem is a starting number and one to three steps (add, subtract, multiply, divide). The wording is chosen
apart from the numbers. Which split a problem belongs to follows from its numbers and steps alone, so the same
arithmetic never stands in two splits, not even once in English and once in Korean.
"""

import hashlib
import operator
import random
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest
from typing import Literal

from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

Language = Literal["en", "ko"]
Split = Literal["train", "validation", "test", "calibration"]

LARGEST = 999
LEVELS = (1, 2, 3)  # steps in a problem
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
OPERATIONS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.floordiv}
# Language -> names, things, and the sentences of a problem and of a thought.
WORDS = read_yaml(DATA / "nano_text" / "problems.yaml")


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
        return list(
            accumulate(
                self.steps, lambda value, step: OPERATIONS[step[0]](value, step[1]), initial=self.start
            )
        )

    @property
    def answer(self) -> int:
        return self.values[-1]

    @property
    def equations(self) -> list[str]:
        turns = zip(pairwise(self.values), self.steps, strict=True)
        return [f"{before} {SIGNS[op]} {n} = {after}" for (before, after), (op, n) in turns]

    def question(self) -> str:
        who, sentences = self._wording()
        numbers = [self.start, *(n for _, n in self.steps)]
        told = [fill(sentence, n=n, **who) for sentence, n in zip_longest(sentences, numbers)]
        return " ".join(told)

    def template(self) -> str:
        """The sentences with places for numbers, name and thing: what problems of one wording share."""
        return " ".join(self._wording()[1])

    def _wording(self) -> tuple[dict[str, str], list[str]]:
        rng, words = random.Random(self.wording), WORDS[self.language]
        who = {"name": rng.choice(words["names"]), "thing": rng.choice(words["things"])}
        opening = rng.choice(words["openings"])
        events = [rng.choice(words["events"][op]) for op, _ in self.steps]
        return who, [opening, *events, rng.choice(words["closings"])]

    def short_answer(self) -> str:
        """The non-reasoning answer: one equation a line, then `#### N`."""
        return "\n".join([*self.equations, f"#### {self.answer}"])

    def thought(self) -> str:
        """The reasoning that stands between <think> and </think>: the number at hand after every step."""
        words = WORDS[self.language]["thought"]
        lines = [fill(words["start"], n=self.start)]
        for (op, n), equation in zip(self.steps, self.equations, strict=True):
            lines.append(f"{fill(words[op], n=n)} {equation}.")
        return "\n".join([*lines, fill(words["end"], n=self.answer)])


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
        value = start = _operand(rng, wide)
        steps: list[tuple[str, int]] = []
        while len(steps) < steps_wanted and (step := _draw_step(rng, value, wide)):
            steps.append(step)
            value = OPERATIONS[step[0]](value, step[1])
        problem = Problem(start, tuple(steps), language or rng.choice(("en", "ko")), rng.randrange(1 << 30))
        if len(steps) == steps_wanted and split_of(problem.key) == split:
            return problem


def drill(rng: random.Random, split: Split, count: int) -> list[str]:
    """`count` bare equations like `12 + 7 = 19`, the arithmetic that the word problems of `split` are made of."""
    lines: list[str] = []
    while len(lines) < count:
        start = rng.randint(2, LARGEST) if rng.random() < 0.3 else _operand(rng)
        step = _draw_step(rng, start)
        problem = Problem(start, (step,) if step else (), "en", 0)
        if step and split_of(problem.key) == split:
            lines += problem.equations
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


def distractors(problem: Problem, rng: random.Random, count: int = 3) -> list[int]:
    """Wrong answers that a slip would give: off by one or ten, a forgotten step, a sign swapped."""
    *before, answer = problem.values
    near = [answer + d for d in (-10, -2, -1, 1, 2, 10)]
    op, n = problem.steps[-1]
    swapped = before[-1] + n if op in ("sub", "mul") else before[-1] - n
    return rng.sample(sorted({v for v in (*near, *before, swapped) if 0 < v != answer}), count)
