"""Writing what nano is measured with: lm-eval tasks, calibration and held-out conversations, all seeded.

python -m exaone_nb.nano data
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from exaone_nb.files import staged_file
from exaone_nb.nano import problems
from exaone_nb.nano.conversations import DIRECT, Conversation, conversations
from exaone_nb.nano.problems import Language, Problem, Split
from exaone_nb.paths import DATA

ITEMS = 600
CALIBRATION_ITEMS = 512
HELD_OUT_ITEMS = 256


@dataclass(frozen=True)
class Grade:
    """How hard an item is: the number of steps, and whether its numbers are larger than most that nano learned on."""

    steps: int
    wide: bool = False


# The last two keep the tasks from being saturated: nano gets most of them, not all.
GRADES = (Grade(1), Grade(2), Grade(3), Grade(1, wide=True), Grade(2, wide=True))


def distinct_problems(
    split: Split, language: Language | None, count: int, seed: str, grades: tuple[Grade, ...] = GRADES
) -> list[Problem]:
    """`count` problems of `split` with different arithmetic, the grades in equal parts."""
    rng, seen, found = random.Random(seed), set(), []
    while len(found) < count:
        grade = grades[len(found) % len(grades)]
        problem = problems.draw(rng, split, language, grade.steps, grade.wide)
        if problem.key not in seen:
            seen.add(problem.key)
            found.append(problem)
    return found


def generative_rows(language: Language) -> list[dict[str, Any]]:
    """Items of nano_gsm (en) or nano_gsm_ko (ko): id, question, worked answer, grade (1 to 5), arithmetic."""
    return [
        {
            "id": f"nano_gsm_{language}-{i:04d}",
            "question": p.question(),
            "answer": p.short_answer(),
            "grade": i % len(GRADES) + 1,
            "arithmetic": p.key,
        }
        for i, p in enumerate(distinct_problems("test", language, ITEMS, f"gsm-{language}"))
    ]


def choice_rows() -> list[dict[str, Any]]:
    """Items of nano_mc: a one-step problem and four numbers, one of them right."""
    rng, rows = random.Random("mc"), []
    for i, p in enumerate(distinct_problems("test", None, ITEMS, "mc", (Grade(1),))):
        choices = [p.answer, *problems.distractors(p, rng)]
        rng.shuffle(choices)
        rows.append(
            {
                "id": f"nano_mc-{i:04d}",
                "question": f"{p.question()} {DIRECT[p.language]}",
                "choices": [str(c) for c in choices],
                "answer": choices.index(p.answer),
                "arithmetic": p.key,
            }
        )
    return rows


def conversation_rows(split: Split, count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations as {"messages": [...]} with the reply as the last message; tool use is left out, so that
    any chat template can render them."""

    def plain(item: Conversation) -> bool:
        return not item.tools

    rows = []
    for item in islice(filter(plain, conversations(split, seed)), count):
        reply = item.reply if item.thought is None else f"<think>\n{item.target()}"
        rows.append(
            {"messages": [*item.messages, {"role": "assistant", "content": reply}], "skill": item.skill}
        )
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    with staged_file(path) as staging:
        staging.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )


def write_all(data: Path = DATA) -> list[Path]:
    """Write every file and return the paths."""
    files = {
        data / "tasks" / "nano_gsm.jsonl": generative_rows("en"),
        data / "tasks" / "nano_gsm_ko.jsonl": generative_rows("ko"),
        data / "tasks" / "nano_mc.jsonl": choice_rows(),
        data / "calibration" / "nano_calibration.jsonl": conversation_rows(
            "calibration", CALIBRATION_ITEMS, 1
        ),
        data / "calibration" / "nano_heldout.jsonl": conversation_rows("validation", HELD_OUT_ITEMS, 2),
    }
    for path, rows in files.items():
        write_jsonl(path, rows)
    return list(files)
