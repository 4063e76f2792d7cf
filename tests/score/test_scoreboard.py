"""The board from result files: joined, paired, refused when it does not compare, and honest about noise."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from exaone_nb import catalog
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.judging import weights_of
from exaone_nb.results import RunFolder
from exaone_nb.score.recommendation import recommend
from exaone_nb.score.scoreboard import make_scoreboard
from exaone_nb.score.scoreboard_views import (
    alt_text,
    board_table,
    details_table,
    full_table,
    scoreboard_figure,
    write_tables,
)
from exaone_nb.show.figures import INK

CANDIDATES = {  # scheme, bytes, seconds per token, share of items solved
    "baseline": ("unquantized", 6_000_000, 0.0040, 0.80),
    "w8a8": ("W8A8", 3_000_000, 0.0030, 0.795),
    "twin": ("W8A8", 2_900_000, 0.0030, 0.79),
    "bad": ("W4A16", 3_100_000, 0.0050, 0.40),
}


def write_run(path, candidates=CANDIDATES, n=400, items=True, **details) -> RunFolder:
    """A run whose candidates solve nested sets of the same items, as compressed versions of one model do."""
    run, rng = RunFolder.at(path), np.random.default_rng(5)
    hard = {task: rng.random(n) for task in ("one", "two")}
    for name, (scheme, size, seconds, solved) in candidates.items():
        run.write_result(
            "bytes", recipe=name, value=size, unit="B", details={"scheme": scheme, "predicted_bytes": size}
        )
        run.write_result(
            "speed",
            recipe=name,
            label="per_token",
            value=seconds,
            unit="s/token",
            interval=(0.99 * seconds, 1.01 * seconds),
            details={"engine": "vllm", "device": "cpu", "batch": 8, "decode_roofline_fraction": 0.3},
        )
        for task, limits in hard.items():
            right = (limits < solved).astype(float)
            run.write_result(
                "accuracy",
                recipe=name,
                label=task,
                value=float(right.mean()),
                unit="fraction",
                n=n,
                interval=(right.mean() - 0.04, right.mean() + 0.04),
                details={
                    "metric": "exact_match,none",
                    "task_version": 1,
                    "num_fewshot": 0,
                    "outcomes": dict.fromkeys(("truncated", "unusable"), 3 if name == "bad" else 0),
                    **({"items": {f"{task}-{i}": v for i, v in enumerate(right)}} if items else {}),
                    **details,
                },
            )
    return run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_values_are_those_of_the_files_and_the_formula(run):
    board = make_scoreboard(run)
    row, base = board.row("w8a8"), board.row("baseline")
    files = {(r["recipe"], r["label"]): r["value"] for r in run.read_results("accuracy")}
    assert row.accuracy.value == pytest.approx((files["w8a8", "one"] + files["w8a8", "two"]) / 2)
    assert base.score.value == base.score.low == base.score.high == 0.5
    assert row.score.value == pytest.approx(0.5 * row.accuracy.value / base.accuracy.value + 0.5 * 0.25)
    assert row.score.low < row.score.value < row.score.high
    assert (board.items, board.paired) == (800, True)
    assert json.dumps(full_table(board).records())


def test_close_candidates_are_within_noise_and_far_ones_are_not(run):
    board = make_scoreboard(run)
    assert [row.recipe for row in board.rows] == ["w8a8", "twin", "baseline", "bad"]
    assert board.row("twin").within_noise
    assert not board.row("baseline").within_noise and not board.row("bad").within_noise
    assert board.row("bad").behind.low > 0.2
    assert sum(row.share_best for row in board.rows) == pytest.approx(1)
    assert board.row("bad").dominated_by == ("twin", "w8a8")
    assert [row.recipe for row in board.rows if not row.dominated_by] == ["w8a8", "twin", "baseline"]


def test_more_candidates_ask_for_more_evidence_from_each(tmp_path):
    """Bonferroni: three differences at 1 - 0.05 / 3 each, which for a normal one is 1.22 times as wide as at 95 %."""
    few = write_run(tmp_path / "few", {name: CANDIDATES[name] for name in ("baseline", "w8a8")})
    behind = [make_scoreboard(run).row("baseline").behind for run in (few, write_run(tmp_path / "all"))]
    alone, together = (found.high - found.low for found in behind)
    assert together / alone == pytest.approx(norm.isf(0.05 / 6) / norm.isf(0.025), rel=0.05)


def test_pairing_narrows_the_interval_of_a_difference(tmp_path):
    paired = make_scoreboard(write_run(tmp_path / "a"))
    unpaired = make_scoreboard(write_run(tmp_path / "b", items=False))
    width = {b: b.row("twin").behind.high - b.row("twin").behind.low for b in (paired, unpaired)}
    assert width[paired] < 0.6 * width[unpaired]
    assert any("unpaired" in remark for remark in unpaired.remarks)
    assert not unpaired.paired


def test_the_same_seed_gives_the_same_board(run):
    assert make_scoreboard(run) == make_scoreboard(run)
    assert make_scoreboard(run, seed=1).row("twin").score != make_scoreboard(run).row("twin").score


def test_a_gguf_file_stands_on_the_board_and_is_not_recommended(tmp_path):
    """The judging server is vLLM: what is recommended is what would be without the file, whatever llama.cpp reached."""
    run = write_run(tmp_path / "run", CANDIDATES | {"Q4_K_M": ("Q4_K_M", 1_000_000, 0.0010, 0.80)})
    for name, said in {
        "speed__Q4_K_M__per_token": {"engine": "llama.cpp"},
        "bytes__Q4_K_M": {"format": "gguf"},
    }.items():
        path = run.results / f"{name}.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        document["details"] |= said
        path.write_text(json.dumps(document), encoding="utf-8")
    board = make_scoreboard(run)
    assert board.best.recipe == "Q4_K_M" and "another engine for Q4_K_M" in " ".join(board.remarks)
    assert "engine" in [column.name for column in board_table(board).columns]
    shown = {row["recipe"]: row["engine"] for row in board_table(board).rows}
    assert shown["Q4_K_M"] == "llama.cpp" and shown["w8a8"] == "vllm"
    submittable = make_scoreboard(run, submittable=True)
    assert [row.recipe for row in submittable.rows] == [r.recipe for r in board.rows if r.recipe != "Q4_K_M"]
    for row in submittable.rows:  # one page shows both boards: a candidate's figures are the same on either
        assert (row.score, row.speed_norm) == (board.row(row.recipe).score, board.row(row.recipe).speed_norm)
    advice = recommend(submittable)
    without = recommend(make_scoreboard(write_run(tmp_path / "without")))
    assert (advice.choice, advice.headline) == (without.choice, without.headline) and advice.choice == "twin"
    assert "Q4_K_M: GGUF files are passed over, since the judging server, vLLM, reads none." in advice.grounds
    others = [row for row in submittable.rows if row.within_noise and row is not submittable.best]
    assert f"Others within noise of the best: {len(others)}, " in advice.text() and others
    remark = "These figures are without the files that were passed over"
    assert remark in advice.text() and remark not in without.text()


def test_the_recommendation_lets_bytes_decide_among_equals(run):
    advice = recommend(make_scoreboard(run))
    assert advice.choice == "twin"
    assert "within noise" in advice.headline and "w8a8" in advice.headline
    assert "bad gave 6 cut, empty or unreadable answers" in advice.text()


@pytest.mark.parametrize(("share", "choice"), [(0.1, "twin"), (0.099, "w8a8")])
def test_a_smaller_file_needs_a_tenth_of_the_draws(run, share, choice):
    """Within noise is not enough: who is hardly ever the best has a wide interval and nothing else."""
    board = make_scoreboard(run)
    shares = {"w8a8": 1 - share, "twin": share, "baseline": 0.0, "bad": 0.0}
    board = replace(board, rows=tuple(replace(row, share_best=shares[row.recipe]) for row in board.rows))
    advice = recommend(board)
    assert advice.choice == choice
    passed_over = "twin has a smaller file and is within noise too, but it came out highest in only 9.9% of"
    assert (passed_over in advice.text()) == (choice == "w8a8")


def with_outcomes(run, recipe, task, **outcomes):
    """Replace what became of the answers of one recipe on one task."""
    path = run.results / f"accuracy__{recipe}__{task}.json"
    document = json.loads(path.read_text())
    cut = outcomes.pop("cut", outcomes.get("truncated", 0))
    document["details"] |= {"outcomes": outcomes, "truncated": cut}
    path.write_text(json.dumps(document))
    return run


@pytest.mark.parametrize("recipe", ["baseline", "twin"])
def test_nothing_is_recommended_where_most_answers_of_base_or_choice_were_cut(run, recipe):
    with_outcomes(run, recipe, "two", truncated=201, unusable=201)
    advice = recommend(make_scoreboard(run))
    assert advice.choice == "" and advice.headline.startswith("No candidate is recommended")
    assert f"Most answers of {recipe} on two were cut" in advice.text() and "MAX_MODEL_LEN" in advice.text()


def test_right_answers_in_torsos_count_as_cut(run):
    with_outcomes(run, "baseline", "one", truncated=10, unusable=10, cut=300)
    assert "Most answers of baseline on one were cut" in recommend(make_scoreboard(run)).text()


def test_half_of_the_answers_and_those_of_a_loser_do_not_stop_it(run):
    with_outcomes(run, "baseline", "two", truncated=200, unusable=200)
    with_outcomes(run, "bad", "two", empty=400, unusable=400)
    assert recommend(make_scoreboard(run)).choice == "twin"


def test_the_workbooks_own_tasks_recommend_nothing_for_another_model(tmp_path):
    """The same numbers, on tasks made for nano: a choice for nano and for copies of it, none for the 1.2B."""
    run = write_run(tmp_path / "run")
    for path in run.results.glob("accuracy__*__one.json"):
        path.unlink()
    for path in sorted(run.results.glob("accuracy__*__two.json")):
        document = json.loads(path.read_text()) | {"label": "nano_gsm"}
        path.unlink()
        (run.results / path.name.replace("two", "nano_gsm")).write_text(json.dumps(document))
    baseline = run.checkpoints / "baseline"
    baseline.mkdir(parents=True)
    for model, recommended in (("nano", True), ("EXAONE-4.0-1.2B", False)):
        (baseline / "config.json").write_text(json.dumps(catalog.resolve(model).config()))
        board = make_scoreboard(replace_sizes(run, baseline))
        advice = recommend(board)
        assert bool(advice.choice) == recommended
        assert ("nano_gsm: made for nano" in advice.text()) == (not recommended)


def replace_sizes(run, folder):
    """The base's file is as large as its result says, so that it counts as the one that was measured."""
    with (folder / "model.safetensors").open("wb") as handle:
        handle.truncate(CANDIDATES["baseline"][1])
    return run


def in_rounds(run, rounds, names=CANDIDATES, start="2026-11-26T03:00"):
    """Replace the times of a run by rounds of a machine that is now fast, now slow."""
    from scipy import stats

    for name in names:
        path = run.results / f"speed__{name}__per_token.json"
        document = json.loads(path.read_text())
        values = np.array(rounds[name])
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 / values.mean()
        document["value"] = values.mean()
        document["interval"] = [values.mean() * np.exp(-half), values.mean() * np.exp(half)]
        document["details"] |= {"values": values.tolist(), "rounds_from": start}
        path.write_text(json.dumps(document))
    return run


# The machine runs at half its speed in the second round; w8a8 takes 0.90 to 0.92 of the base's time in each.
SLOW_ROUND = {
    "baseline": [0.0040, 0.0080, 0.0050],
    "w8a8": [0.0036, 0.00736, 0.00455],
    "twin": [0.0041, 0.0079, 0.0051],
    "bad": [0.0048, 0.0101, 0.0060],
}


def test_speeds_are_compared_round_by_round_as_the_speed_measurement_does(run):
    from exaone_nb.serve.speed import Lengths, PerToken

    board = make_scoreboard(in_rounds(run, SLOW_ROUND))
    nothing = Lengths(0, 0, 0, 0, 0, 0, 0, 0)
    base, w8a8 = (PerToken(tuple(SLOW_ROUND[n]), nothing, 64, 100) for n in ("baseline", "w8a8"))
    expected, found = w8a8.speed_norm(base), board.row("w8a8").speed_norm
    assert found.value == pytest.approx(1 - np.mean(SLOW_ROUND["w8a8"]) / np.mean(SLOW_ROUND["baseline"]))
    # Mean over mean against the mean of ratios, and 10,000 draws of a t with two degrees of freedom.
    assert (found.low, found.high) == (
        pytest.approx(expected.low, abs=0.012),
        pytest.approx(expected.high, abs=0.012),
    )
    assert found.excludes_zero and not board.row("twin").speed_norm.excludes_zero
    assert board.row("baseline").speed_norm.low == board.row("baseline").speed_norm.high == 0
    assert not any("rounds" in remark for remark in board.remarks)


def test_a_candidate_measured_another_time_is_no_part_of_the_rounds(run):
    in_rounds(run, SLOW_ROUND)
    in_rounds(run, SLOW_ROUND, ["w8a8"], start="2026-11-27T03:00")
    board = make_scoreboard(run)
    assert not board.row("w8a8").speed_norm.excludes_zero, "slow rounds do not cancel any more"
    assert any("w8a8 was not measured in the same rounds" in remark for remark in board.remarks)


def test_a_clear_winner_and_no_winner(tmp_path):
    clear = {n: CANDIDATES[n] for n in ("baseline", "w8a8", "bad")}
    assert "beyond noise" in recommend(make_scoreboard(write_run(tmp_path / "a", clear))).headline
    worse = {n: CANDIDATES[n] for n in ("baseline", "bad")}
    advice = recommend(make_scoreboard(write_run(tmp_path / "b", worse)))
    assert advice.choice == "baseline" and advice.headline.startswith("Submit nothing yet")


def test_bytes_count_when_the_weights_say_so(run):
    two, three = make_scoreboard(run), make_scoreboard(run, weights=weights_of("phase3"))
    gained = three.row("twin").score.value - three.row("w8a8").score.value
    assert gained > two.row("twin").score.value - two.row("w8a8").score.value


@pytest.mark.parametrize("axis", ["bytes", "speed", "accuracy"])
def test_a_missing_axis_names_the_chapter_that_makes_it(run, axis):
    for path in run.results.glob(f"{axis}__*"):
        path.unlink()
    chapter = {"bytes": "07", "speed": "09", "accuracy": "10"}[axis]
    with pytest.raises(WorkbookError, match=axis) as caught:
        make_scoreboard(run)
    assert f"exaone-nb run {chapter}" in caught.value.remedy


def test_an_incomplete_candidate_is_left_out_with_the_command(run):
    (run.results / "speed__bad__per_token.json").unlink()
    board = make_scoreboard(run)
    assert "bad" not in [row.recipe for row in board.rows]
    assert any(r.startswith("bad is left out. Not measured: speed;") and "run 09" in r for r in board.remarks)
    (run.results / "speed__baseline__per_token.json").unlink()
    with pytest.raises(WorkbookError, match="base 'baseline'"):
        make_scoreboard(run)


def test_a_task_that_not_all_were_scored_on_is_left_out(run):
    (run.results / "accuracy__bad__two.json").unlink()
    board = make_scoreboard(run)
    assert board.tasks == ("one",)
    assert any("two is left out. Not scored on it: bad." in remark for remark in board.remarks)


@pytest.mark.parametrize("key", ["metric", "task_version", "num_fewshot"])
def test_scores_taken_differently_are_refused(run, key):
    path = run.results / "accuracy__bad__two.json"
    document = json.loads(path.read_text())
    document["details"][key] = "another"
    path.write_text(json.dumps(document))
    with pytest.raises(WorkbookError, match=r"two was scored with another .* for bad"):
        make_scoreboard(run)


def test_results_of_an_earlier_checkpoint_are_refused(tmp_path):
    from exaone_nb.score.evaluate import fingerprint

    folder = RunFolder.at(tmp_path).checkpoints / "twin"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(CANDIDATES["twin"][1]))
    run = write_run(tmp_path, model_fingerprint=fingerprint(folder))
    make_scoreboard(run)
    (folder / "model.safetensors").write_bytes(b"x" * CANDIDATES["twin"][1])
    with pytest.raises(WorkbookError, match="scored on another twin"):
        make_scoreboard(run)
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(WorkbookError, match="twin has 1 bytes now, and 2,900,000 were measured"):
        make_scoreboard(run)


def test_other_items_are_not_paired(run):
    path = run.results / "accuracy__bad__two.json"
    document = json.loads(path.read_text())
    document["details"]["items"] = {f"other-{i}": 1.0 for i in range(400)}
    path.write_text(json.dumps(document))
    assert not make_scoreboard(run).paired


def test_a_base_that_solves_nothing_is_refused(tmp_path):
    with pytest.raises(WorkbookError, match="solves almost nothing"):
        make_scoreboard(write_run(tmp_path, CANDIDATES | {"baseline": ("unquantized", 6, 0.1, 0.0)}))


def test_too_few_draws_and_unknown_names_are_wrong_calls(run):
    with pytest.raises(UsageError):
        make_scoreboard(run, draws=10)
    with pytest.raises(UsageError):
        make_scoreboard(run).row("nobody")


def test_tables_hold_every_candidate_and_escape_names(tmp_path):
    run = write_run(tmp_path / "run", CANDIDATES | {"<b>x": CANDIDATES["twin"]})
    board = make_scoreboard(run)
    table, page = write_tables(board, tmp_path / "out")
    with open(table, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["recipe"] for row in rows] == [row.recipe for row in board.rows]
    assert float(rows[0]["score"]) == board.best.score.value
    html = page.read_text(encoding="utf-8")
    assert "<b>x" not in html and "&lt;b&gt;x" in html and "http" not in html


def test_the_figure_names_every_candidate(run):
    import matplotlib.pyplot as plt

    board = make_scoreboard(run)
    figure = scoreboard_figure(board)
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    inks = {text.get_color() for axes in figure.axes for text in axes.texts}
    plt.close(figure)
    assert inks == {INK}, "letters in the marks' pink and orange are hard to read"
    for row in board.rows:
        assert row.recipe in words and row.recipe in alt_text(board)
    assert "within noise of the best" in words


@pytest.mark.parametrize(("model", "gpu"), [("EXAONE-4.0-32B", "H100-SXM"), ("EXAONE-4.0-1.2B", "T4")])
def test_a_recipe_of_ones_own_is_held_against_the_card_as_it_is_stored(tmp_path, model, gpu):
    """4 bits in groups of 64 is no preset's name; as BF16 the 32B would not fit at all."""
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 64}
    config = catalog.resolve(model).config() | {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
            "ignore": ["lm_head"],
        }
    }
    run = write_run(tmp_path, {name: ("int4, groups of 64", *CANDIDATES[name][1:]) for name in CANDIDATES})
    for name in ("baseline", "bad"):
        folder = run.checkpoints / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(bytes(CANDIDATES[name][1]))
    board = make_scoreboard(run, gpu=gpu)
    assert board.row("bad").concurrency == 3
    assert board.row("twin").concurrency is None and "twin" in board.row("twin").memory_remark
    shown = details_table(board).headings()
    assert f"requests of the whole context at once on one {gpu}" in shown and f"memory on {gpu}" in shown


def test_a_scheme_that_the_engine_ran_as_another_is_named_beside_its_figures(run):
    for name in ("accuracy__bad__one.json", "speed__bad__per_token.json"):
        path = run.results / name
        document = json.loads(path.read_text())
        document["details"]["runs_as"] = "W4A8"
        path.write_text(json.dumps(document))
    board = make_scoreboard(run)
    assert {row.recipe: row.runs_as for row in board.rows if row.runs_as} == {"bad": "W4A8"}
    assert "the engine ran it as" in board_table(board).headings()
    assert "bad, run as W4A8" in alt_text(board)


def test_the_table_to_choose_by_is_narrow_and_the_file_holds_everything(run, tmp_path):
    board = make_scoreboard(run)
    assert len(board_table(board).columns) <= 8
    table, _ = write_tables(board, tmp_path)
    with open(table, newline="", encoding="utf-8") as handle:
        (row,) = [row for row in csv.DictReader(handle) if row["recipe"] == "twin"]
    twin = board.row("twin")
    for name in ("score", "behind", "accuracy", "seconds_per_token", "perf_norm", "speed_norm"):
        bounds = tuple(float(row[name + end]) for end in ("", "_low", "_high"))
        estimate = getattr(twin, name)
        assert bounds == (estimate.value, estimate.low, estimate.high)
    assert int(row["file_bytes"]) == 2_900_000 and float(row["share_best"]) == twin.share_best
