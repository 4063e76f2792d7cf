"""Nano's problems: right answers, splits that never meet, Korean particles."""

import json
import random
import re
from itertools import islice

import pytest

from exaone_nb.nano import problems, publish
from exaone_nb.nano.conversations import conversations
from exaone_nb.paths import DATA

TASK_FILES = ("nano_gsm.jsonl", "nano_gsm_ko.jsonl", "nano_mc.jsonl")


def read(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def arithmetic_of(text: str) -> set[str]:
    """The keys of the problems whose worked answer stands in `text`: lines `a + b = c`, each going on from the last."""
    keys, key, value = set(), None, None
    for a, sign, b, c in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", text):
        key = f"{key}{sign}{b}" if key is not None and value == a else f"{a}{sign}{b}"
        value = c
        keys.add(key)
    return {key} if key else keys


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("level", problems.LEVELS)
def test_answers_agree_with_python(language, level):
    rng = random.Random(f"{language}{level}")
    for _ in range(200):
        p = problems.draw(rng, "train", language, level)
        value = p.start
        for op, n in p.steps:
            value = eval(f"{value} {problems.SIGNS[op]} {n}")  # noqa: S307 - our own digits
            assert value == int(value) > 0
        assert p.answer == value <= problems.LARGEST
        assert p.short_answer().endswith(f"#### {int(value)}")
        assert p.level == level == len(p.equations)


def test_numbers_of_the_question_are_those_of_the_problem():
    rng = random.Random(3)
    for _ in range(300):
        p = problems.draw(rng, "train")
        assert [int(n) for n in re.findall(r"\d+", p.question())] == [p.start, *(n for _, n in p.steps)]


def test_task_items_are_all_of_the_test_split_and_distinct():
    for name in TASK_FILES:
        rows = read(f"tasks/{name}")
        assert len(rows) >= 512
        keys = [row["arithmetic"] for row in rows]
        assert len(set(keys)) == len(keys)
        assert {problems.split_of(key) for key in keys} == {"test"}
        assert len({row["id"] for row in rows}) == len(rows)


def test_training_calibration_and_held_out_never_meet_the_tasks():
    tasks = {row["arithmetic"] for name in TASK_FILES for row in read(f"tasks/{name}")}
    for item in islice(conversations("train", 12345), 4000):
        if item.skill in ("word_problem", "reasoned_problem", "second_turn"):
            turns = [m["content"] for m in item.messages if m["role"] == "assistant"]
            for key in arithmetic_of("\n".join([*turns, item.target()])):
                assert key not in tasks
                assert problems.split_of(key) == "train"
    for file, split in (("nano_calibration", "calibration"), ("nano_heldout", "validation")):
        seen = 0
        for row in read(f"calibration/{file}.jsonl"):
            if row["skill"] in ("word_problem", "reasoned_problem", "second_turn"):
                text = "\n".join(m["content"] for m in row["messages"] if m["role"] == "assistant")
                for key in arithmetic_of(text):
                    assert problems.split_of(key) == split and key not in tasks
                    seen += 1
        assert seen > 100


def test_stored_files_are_what_the_code_writes():
    assert read("tasks/nano_gsm.jsonl") == publish.generative_rows("en")
    assert read("tasks/nano_gsm_ko.jsonl") == publish.generative_rows("ko")
    assert read("tasks/nano_mc.jsonl") == publish.choice_rows()


def test_choices_hold_the_answer_once():
    for row in read("tasks/nano_mc.jsonl"):
        assert len(row["choices"]) == len(set(row["choices"])) == 4
        start, rest = re.match(r"(\d+)(.*)", row["arithmetic"]).groups()
        value = int(start)
        for sign, n in re.findall(r"([-+*/])(\d+)", rest):
            value = int(eval(f"{value}{sign}{n}"))  # noqa: S307 - our own digits
        assert row["choices"][row["answer"]] == str(value)


@pytest.mark.parametrize(
    ("word", "pair", "wanted"),
    [("민아", "은/는", "는"), ("지훈", "은/는", "은"), ("책", "을/를", "을"), ("사과", "이/가", "가"),
     ("7", "으로/로", "로"), ("3", "으로/로", "으로"), ("2", "을/를", "를"), ("10", "을/를", "을")],
)  # fmt: skip
def test_particles(word, pair, wanted):
    assert problems.particle(word, pair) == wanted


def test_same_seed_same_conversations():
    first, second = ([c.target() for c in islice(conversations("train", 5), 50)] for _ in range(2))
    assert first == second
    assert first != [c.target() for c in islice(conversations("train", 6), 50)]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_template_is_what_problems_of_one_wording_share(language):
    """Every fixed part of it stands in the question, in order; and the items of a task share templates."""
    rng = random.Random(language)
    for _ in range(100):
        p = problems.draw(rng, "train", language)
        fixed = [re.escape(part) for part in re.split(r"\{[^}]*\}", p.template())]
        assert re.fullmatch(".*".join(fixed), p.question()), p.template()
        assert len(re.findall(r"\{n[}|]", p.template())) == len(p.steps) + 1
    for name in TASK_FILES:
        rows = read(f"tasks/{name}")
        assert 100 < len({row["template"] for row in rows}) < 400
