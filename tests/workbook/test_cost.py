"""What a chapter is said to cost, by hand; what a budget cuts; that nano's studies stay whole."""

import json
from dataclasses import replace

import pytest
from notebook_maker import PARAMETERS, write_notebook

from exaone_nb.cli import main
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import REFERENCE
from exaone_nb.results import RunFolder
from exaone_nb.workbook import cost, cost_words
from exaone_nb.workbook.chapters import discover, load
from exaone_nb.workbook.formulas import evaluate

NAMES = {"a": 3, "b": 4.5, "words": ["x", "y"], "on": True}
# Reading and multiplying at 10^9 a second, a forward pass at 10^10.
SPEED = replace(REFERENCE, flops_per_second=1e9, bytes_per_second=1e9, forward_flops=1e10, forward_bytes=1e9)
SIZES = dict.fromkeys(cost.SIZES, 0) | {"active": 10**9}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("2 * a + b", 10.5),
        ("-a ** 2", -9),
        ("a // 2 / b", 1 / 4.5),
        ("max(a, 7) - min(b, 1)", 6),
        ("len(words)", 2),
        ("a if b > 4 else 0", 3),
        ("5 * on", 5),
        ("1 if words and not a < 3 or b < 0 else 2", 1),
    ],
)
def test_a_formula_gives_what_python_gives(formula, value):
    assert evaluate(formula, NAMES) == value


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "c",
        "a.real",
        "open('x')",
        "a +",
        "lambda: 1",
        "words",
        "1 / 0",
        "9.0 ** 9 ** 9",
        "[1][0]",
        "a < b < 9",
    ],
)
def test_a_formula_that_is_none_is_refused(formula):
    with pytest.raises(WorkbookError, match="cannot be computed"):
        evaluate(formula, NAMES)


def test_the_sizes_are_those_that_the_makers_publish():
    # The model card: 1.28B parameters, 1.07B without the embedding, 30 layers, vocabulary of 102,400.
    found = cost.sizes_of("EXAONE-4.0-1.2B")
    assert round(found["parameters"] / 1e9, 2) == 1.28 and round(found["linears"] / 1e9, 2) == 1.07
    assert (found["layers"], found["vocabulary"], found["hidden"], found["widest"]) == (
        30,
        102400,
        2048,
        4096,
    )
    # K-EXAONE's name: 236 billion, 23 of them active.
    large = cost.sizes_of("K-EXAONE-236B-A23B")
    assert 235e9 < large["parameters"] < 238e9 and 22e9 < large["active"] < 24e9
    assert cost.sizes_of("/nowhere") is None


@pytest.fixture
def chapter(tmp_path):
    """One forward pass takes 0.2 s per token of MODEL: N documents of 10 tokens, 2 s each; M rounds of 1 s each."""
    source = (
        PARAMETERS.replace("  # how many [choices: 3 | 5]", "")
        + "M: int = 8\nTEXTS: list[str] = ['a', 'b', 'c']\n"
    )
    path = write_notebook(
        tmp_path / "notebooks", "01_a", [("code", source, "parameters"), ("code", "print(N, M)")],
        minutes=0.1, memory_gb=0.5, timeout_s=100, budget_minutes="0.5", shrink={"N": 2, "M": 0},
        work={"tokens": "10 * N", "flop": "2 * active * tokens", "seconds": "M"}, memory="2 * active",
    )  # fmt: skip
    return load(path)


def test_a_cost_is_the_recorded_part_and_the_work_at_the_measured_speeds(chapter):
    values = {"N": 3, "M": 0}
    found = cost.estimate(chapter, values, SIZES, SPEED)
    # 2 * 10^9 * 30 / 10^10 = 6 s, beside 6 s recorded on a machine that multiplies 238.9 times as fast.
    assert found.work_seconds == 6 and found.seconds == pytest.approx(6 + 6 * 238.9)
    assert (
        found.bytes == 2_500_000_000
        and found.measured
        and found.limit_s == pytest.approx(4 * found.seconds, abs=1)
    )
    assert cost.estimate(chapter, values, SIZES, replace(SPEED, forward_flops=5e9)).work_seconds == 12
    recorded = cost.estimate(chapter, values, SIZES, None)
    assert not recorded.measured and recorded.limit_s == 100  # never below what the notebook itself asks for
    unknown = cost.estimate(chapter, values, None, None)
    assert (unknown.seconds, unknown.bytes, unknown.known) == (6, 500_000_000, False)
    assert "what it adds is not in this" in cost_words.in_words(unknown, {})[1]
    assert [row["seconds"] for row in cost_words.table({"01_a": (unknown, {})}).rows] == [None, None]


def test_a_budget_halves_what_saves_most_and_leaves_what_a_person_set(chapter):
    values = {"N": 40, "M": 8, "TEXTS": ["a", "b", "c"]}
    found, smaller = cost.fit(chapter, values, {}, SIZES, SPEED)
    assert (
        smaller == {"N": 10} and found.smaller == ("N",) and found.work_seconds == 28 <= found.budget_s == 30
    )
    set_by_hand, smaller = cost.fit(chapter, values, {"N": 40}, SIZES, SPEED)
    assert smaller == {"M": 0} and set_by_hand.work_seconds == 80
    said = cost_words.in_words(set_by_hand, {"M": (0, 8)})
    assert "M is 0 instead of 8" in said[1] and "does not fit into 0.5 min" in said[2]
    slow = replace(SPEED, forward_flops=1e8)
    assert cost.fit(chapter, values, {}, SIZES, slow)[1] == {"N": 2, "M": 0}
    slow = replace(SPEED, forward_flops=1e6)
    assert cost.fit(chapter, values, {}, SIZES, slow)[1] == {"N": 2}, "M would save nothing to speak of"
    assert cost.fit(chapter, values, {}, SIZES, replace(SPEED, forward_flops=1e12))[1] == {}
    assert cost.fit(chapter, values, {}, None, SPEED)[1] == {}  # nothing is known, so nothing is cut
    lists = replace(chapter, work={"seconds": "60 * len(TEXTS)"}, shrink={"TEXTS": 1})
    assert cost.fit(lists, values, {}, SIZES, REFERENCE)[1] == {"TEXTS": ["a"]}


def test_an_open_notebook_is_told_and_not_cut(chapter, tmp_path):
    values = {"MODEL": "EXAONE-4.0-1.2B", "N": 40, "M": 0, "TEXTS": []}
    about = {"recipe": "this", "value": 1.0, "unit": "B/s"}
    RunFolder.at(tmp_path).write_result(cost.MACHINE, **about, details=vars(SPEED))
    said = cost_words.before_work(chapter, values, tmp_path)
    # 102 s of work beside 6 s on a machine that multiplies 238.9 times as fast.
    assert said[0].startswith("Predicted: 25.6 min and 3.1 GB") and "set N = 10 in" in said[1]
    assert cost_words.before_work(chapter, values | {"MODEL": "nano"}, tmp_path) == []


def test_more_memory_than_there_is_is_said(chapter):
    found = cost.estimate(chapter, {"N": 3, "M": 0}, SIZES | {"active": 10**13}, SPEED)
    assert "it may be killed" in cost_words.in_words(found, {})[1]
    assert len(cost_words.in_words(replace(found, bytes=10**9), {})) == 1


def test_memory_cuts_too_and_what_cannot_help_is_left(chapter):
    """10^9 parameters take 2 GB, each of the N texts 0.1 GB here and 0.2 GB on the card; M takes none."""
    asked = replace(
        chapter, memory="2 * active + 1e8 * N", card_memory="2 * active + 2e8 * N", budget_minutes=""
    )
    values = {"N": 64, "M": 8}
    assert cost.fit(asked, values, {}, SIZES, SPEED, {"bytes": 5e9})[1] == {"N": 16}
    assert cost.fit(asked, values, {}, SIZES, SPEED, {"card_bytes": 5e9})[1] == {}, "there is no card"
    on_card = SIZES | {"gpu": 1}
    found, smaller = cost.fit(asked, values, {}, on_card, SPEED, {"bytes": 9e9, "card_bytes": 4e9})
    assert smaller == {"N": 8} and found.card_bytes == 3_600_000_000
    # The model alone is too large: N is cut as far as it goes. Where it takes none, time decides alone.
    assert cost.fit(asked, values, {}, SIZES, SPEED, {"bytes": 1e9})[1] == {"N": 2}
    fixed = replace(asked, memory="2 * active", budget_minutes="0.5")
    assert cost.fit(fixed, values, {}, SIZES, SPEED, {"bytes": 1e9})[1] == {"N": 8}
    assert cost.room_on(find_gpu("L4"))["card_bytes"] == pytest.approx(0.8 * find_gpu("L4").memory_bytes)


def test_a_half_that_changes_nothing_is_halved_again(chapter):
    # There are 10 documents; more than those cost nothing, so 40 and 20 are passed on the way to 5.
    few = replace(chapter, work={"flop": "2 * active * 20 * min(N, 10)", "seconds": "10 + M"})
    assert cost.fit(few, {"N": 40, "M": 1}, {}, SIZES, SPEED)[1] == {"N": 2}
    assert cost.fit(few, {"N": 40, "M": 1}, {}, SIZES, replace(SPEED, forward_flops=1.7e10))[1] == {"N": 5}


def test_a_parameter_that_is_0_is_cut_from_what_it_stands_for(chapter):
    asked = replace(chapter, usual={"N": "4096 if gpu else 512"}, shrink={"N": 4})
    assert cost.estimate(asked, {"N": 0, "M": 0}, SIZES, SPEED).work_seconds == 2 * 512
    assert cost.fit(asked, {"N": 0, "M": 0}, {}, SIZES, SPEED)[1] == {"N": 8}
    assert cost.fit(asked, {"N": 0, "M": 0}, {}, SIZES | {"active": 1}, SPEED)[1] == {}


def test_speeds_are_read_from_the_run_and_not_believed_when_they_are_none(tmp_path):
    assert cost.speeds(tmp_path) is None
    run = RunFolder.at(tmp_path)
    about = {"recipe": "this", "value": 1.0, "unit": "B/s"}
    path = run.write_result(cost.MACHINE, **about, details=vars(SPEED))
    assert cost.speeds(tmp_path) == SPEED
    run.write_result(cost.MACHINE, **about, details=vars(SPEED) | {"forward_flops": 0})
    assert cost.speeds(tmp_path) is None
    path.write_text("{")
    assert cost.speeds(tmp_path) is None


CHAPTERS = [chapter for chapter in discover() if chapter.work or chapter.memory or chapter.shrink]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.slug)
def test_every_chapter_can_be_computed_and_is_whole_on_nano(chapter):
    values = {p.name: p.default for p in chapter.parameters}
    assert chapter.shrink.keys() <= values.keys() and (bool(chapter.shrink) <= bool(chapter.budget_minutes))
    slow = replace(
        REFERENCE,
        **{n: getattr(REFERENCE, n) / 300 for n in vars(REFERENCE) if "_per_" in n or "forward" in n},
    )
    found, smaller = cost.fit(chapter, values, {}, cost.sizes_of("nano"), slow)
    assert smaller == {} and found.seconds < found.limit_s
    usual = cost.fit(chapter, values, {}, cost.sizes_of("nano"), REFERENCE)[0]
    assert usual.seconds < 1.5 * 60 * chapter.minutes and usual.limit_s == chapter.timeout_s
    real = cost.estimate(chapter, values, cost.sizes_of("EXAONE-4.0-1.2B"), None)
    assert real.work_seconds > 10 * cost.estimate(chapter, values, cost.sizes_of("nano"), None).work_seconds
    kinds = {name for name in chapter.work if name in cost.KINDS}
    assert kinds or not chapter.work, "no formula of `work` is of a kind that takes time"


def test_metadata_that_is_no_table_of_formulas_is_refused(tmp_path):
    path = write_notebook(tmp_path, "01_a", [], work="2 * N")
    with pytest.raises(WorkbookError, match="metadata cannot be read"):
        load(path)
    assert json.loads(path.read_text())


def test_a_card_is_counted_by_its_data_sheet(chapter):
    # An L4 reads 300 GB/s and computes 121 TFLOP/s: half of its memory's speed, times 64 tokens, is less than half of that.
    card = cost.speeds_on(find_gpu("L4"))
    assert (card.forward_bytes, card.forward_flops) == (150e9, 9.6e12)
    # A card whose memory is fast enough waits for its arithmetic.
    fast = replace(find_gpu("L4"), bandwidth=1e13)
    assert cost.speeds_on(fast).forward_flops == find_gpu("L4").peak["16-bit"] / 2
    starts = replace(chapter, work={"starts": "1"})
    seconds = [cost.estimate(starts, {}, SIZES | {"gpu": gpu}, None).work_seconds for gpu in (0, 1)]
    assert seconds == [cost.START_SECONDS, cost.START_SECONDS_ON_A_CARD]


def test_the_cost_of_a_run_is_told_without_running_it(chapter, tmp_path, capsys):
    def estimated(where, *more):
        words = ["--notebooks", chapter.path.parent, "--out", tmp_path / "run", *more]
        with pytest.raises(SystemExit) as stop:
            main(["run", *map(str, words), "--estimate", where])
        said = capsys.readouterr()
        return stop.value.code or 0, said.out or said.err

    model = ["-p", "MODEL=EXAONE-4.0-1.2B"]
    # 2 * 1.28 * 10^9 operations * 400 tokens at 9.6 TFLOP/s are 0.1 s, beside 8 s by the clock and 6 s.
    code, shown = estimated("L4", *model, "-p", "N=40", "--json")
    first, total = json.loads(shown)
    assert first["seconds"] == pytest.approx(14.1, abs=0.1) == total["seconds"]
    assert (code, first["bytes"]) == (0, 3_058_782_976) and not (tmp_path / "run").exists()
    about = {"recipe": "this", "value": 1.0, "unit": "B/s"}
    slow = vars(REFERENCE) | {"forward_flops": 1e8}
    RunFolder.at(tmp_path / "run").write_result(cost.MACHINE, **about, details=slow)
    assert "N = 2" in estimated("here", *model)[1]
    assert estimated("L5")[0] == 2
