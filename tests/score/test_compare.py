"""Aligning, comparing and refusing, on samples files written as lm-eval writes them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.compare import compare, compare_all
from exaone_nb.score.comparison_views import differences_figure, verdict_table
from exaone_nb.score.evaluate import estimate_of
from exaone_nb.score.items import averaged, items_of
from exaone_nb.score.outcomes import MetricName, main_metric
from exaone_nb.score.samples import find_samples, read_samples

DATE = "2026-11-23T03-47-27.192371"


def write_run(
    folder: Path,
    values: list[object],
    *,
    task: str = "toy",
    metric: str = "exact_match",
    first: int = 0,
    prompt: str = "p",
    filters: tuple[str, ...] = ("strict-match", "flexible-extract"),
    version: int = 1,
    fewshot: int = 0,
    counted: int | None = None,
) -> Path:
    """A samples file and its results file; item i asks document `first + i`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for filter_name in filters:
        for i, value in enumerate(values):
            document = f"document {first + i}"
            row = {
                "doc_id": i,
                "doc": {"question": document},
                "target": "1",
                "resps": [["#### 1"]],
                "filtered_resps": ["1"],
                "filter": filter_name,
                "metrics": [metric],
                "doc_hash": hashlib.sha256(document.encode()).hexdigest(),
                "prompt_hash": hashlib.sha256(f"{prompt} {document}".encode()).hexdigest(),
                "target_hash": "t",
                metric: value,
            }
            lines.append(json.dumps(row))
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    results = {
        "versions": {task: version},
        "n-shot": {task: fewshot},
        "n-samples": {task: {"original": len(values), "effective": counted or len(values)}},
        "configs": {task: {"generation_kwargs": {"until": ["\n"]}}},
    }
    (folder / f"results_{DATE}.json").write_text(json.dumps(results), encoding="utf-8")
    return path


def outcomes(
    both: int, only_base: int, only_candidate: int, neither: int
) -> tuple[list[object], list[object]]:
    x = [1.0] * (both + only_base) + [0.0] * (only_candidate + neither)
    y = [1.0] * both + [0.0] * only_base + [1.0] * only_candidate + [0.0] * neither
    return x, y


def test_a_real_loss_is_called_worse_although_the_unpaired_test_is_silent(tmp_path: Path) -> None:
    x, y = outcomes(133, 27, 10, 50)
    base = read_samples(write_run(tmp_path / "a", x))
    found = compare(base, read_samples(write_run(tmp_path / "b", y)))
    assert found.verdict == "worse"
    assert (round(found.p_value, 3), round(found.unpaired_p, 3)) == (0.008, 0.080)
    assert found.discordant.only_base == 27 and found.discordant.only_candidate == 10
    assert found.difference.value == pytest.approx(-17 / 220)
    assert found.difference.low < found.difference.value < found.difference.high < 0
    assert found.recovery.value == pytest.approx(143 / 160)
    assert found.recovery.low < found.recovery.value < found.recovery.high < 1
    assert "Worse, and not by chance" in found.words
    assert found.metric == "exact_match,flexible-extract"


def test_a_small_gap_is_undecided_and_says_what_it_would_take(tmp_path: Path) -> None:
    x, y = outcomes(300, 30, 25, 157)
    base = read_samples(write_run(tmp_path / "a", x))
    found = compare(base, read_samples(write_run(tmp_path / "b", y)))
    assert found.verdict == "undecided"
    assert "Undecided at n = 512, items taken as independent (exact McNemar p = 0.59;" in found.words
    assert f"about {found.items_to_decide:,} items decide at a margin of 1 point." in found.words
    wider = compare(base, read_samples(tmp_path / "b" / f"samples_toy_{DATE}.jsonl"), margin=0.05)
    assert wider.verdict == "equivalent"
    assert "Equivalent within 5 points" in wider.words and "90 % interval lies inside" in wider.words
    json.dumps(found.as_json(), allow_nan=False)


def test_the_order_of_the_items_does_not_matter(tmp_path: Path) -> None:
    x, y = outcomes(40, 10, 5, 45)
    a = read_samples(write_run(tmp_path / "a", x))
    path = write_run(tmp_path / "b", y)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    found = compare(a, read_samples(path))
    assert (found.discordant.only_base, found.discordant.only_candidate) == (10, 5)


def test_unmatched_items_are_left_out_and_counted(tmp_path: Path) -> None:
    a = read_samples(write_run(tmp_path / "a", [1.0] * 50))
    b = read_samples(write_run(tmp_path / "b", [1.0] * 40, first=20))
    found = compare(a, b)
    assert (found.n, found.unmatched_base, found.unmatched_candidate) == (30, 20, 10)
    assert found.verdict == "undecided" and "the same outcome on every item" in found.words
    # nothing lost and nothing won: n d^2 = z^2 d (1 - d)
    assert found.difference.high == pytest.approx(1.959964**2 / (30 + 1.959964**2), rel=1e-5)


def test_documents_asked_twice_are_told_apart() -> None:
    rows = [{"doc_hash": "same", "acc": float(i % 2), "doc_id": i} for i in range(4)]
    items = items_of("toy", MetricName("acc"), rows)
    assert len(set(items.keys)) == 4


def test_candidates_are_corrected_together(tmp_path: Path) -> None:
    x, y = outcomes(100, 16, 5, 79)
    base = {"toy": read_samples(write_run(tmp_path / "base", x))}
    others = {f"c{i}": {"toy": read_samples(write_run(tmp_path / f"c{i}", y))} for i in range(4)}
    alone = compare(base["toy"], others["c0"]["toy"])
    together = compare_all(base, others)
    assert alone.verdict == "worse" and 0.02 < alone.p_value < 0.05
    assert {c.verdict for c in together} == {"undecided"}
    assert together[0].p_holm == pytest.approx(4 * alone.p_value)
    # The interval is drawn at the level the correction leaves, so that it does not contradict the verdict.
    assert alone.difference.excludes_zero and not together[0].difference.excludes_zero
    assert "98.8 % from" in together[0].words and "after Holm" in together[0].words


def test_perplexity_is_compared_by_documents(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(50, 200, 80)
    better = [[-3.0 * w + float(rng.normal(0, 5)), int(w)] for w in words]
    worse = [[ll - 0.05 * w, w] for ll, w in better]
    make = {"metric": "word_perplexity", "filters": ("none",)}
    a = read_samples(write_run(tmp_path / "a", better, **make))
    b = read_samples(write_run(tmp_path / "b", worse, **make))
    total = sum(w for _, w in better)
    assert a.score == pytest.approx(math.exp(-sum(ll for ll, _ in better) / total))
    found = compare(a, b)
    assert found.verdict == "worse" and found.difference.value > 0
    assert found.candidate_score / found.base_score == pytest.approx(math.exp(0.05))
    assert found.recovery.value == pytest.approx(math.exp(-0.05))
    # A point of a perplexity is one percent of the base's.
    assert found.in_points.value == pytest.approx(100 * math.expm1(0.05))
    heading = next(column.heading for column in verdict_table([found]).columns if column.name == "difference")
    assert "% of a perplexity" in heading
    assert "% of its perplexity" in differences_figure([found]).axes[0].get_xlabel()
    assert compare(b, a).verdict == "better"
    uneven = [[ll - float(rng.uniform(0, 0.1)) * w, w] for ll, w in better]
    found = compare(a, read_samples(write_run(tmp_path / "c", uneven, **make)))
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert found.recovery.low < found.recovery.value < found.recovery.high < 1


def test_subjects_of_one_benchmark_are_one_question(tmp_path: Path) -> None:
    """Ten subjects, each 5 lost and 2 won of 100: 50 against 20 of 1,000, p = .00044 by the binomial."""
    x, y = outcomes(60, 5, 2, 33)
    subjects = [f"mmlu_{name}" for name in "abcdefghij"]
    base = {task: read_samples(write_run(tmp_path / "a" / task, x, task=task)) for task in subjects}
    other = {task: read_samples(write_run(tmp_path / "b" / task, y, task=task)) for task in subjects}
    pooled, *parts = compare_all(base, {"small": other})
    assert (pooled.task, pooled.n, pooled.parts) == ("mmlu", 1000, tuple(subjects))
    assert (pooled.discordant.only_base, pooled.discordant.only_candidate) == (50, 20)
    assert pooled.verdict == "worse" and round(pooled.p_value, 5) == 0.00044 == round(pooled.p_holm, 5)
    assert {(c.verdict, c.part_of, c.p_holm == c.p_value) for c in parts} == {("undecided", "mmlu", True)}
    assert "A part of mmlu" in parts[0].words and {c.found.level for c in parts} == {0.95}
    assert len(compare_all(base, {"small": other}, separate=True)) == 10
    one = compare_all(base, {"small": other, "smaller": other})
    assert one[0].p_holm == pytest.approx(2 * pooled.p_value), "two candidates are two questions"
    json.dumps(pooled.as_json(), allow_nan=False)


@pytest.mark.parametrize("metric", ["word_perplexity", "bits_per_byte"])
def test_perplexities_of_several_texts_are_several_questions(tmp_path: Path, metric: str) -> None:
    """Only scores are pooled, and bits per byte are as little a score as a perplexity is."""
    make = {"metric": metric, "filters": ("none",)}
    scored = {
        side: {
            task: read_samples(write_run(tmp_path / side / task, [[-3.0 * n * i, n] for n in range(1, 9)], task=task, **make))
            for task in ("paloma_a", "paloma_b", "paloma_c")
        }
        for i, side in enumerate(("base", "other"), 1)
    }  # fmt: skip
    assert [c.parts for c in compare_all(scored["base"], {"other": scored["other"]})] == [(), (), ()]


def test_what_lm_eval_calls_a_group_is_one(tmp_path: Path) -> None:
    x, y = outcomes(60, 5, 2, 33)
    groups = {"exam": ["law", "medicine"], "law": ["law"]}
    read = {}
    for side, values in (("a", x), ("b", y)):
        read[side] = {}
        for task in ("law", "medicine"):
            path = write_run(tmp_path / side / task, values, task=task)
            results = path.with_name(f"results_{DATE}.json")
            document = json.loads(results.read_text(encoding="utf-8"))
            results.write_text(json.dumps(document | {"group_subtasks": groups}), encoding="utf-8")
            read[side][task] = read_samples(path)
    pooled, *parts = compare_all(read["a"], {"b": read["b"]})
    assert (pooled.task, pooled.n, len(parts)) == ("exam", 200, 2)


def test_two_tasks_with_one_word_in_common_are_two_questions(tmp_path: Path) -> None:
    x, y = outcomes(60, 5, 2, 33)
    tasks = ("nano_gsm", "nano_gsm_ko")
    base = {task: read_samples(write_run(tmp_path / "a" / task, x, task=task)) for task in tasks}
    other = {task: read_samples(write_run(tmp_path / "b" / task, y, task=task)) for task in tasks}
    assert [c.parts for c in compare_all(base, {"b": other})] == [(), ()]


def test_a_task_with_the_name_of_its_benchmark_leaves_all_apart(tmp_path: Path) -> None:
    """Two rows of one name could not be told apart."""
    x, y = outcomes(60, 5, 2, 33)
    tasks = ("exam", "exam_law", "exam_medicine")
    base = {task: read_samples(write_run(tmp_path / "a" / task, x, task=task)) for task in tasks}
    other = {task: read_samples(write_run(tmp_path / "b" / task, y, task=task)) for task in tasks}
    assert [c.task for c in compare_all(base, {"b": other})] == list(tasks)


def clustered_items(values: np.ndarray, templates: list[str]):
    rows = [
        {"doc_hash": str(i), "doc": {"question": str(i), "template": t}, "acc": float(v)}
        for i, (v, t) in enumerate(zip(values, templates, strict=True))
    ]
    return items_of("toy", MetricName("acc"), rows)


def test_items_that_share_a_template_are_not_independent() -> None:
    """What is lost is lost with a whole template: statsmodels' cluster-robust error, and no item counted as a draw."""
    rng = np.random.default_rng(1)
    templates = [f"t{i // 5}" for i in range(300)]
    lost = np.repeat(rng.random(60) < 0.12, 5)
    base, candidate = clustered_items(np.ones(300), templates), clustered_items(1.0 - lost, templates)
    found = compare(base, candidate)
    plain = compare(clustered_items(np.ones(300), [""] * 300), clustered_items(1.0 - lost, [""] * 300))
    assert (found.clusters, found.test) == (60, "sign flip by cluster") and plain.clusters is None
    # One coin for each template that is lost, all of them on one side.
    assert found.p_value == pytest.approx(2 * 0.5 ** (lost.sum() / 5))
    assert "n = 300 in 60 clusters" in found.words and "items taken as independent" in plain.words
    groups = np.repeat(np.arange(60), 5)
    error = float(
        sm.OLS(-lost.astype(float), np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0]
    )
    half = stats.t.ppf(0.975, 61) * error
    width = found.difference.high - found.difference.low
    # Two more clusters, one lost and one won, widen it a little.
    assert 2 * half < width < 2.4 * half and width > 1.8 * (plain.difference.high - plain.difference.low)
    # Every template of its own: as if nothing were said.
    alone = clustered_items(1.0 - lost, [str(i) for i in range(300)])
    assert compare(clustered_items(np.ones(300), [str(i) for i in range(300)]), alone).clusters is None


def test_templates_of_two_tasks_are_two_templates() -> None:
    templates = [f"t{i // 4}" for i in range(40)]
    tasks = [replace(clustered_items(np.ones(40), templates), task=f"exam_{name}") for name in "abc"]
    base = {items.task: items for items in tasks}
    pooled, *_ = compare_all(base, {"same": base})
    assert (pooled.n, pooled.clusters) == (120, 30)


def test_a_metric_in_percent_has_points_of_its_own(tmp_path: Path) -> None:
    """chrF and BLEU run from 0 to 100: one point is 1, not 0.01."""
    rng = np.random.default_rng(2)
    x = rng.uniform(20, 90, 60)
    y = x - rng.uniform(2, 4, 60)
    make = {"metric": "chrf", "filters": ("none",)}
    a, b = (read_samples(write_run(tmp_path / n, v.tolist(), **make)) for n, v in (("a", x), ("b", y)))
    found = compare(a, b)
    assert found.verdict == "worse" and found.in_points.value == pytest.approx(float((y - x).mean()))
    assert compare(a, b, margin=0.1).verdict == "equivalent"


def test_a_metric_that_falls_below_zero_and_never_exceeds_one_has_hundredths(tmp_path: Path) -> None:
    """As BLEURT: one point is 0.01, and a difference from -1.13 to +1.13 by the t test is no equivalence."""
    make = {"metric": "bleurt_max", "filters": ("none",)}
    rows = {"a": [-1.0, 0.5] * 5, "b": [0.5, -1.0] * 5}
    a, b = (read_samples(write_run(tmp_path / name, values, **make)) for name, values in rows.items())
    found = compare(a, b)
    half = stats.t.ppf(0.975, 9) * stats.sem(np.subtract(rows["b"], rows["a"]))
    assert found.verdict == "undecided" and -found.in_points.low == pytest.approx(100 * half, rel=0.15)


def test_the_interval_of_a_graded_score_stays_where_scores_can_be() -> None:
    rows = [{"doc_hash": str(i), "f1": value} for i, value in enumerate([1.0] * 9 + [0.2])]
    found, _ = estimate_of(items_of("toy", MetricName("f1"), rows))
    plain = stats.t.interval(0.95, 9, 0.92, stats.sem([1.0] * 9 + [0.2]))
    assert plain[1] > 1 == found.high and found.low < found.value == pytest.approx(0.92)


def test_nothing_has_no_width(tmp_path: Path) -> None:
    """Field cases: 25/25 against 0/25, 1 lost of 25, 16/30 against 0/30, and recovery at 0."""
    expected = {
        (0, 25, 0, 0): (-100, -73.4),
        (24, 1, 0, 0): (-19.5, 9.9),
        (0, 16, 0, 14): (-69.8, -35.9),
        (96, 4, 0, 0): (-9.8, -0.2),
    }
    for i, (counts, interval) in enumerate(expected.items()):
        x, y = outcomes(*counts)
        a, b = (read_samples(write_run(tmp_path / f"{n}{i}", v)) for n, v in (("a", x), ("b", y)))
        points = compare(a, b).in_points
        assert (round(points.low, 1), round(points.high, 1)) == interval
        assert compare(a, b).recovery.low < compare(a, b).recovery.high
    assert compare(a, b).verdict == "borderline"
    assert "leaves out zero (p = 0.0455), but the test beside it does not reject" in compare(a, b).words


def test_seeds_are_averaged_item_by_item(tmp_path: Path) -> None:
    x, y = outcomes(20, 10, 6, 14)
    a = read_samples(write_run(tmp_path / "a", x))
    b = read_samples(write_run(tmp_path / "b", y))
    mean = averaged([a, b])
    assert set(mean.values) == {0.0, 0.5, 1.0}
    assert mean.score == pytest.approx((a.score + b.score) / 2)
    assert compare(a, mean).test == "sign flip"
    with pytest.raises(WorkbookError, match="other items"):
        averaged([a, read_samples(write_run(tmp_path / "c", x[:-1]))])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "other"}, "different tasks"),
        ({"version": 2}, "task versions differ"),
        ({"fewshot": 5}, "few-shot examples differ"),
        ({"prompt": "with a template"}, "another prompt"),
        ({"first": 1000}, "no item in common"),
        ({"filters": ("strict-match",)}, "the metrics are"),
    ],
)
def test_results_that_answer_different_questions_are_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    values = [1.0, 0.0] * 20
    a = read_samples(write_run(tmp_path / "a", values))
    b = read_samples(write_run(tmp_path / "b", values, **change))
    with pytest.raises(WorkbookError, match=reason):
        compare(a, b)


def test_two_families_may_be_compared_when_other_prompts_are_allowed(tmp_path: Path) -> None:
    values = [1.0, 0.0] * 20
    a = read_samples(write_run(tmp_path / "a", values))
    b = read_samples(write_run(tmp_path / "b", values, prompt="another template"))
    assert compare(a, b, different_prompts=True).difference.value == 0


def test_a_file_cut_in_the_middle_of_a_line_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [1.0] * 10)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WorkbookError, match=r"Line 20 of .* cut short"):
        read_samples(path)


def test_a_line_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [1.0] * 10)
    path.write_bytes(path.read_bytes().replace(b"document 3", b"document \xff", 1))
    with pytest.raises(WorkbookError, match=r"Line 4 of .* damaged"):
        read_samples(path)


def test_a_file_cut_between_lines_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [1.0] * 10)
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-3]) + "\n", encoding="utf-8")
    with pytest.raises(WorkbookError, match="7 items; its results file counts 10"):
        read_samples(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "yes", [math.nan, 3]])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: object) -> None:
    path = write_run(tmp_path, [1.0, 1.0, value])
    with pytest.raises(WorkbookError, match="Item 2 of"):
        read_samples(path)


def test_unknown_metrics_and_empty_folders_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [1.0])
    with pytest.raises(UsageError, match="no metric 'acc'"):
        read_samples(path, metric="acc")
    with pytest.raises(UsageError, match="no filter 'x'"):
        read_samples(path, filter_name="x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkbookError, match=r"No samples_\*"):
        find_samples(tmp_path / "empty")
    write_run(tmp_path / "b", [1.0], task="other")
    with pytest.raises(UsageError, match="2 models"):
        find_samples(tmp_path)
    assert list(find_samples(tmp_path / "a")) == ["toy"]


def test_the_main_metric_is_the_forgiving_one() -> None:
    assert (
        str(main_metric(["exact_match"], ["strict-match", "flexible-extract"]))
        == "exact_match,flexible-extract"
    )
    assert str(main_metric(["acc", "acc_norm"], ["none"])) == "acc,none"
    assert str(main_metric(["acc"], ["custom"])) == "acc,custom"
