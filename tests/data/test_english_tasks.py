"""The tasks for real models that speak English: the items are well made, and the text is our own."""

from __future__ import annotations

import json
from collections import Counter

import yaml

from exaone_nb.paths import DATA

TASKS = DATA / "tasks"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (TASKS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_item_has_four_different_ends_and_one_is_right() -> None:
    items = rows("everyday_mc")
    assert len({item["id"] for item in items}) == len({item["question"] for item in items}) == 80
    for item in items:
        assert len(set(item["choices"])) == 4 and 0 <= item["answer"] < 4
        assert not any(end.lower() in item["question"].lower().split() for end in item["choices"])


def test_no_constant_answer_comes_near_the_models_score() -> None:
    """SmolLM2-135M has 70 of 80 right; always the first, the longest or the shortest end has at most 40 %."""
    items = rows("everyday_mc")
    share = Counter(item["answer"] for item in items).most_common(1)[0][1] / len(items)
    assert share < 0.35
    for choose in (max, min):
        right = sum(choose(item["choices"], key=len) == item["choices"][item["answer"]] for item in items)
        assert right / len(items) < 0.4


def test_prose_is_long_enough_and_said_to_be() -> None:
    texts = [row["text"] for row in rows("prose_en")]
    assert len(set(texts)) == 24 and min(len(text.split()) for text in texts) > 70
    assert round(sum(len(text.split()) for text in texts), -3) == 2000


def test_the_tasks_are_scored_without_a_hub() -> None:
    for name in ("everyday_mc", "prose_en"):
        text = (TASKS / f"{name}.yaml").read_text(encoding="utf-8").replace("!function", "")
        task = yaml.safe_load(text)
        assert task["task"] == name and task["dataset_kwargs"] == {"file": f"{name}.jsonl"}
        assert task["custom_dataset"] == "utils.load"
