"""Writing what nano is measured with: lm-eval tasks, calibration and held-out conversations, all seeded.

python -m exaone_nb.nano data
"""

import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

from exaone_nb.files import write_text
from exaone_nb.nano import problems
from exaone_nb.nano.conversations import DIRECT, assistant, conversations
from exaone_nb.nano.problems import Language, Problem, Split
from exaone_nb.paths import DATA

ITEMS = 600
# (steps, whether the numbers are larger than most that nano learned on). The last two keep the tasks from being
# saturated: nano gets most of them, not all.
GRADES = ((1, False), (2, False), (3, False), (1, True), (2, True))


def distinct_problems(
    split: Split, language: Language | None, seed: str, grades: tuple[tuple[int, bool], ...] = GRADES
) -> list[Problem]:
    """ITEMS problems of `split` with different arithmetic, the grades in equal parts."""
    rng, found = random.Random(seed), dict[str, Problem]()
    while len(found) < ITEMS:
        problem = problems.draw(rng, split, language, *grades[len(found) % len(grades)])
        found.setdefault(problem.key, problem)
    return list(found.values())


def generative_rows(language: Language) -> list[dict[str, Any]]:
    """Items of nano_gsm (en) or nano_gsm_ko (ko): id, question, worked answer, grade (1 to 5), arithmetic, template."""
    return [
        {
            "id": f"nano_gsm_{language}-{i:04d}",
            "question": p.question(),
            "answer": p.short_answer(),
            "grade": i % len(GRADES) + 1,
            "arithmetic": p.key,
            "template": p.template(),
        }
        for i, p in enumerate(distinct_problems("test", language, f"gsm-{language}"))
    ]


def choice_rows() -> list[dict[str, Any]]:
    """Items of nano_mc: a one-step problem and four numbers, one of them right."""
    rng, rows = random.Random("mc"), []
    for i, p in enumerate(distinct_problems("test", None, "mc", GRADES[:1])):
        choices = [p.answer, *problems.distractors(p, rng)]
        rng.shuffle(choices)
        rows.append(
            {
                "id": f"nano_mc-{i:04d}",
                "question": f"{p.question()} {DIRECT[p.language]}",
                "choices": [str(c) for c in choices],
                "answer": choices.index(p.answer),
                "arithmetic": p.key,
                "template": p.template(),
            }
        )
    return rows


def conversation_rows(split: Split, count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations as {"messages": [...]} with the reply as the last message; tool use is left out, so that
    any chat template can render them."""
    rows = []
    for item in islice((item for item in conversations(split, seed) if not item.tools), count):
        reply = item.reply if item.thought is None else f"<think>\n{item.target()}"
        rows.append({"messages": [*item.messages, assistant(reply)], "skill": item.skill})
    return rows


def write_all(data: Path = DATA) -> list[Path]:
    """Write every file and return the paths."""
    files = {
        "tasks/nano_gsm": generative_rows("en"),
        "tasks/nano_gsm_ko": generative_rows("ko"),
        "tasks/nano_mc": choice_rows(),
        "calibration/nano_calibration": conversation_rows("calibration", 512, seed=1),
        "calibration/nano_heldout": conversation_rows("validation", 256, seed=2),
    }
    return [
        write_text(
            data / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        )
        for name, rows in files.items()
    ]
