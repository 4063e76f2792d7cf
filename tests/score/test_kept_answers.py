"""Answers kept while an evaluation runs: read back, cut lines dropped, the same prompt of two items told apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exaone_nb.score import kept_answers
from exaone_nb.score.kept_answers import KeptAnswers
from exaone_nb.score.outcomes import EndedText


@dataclass
class Request:
    """As much of lm-eval's Instance as is looked at."""

    args: tuple[Any, ...]
    doc_id: int = 0
    idx: int = 0
    task_name: str = "toy"


def requests(count: int, **options: Any) -> list[Request]:
    return [Request((f"question {i}", {"until": ["\n"], **options}), i) for i in range(count)]


class Engine:
    """Answers with the prompt, and stops for good after `most` answers."""

    def __init__(self, most: int = 10**9) -> None:
        self.most, self.asked = most, []

    def __call__(self, part: list[Request]) -> list[EndedText]:
        if len(self.asked) + len(part) > self.most:
            raise KeyboardInterrupt
        self.asked += [request.args[0] for request in part]
        return [EndedText.of(f"to {r.args[0]}", "length" if r.doc_id % 2 else "stop") for r in part]


def test_an_interrupted_evaluation_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    path, asked = tmp_path / "recipe" / "answers.jsonl", requests(100)
    engine = Engine(most=96)
    with pytest.raises(KeyboardInterrupt):
        KeptAnswers(path).answered("generate_until", asked, engine)
    assert len(engine.asked) == 96, "32, then twice as many, then what is left"
    # The kill came while a line was written.
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:50]) + lines[50][:-9])
    kept, again = KeptAnswers(path), Engine()
    assert len(kept) == 50
    answers = kept.answered("generate_until", asked, again)
    assert again.asked == [f"question {i}" for i in range(50, 100)] and kept.used == 50
    assert answers == [f"to question {i}" for i in range(100)]
    assert [answer.finish_reason for answer in answers] == ["stop", "length"] * 50
    assert all(json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines())
    kept.remove()
    assert not path.exists() and not len(kept)


def test_another_question_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    KeptAnswers(path).answered("generate_until", requests(4), Engine())
    for other in (
        requests(4, temperature=1),
        [Request(("question 0", {"until": ["\n"]}), 0, task_name="new")],
    ):
        engine = Engine()
        KeptAnswers(path).answered("generate_until", other, engine)
        assert len(engine.asked) == len(other)


def test_one_prompt_asked_several_times_has_several_answers(tmp_path: Path) -> None:
    one, count = requests(1)[0], iter(range(10))
    draw = lambda part: [EndedText.of(str(next(count)), "stop") for _ in part]  # noqa: E731
    path = tmp_path / "answers.jsonl"
    assert KeptAnswers(path).answered("generate_until", [one] * 3, draw) == ["0", "1", "2"]
    assert KeptAnswers(path).answered("generate_until", [one] * 4, draw) == ["0", "1", "2", "3"]


def test_log_likelihoods_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    given = [(-1.25, True), (float("-inf"), False), (-3.0, False)]
    asked = requests(3)
    KeptAnswers(path).answered("loglikelihood", asked, lambda part: given)
    KeptAnswers(path).answered("loglikelihood_rolling", asked, lambda part: [-7.5, -8.0, -9.0])
    never = Engine(most=0)
    assert KeptAnswers(path).answered("loglikelihood", asked, never) == given
    assert KeptAnswers(path).answered("loglikelihood_rolling", asked, never) == [-7.5, -8.0, -9.0]


def test_portions_stop_growing_where_they_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "PORTION_SECONDS", 0.0)
    sizes: list[int] = []

    def ask(part: list[Request]) -> list[EndedText]:
        sizes.append(len(part))
        return [EndedText.of("7", "stop") for _ in part]

    KeptAnswers(tmp_path / "answers.jsonl").answered("generate_until", requests(100), ask)
    assert sizes == [32, 32, 32, 4]
