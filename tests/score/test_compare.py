"""Aligning, comparing and refusing, on samples files written as lm-eval writes them."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score.compare import compare, compare_all
from exaone_nb.score.outcomes import MetricName, main_metric
from exaone_nb.score.samples import averaged, find_samples, items_of, read_samples

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


def test_a_small_gap_is_within_noise_and_says_what_it_would_take(tmp_path: Path) -> None:
    x, y = outcomes(300, 30, 25, 157)
    base = read_samples(write_run(tmp_path / "a", x))
    found = compare(base, read_samples(write_run(tmp_path / "b", y)))
    assert found.verdict == "within noise"
    assert "Within noise at n = 512" in found.words
    assert "To see a drop of 2 points you need about 2,106 items" in found.words
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
    assert found.verdict == "identical"
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
    assert {c.verdict for c in together} == {"within noise"}
    assert together[0].p_holm == pytest.approx(4 * alone.p_value)


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
    assert compare(b, a).verdict == "better"


def test_seeds_are_averaged_item_by_item(tmp_path: Path) -> None:
    x, y = outcomes(20, 10, 6, 14)
    a = read_samples(write_run(tmp_path / "a", x))
    b = read_samples(write_run(tmp_path / "b", y))
    mean = averaged([a, b])
    assert set(mean.values) == {0.0, 0.5, 1.0}
    assert mean.score == pytest.approx((a.score + b.score) / 2)
    assert compare(a, mean).test == "paired permutation"
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
    assert compare(a, b, different_prompts=True).verdict == "identical"


def test_a_file_cut_in_the_middle_of_a_line_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [1.0] * 10)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WorkbookError, match=r"Line 20 of .* cut short"):
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
