"""What became of each item, and settings that cannot work."""

from __future__ import annotations

import json
import re

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.paths import DATA
from exaone_nb.score.outcomes import (
    UNUSABLE,
    EndedText,
    count_outcomes,
    flags_of,
    mostly_unusable,
    unusable_words,
    warning_of,
)
from exaone_nb.score.questions import questions_for
from exaone_nb.score.settings import Settings


def sample(text: str, reason: str = "stop", extracted: str = "7") -> dict[str, object]:
    return {"resps": [[EndedText.of(text, reason)]], "filtered_resps": [extracted]}


def test_bad_answers_are_told_apart_from_wrong_ones() -> None:
    samples = [
        sample("#### 7"),
        sample("#### 8"),
        sample("I do not know", extracted="[invalid]"),
        sample("12 + 12 + 12 + 12", "length"),
        sample("12 + 12", "length", "[invalid]"),
        sample("the end of a prompt was asked", "prompt"),
        sample("  \n", extracted="[invalid]"),
        sample("", "length", "[invalid]"),
        sample("cut but right", "length"),
        {"resps": [[(-1.5, False)], [(-0.5, True)]], "filtered_resps": [(-1.5, False), (-0.5, True)]},
    ]
    counts = count_outcomes(map(flags_of, samples), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    # Cut and unreadable, empty and cut: both hold. Of an empty answer nothing could be read in any case.
    assert counts == {
        "correct": 2,
        "wrong": 2,
        "unusable": 6,
        "unparsable": 2,
        "truncated": 3,
        "prompt_cut": 1,
        "empty": 2,
    }
    assert counts["correct"] + counts["wrong"] + counts["unusable"] == len(samples)


def test_a_file_says_why_an_answer_ended() -> None:
    """JSON keeps no class of text, so our samples files have the reason beside it."""
    logged = {"resps": [[""]], "filtered_resps": ["[invalid]"], "finish_reason": "length"}
    assert flags_of(logged) == ("truncated", "empty")
    assert flags_of(logged | {"finish_reason": ""}) == ("empty",)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (sample("", "length", "[invalid]"), "reasoning parser"),
        (sample("no number", "stop", "[invalid]"), "[invalid]"),
    ],
)
def test_no_usable_answer_at_all_is_a_warning(bad: dict[str, object], told: str) -> None:
    def warning(samples: list[dict[str, object]], values: list[int]) -> str:
        return warning_of(count_outcomes(map(flags_of, samples), values), "samples_toy.jsonl")

    assert told in warning([bad] * 8, [0] * 8) and "All 8" in warning([bad] * 8, [0] * 8).replace(
        "In all", "All"
    )
    assert "None of the 2 answers" in warning([bad, sample("12", "length")], [0, 0])
    assert warning([bad] * 7 + [sample("#### 8")], [0] * 8) == ""
    assert warning([bad] * 7 + [sample("#### 7")], [0] * 7 + [1]) == ""


@pytest.mark.parametrize(
    ("kinds", "n", "cut", "kind"),
    [
        ({"truncated": 6, "unusable": 6}, 10, 6, "truncated"),
        ({"truncated": 5, "unusable": 5}, 10, 5, ""),
        ({"truncated": 1, "unusable": 1}, 10, 7, "truncated"),  # six of them right by luck
        ({"unparsable": 5, "truncated": 3, "unusable": 6}, 10, 3, "unparsable"),
        ({"empty": 10, "unparsable": 2, "unusable": 10}, 10, 0, "empty"),
        ({"prompt_cut": 8, "unusable": 8}, 10, 0, "prompt_cut"),
        ({"unusable": 0}, 10, 0, ""),
        ({}, 0, 0, ""),
    ],
)
def test_most_answers_of_a_kind_are_seen_and_half_are_not(kinds, n, cut, kind) -> None:
    assert mostly_unusable(kinds, n, cut) == kind


def test_what_to_change_is_said_for_each_kind() -> None:
    said = {kind: unusable_words(kind, "base on gsm8k") for kind in UNUSABLE}
    assert all("base on gsm8k" in words for words in said.values())
    assert (
        "MAX_MODEL_LEN" in said["truncated"]
        and "template" in said["empty"]
        and "--flips" in said["unparsable"]
    )


def test_tasks_follow_from_the_model_unless_they_are_named(monkeypatch) -> None:
    from exaone_nb import materials
    from exaone_nb.errors import WorkbookError
    from exaone_nb.score import lm_eval_adapter

    monkeypatch.setattr(materials, "unreachable", lambda: "")
    monkeypatch.setattr(lm_eval_adapter, "find_tasks", lambda names: None)
    monkeypatch.setattr(lm_eval_adapter, "load_tasks", lambda manager, names: dict.fromkeys(names))
    real = "LGAI-EXAONE/EXAONE-4.0-1.2B"
    found = questions_for(real)
    settings = Settings().with_preset(found.preset)
    # The lecture's command: 512 items, five examples in one turn, answers of up to 2,048 tokens.
    asked = (settings.limit, settings.num_fewshot, settings.fewshot_as_multiturn, settings.max_gen_toks)
    assert found.tasks == ("gsm8k", "hrm8k_gsm8k") and asked == (512, 5, False, 2048)
    named = questions_for(real, ["nano_gsm"])
    assert (named.tasks, named.preset, named.why) == (
        ("nano_gsm",),
        "",
        "",
    ) and "96 tokens" in named.warnings[0]
    assert questions_for(real, ["gsm8k"], "lecture-gsm8k").preset == "lecture-gsm8k"
    nano = questions_for("nano")
    assert nano.tasks == ("nano_gsm", "nano_gsm_ko", "nano_mc") and nano.preset == "" and nano.warnings == ()
    with pytest.raises(UsageError, match="No preset 'mine'"):
        Settings().with_preset(questions_for(real, preset="mine").preset)

    def moved(manager, names):
        raise WorkbookError("the data of gsm8k could not be loaded")

    monkeypatch.setattr(lm_eval_adapter, "load_tasks", moved)
    found = questions_for(real)
    assert found.tasks == ("everyday_mc",) and found.preset == ""
    assert found.why == "the data of gsm8k could not be loaded" and found.warnings


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"backend": "gguf"}, "No backend 'gguf'"),
        ({"limit": 0}, "limit is 0"),
        ({"backend": "server-chat"}, "needs the server's address"),
        ({"backend": "server", "base_url": "http://127.0.0.1:1/v1"}, "needs the model's tokenizer"),
        (
            {"backend": "server-chat", "base_url": "http://x/v1", "chat_template": False},
            "its own chat template",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Settings(**fields)


def test_thinking_always_knows_where_the_thought_ends() -> None:
    assert Settings(thinking=True).think_end_token == "</think>"
    assert Settings().think_end_token is None


def test_the_fingerprint_follows_what_decides_the_answers() -> None:
    plain = Settings()
    assert plain.fingerprint() == Settings(concurrency=3, batch_size=2).fingerprint()
    assert plain.fingerprint() == Settings(gpu_memory_utilization=0.5).fingerprint()
    for other in (
        Settings(limit=5),
        Settings(thinking=True),
        Settings(gen_kwargs={"temperature": 1}),
        Settings(seed=2),
    ):
        assert other.fingerprint() != plain.fingerprint()


def test_the_lectures_preset() -> None:
    lecture = Settings().with_preset("lecture-gsm8k")
    assert (lecture.limit, lecture.num_fewshot, lecture.max_gen_toks, lecture.thinking) == (
        512,
        5,
        2048,
        False,
    )
    with pytest.raises(UsageError, match="No preset"):
        Settings().with_preset("gsm9k")


def test_benchmarks_add_up_to_what_their_sources_count() -> None:
    """A request per choice, a request per written answer; sums in a source give the items."""
    from exaone_nb.score.recorded import benchmark_table

    rows = {row["task"]: row for row in benchmark_table().rows}
    assert set(rows) == {"gsm8k", "hrm8k", "kmmlu", "kobest", "haerae"}
    for row in rows.values():
        parts = re.search(r"\(([\d,]+(?: \+ [\d,]+)+)", row["source"])
        if parts:
            assert sum(int(n.replace(",", "")) for n in parts[1].split(" + ")) == row["items"], row["task"]
        # KoBEST: 500 HellaSwag items have two choices more than the others.
        extra = 2 * 500 if row["task"] == "kobest" else 0
        assert row["requests"] == row["items"] * (row["choices"] or 1) + extra, row["task"]
    # Roofline by hand, for 60 to 150 tokens a request and 100 to 256 written tokens: nothing generated is not cheap.
    assert 157 / 60 < rows["kmmlu"]["minutes"] < 394 / 60 and 64 / 60 < rows["gsm8k"]["minutes"] < 126 / 60


def test_nemo_evaluator_tests_one_side() -> None:
    """Its p is scipy's one-sided binomial; where nothing differs it passes whatever the number of items."""
    from scipy.stats import binomtest

    from exaone_nb.score.recorded import nemo_table

    rows = {(row["lost"], row["won"], row["n"]): row for row in nemo_table().rows}
    for (lost, won, _), row in rows.items():
        if lost + won:
            assert row["p"] == pytest.approx(
                binomtest(lost, lost + won, alternative="greater").pvalue, abs=1e-4
            )
    pairs = {key: (row["verdict"], row["theirs"]) for key, row in rows.items()}
    assert pairs[20, 50, 1000] == ("better", "INCONCLUSIVE") and pairs[0, 0, 25] == ("undecided", "PASS")
    assert pairs[50, 20, 1000] == ("worse", "BLOCK") and pairs[9, 2, 512] == ("borderline", "BLOCK")


def test_four_ways_are_held_against_the_first_item_by_item() -> None:
    from exaone_nb.score.recorded import four_ways_table

    def items(*pairs: tuple[str, bool]) -> list[dict[str, object]]:
        return [{"answer": answer, "right": right} for answer, right in pairs]

    ways = {
        "first": items(("#### 7", True), ("#### 8", False), ("9", True)),
        "spaces": items(("#### 7\n", True), (" #### 8", False), ("9", True)),
        "others": items(("it is 7", True), ("#### 8", True), ("10", False)),
    }
    rows = four_ways_table({"ways": ways}).rows
    assert [(row["right"], row["same"], row["otherwise"], row["grade"]) for row in rows] == [
        (2, 3, 0, 0),
        (2, 3, 0, 0),
        (2, 1, 1, 2),
    ]


def test_the_recorded_four_ways_agree_with_the_task_file() -> None:
    """Grades by hand: the last number of the answer against the one after #### in the task's own file."""
    from exaone_nb.show import measured

    document = measured.record("four_ways_nano")
    path = DATA / "tasks" / "nano_gsm.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert document["questions"] == [line["question"] for line in lines[: len(document["questions"])]]
    assert len(document["ways"]) == 4 and document["date"] in measured.told(document)
    for rows in document["ways"].values():
        for line, row in zip(lines, rows, strict=False):
            numbers = re.findall(r"-?\d+", row["answer"])
            assert row["right"] == (numbers[-1:] == [line["answer"].split("####")[1].strip()])


def test_graders_are_held_against_lm_eval_item_by_item() -> None:
    from exaone_nb.score.recorded import graders_table

    ways = {"ways": {"first": [{"right": True}, {"right": False}, {"right": True}], "second": []}}
    items = [{"read": "7", "right": True}, {"read": "8", "right": True}, {"read": "", "right": False}]
    asked, why = {"benchmark": "A", "items": items}, {"benchmark": "B", "not_run": "a second model judges"}
    first, second = graders_table({"rows": [asked, why]}, ways).cells()
    assert first == ["A", "", "2", "3", "1", ""] and second == ["B", "", "", "", "", "a second model judges"]


def test_what_simple_evals_read_is_what_stands_in_the_answers() -> None:
    """By hand, from the recorded answers and the task's own file: they write #### and never "Answer"."""
    from exaone_nb.score.recorded import graders_table
    from exaone_nb.show import measured

    document, ways = measured.record("simple_evals_nano"), measured.record("four_ways_nano")
    path = DATA / "tasks" / "nano_gsm.jsonl"
    truths = [json.loads(line)["answer"].split("#### ")[1] for line in path.read_text().splitlines()]
    rows = {row["benchmark"]: row.get("items") for row in document["rows"]}
    answers = [item["answer"] for item in ways["ways"]["lm-eval in process"]]
    assert len(answers) == 64 and all("nswer" not in text for text in answers)
    assert rows["MGSM"] == [{"read": "", "right": False}] * 64
    for answer, truth, mark, whole in zip(
        answers, truths, rows["MGSM, our mark"], rows["DROP"], strict=False
    ):
        assert mark == {"read": answer.split("#### ")[1], "right": answer.split("#### ")[1] == truth}
        assert whole == {"read": answer, "right": truth in answer}
    counts = {
        row["benchmark"]: (row.get("right"), row.get("same")) for row in graders_table(document, ways).rows
    }
    assert counts["MGSM"] == (0, 3) and counts["MGSM, our mark"] == counts["DROP"] == (61, 64)
    assert [name for name, items in rows.items() if items is None] == [
        "MMLU, GPQA",
        "MATH",
        "HumanEval",
        "SimpleQA, BrowseComp, HealthBench",
    ]
