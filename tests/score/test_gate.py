"""A policy held against a run: GO, NO-GO, UNDECIDED, exit codes, and policies that cannot be read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from exaone_nb.cli import main
from exaone_nb.errors import UsageError
from exaone_nb.results import RunFolder
from exaone_nb.score.gate import Gate, answer_of, gate, gate_table, time_ratio
from exaone_nb.score.policy import names, parse, read_policy

DATE = "2026-11-23T03-47-27.192371"
# 25 lost and 28 won of 618: R's PropCIs::scoreci.mp(25, 28, 618, 0.90) is -0.0148 to 0.0247.
CLOSE = ([1] * 325 + [0] * 293, [0] * 25 + [1] * 300 + [1] * 28 + [0] * 265)
# 27 lost and 10 won of 220: exact p = .008.
WORSE = ([1] * 160 + [0] * 60, [1] * 133 + [0] * 27 + [1] * 10 + [0] * 50)


def scored(run: RunFolder, recipe: str, task: str, values: list[int]) -> None:
    folder = run.path / "lm_eval" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{DATE}.jsonl"
    rows = [
        {"doc_id": i, "doc_hash": hashlib.sha256(f"{task}{i}".encode()).hexdigest(), "prompt_hash": "p",
         "filter": "none", "metrics": ["acc"], "acc": value}
        for i, value in enumerate(values)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run.write_result(
        "accuracy", recipe=recipe, label=task, value=float(np.mean(values)), unit="fraction", n=len(values),
        details={"metric": "acc,none", "samples_file": path.relative_to(run.path).as_posix()},
    )  # fmt: skip


def timed(run: RunFolder, recipe: str, values: list[float], rounds_from: str = "now") -> dict[str, Any]:
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 / np.mean(values)
    mean = float(np.mean(values))
    path = run.write_result(
        "speed", recipe=recipe, label="per_token", value=mean, unit="s/token", n=len(values),
        interval=(mean * float(np.exp(-half)), mean * float(np.exp(half))),
        details={"values": values, "rounds_from": rounds_from},
    )  # fmt: skip
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.at(tmp_path / "run")
    scored(run, "baseline", "close", CLOSE[0])
    scored(run, "w8a8", "close", CLOSE[1])
    scored(run, "baseline", "worse", WORSE[0])
    scored(run, "w8a8", "worse", WORSE[1])
    for name, size in (("baseline", 1_000_000), ("w8a8", 550_000)):
        run.write_result("bytes", recipe=name, value=size, unit="B")
    # The machine is slow in the second round; w8a8 takes 0.90, 0.91 and 0.89 of the base's time.
    timed(run, "baseline", [0.004, 0.008, 0.005])
    timed(run, "w8a8", [0.0036, 0.00728, 0.00445])
    return run


def only(run: RunFolder, **tiers: Any) -> Gate:
    (found,) = gate(run, parse(tiers, "mine"), ["w8a8"])
    return found


@pytest.mark.parametrize(
    ("task", "margin", "state", "verdict"),
    [
        ("close", 0.025, "met", "equivalent"),
        # It may be better by more than the margin, but loses no more than it.
        ("close", 0.0149, "met", "undecided"),
        ("close", 0.0147, "undecided", "undecided"),
        ("worse", 0.01, "broken", "worse"),
        ("missing", 0.01, "undecided", ""),
    ],
)
def test_a_task_is_met_when_the_loss_is_shown_to_be_within_the_margin(run, task, margin, state, verdict):
    (check,) = only(run, critical={"tasks": {task: margin}}).checks
    assert (check.state, check.verdict) == (state, verdict)
    assert (verdict == "") == ("exaone-nb score" in check.reason)


def test_the_reason_names_the_interval_that_the_state_was_read_from(run):
    """R's interval of CLOSE at 90 %; McNemar's score interval of WORSE at 95 % leaves out zero."""
    (kept,) = only(run, critical={"tasks": {"close": 0.025}}).checks
    assert kept.reason == "equivalent: +0.5 points, 90 % from -1.5 to +2.5, n = 618"
    (lost,) = only(run, critical={"tasks": {"worse": 0.01}}).checks
    assert "95 % from" in lost.reason and lost.measured.high < 0


@pytest.mark.parametrize(
    ("tiers", "answer"),
    [
        ({"critical": {"tasks": {"close": 0.025}}}, "GO"),
        ({"critical": {"tasks": {"close": 0.01}}}, "UNDECIDED"),
        ({"supporting": {"tasks": {"close": 0.01}}}, "GO"),
        ({"critical": {"tasks": {"close": 0.025}}, "supporting": {"tasks": {"worse": 0.01}}}, "NO-GO"),
        ({"critical": {"tasks": {"close": 0.01, "worse": 0.01}}}, "NO-GO"),
        ({"critical": {"tasks": {"close": 0.025}}, "advisory": {"tasks": {"worse": 0.01}}}, "GO"),
        ({"critical": {"bytes": {"of_base": 0.55}, "seconds": {"of_base": 0.95}}}, "GO"),
        ({"critical": {"bytes": {"of_base": 0.54}}}, "NO-GO"),
        ({"critical": {"bytes": {"at_most": 549_999}}}, "NO-GO"),
        ({"critical": {"seconds": {"of_base": 0.9}}}, "UNDECIDED"),
        ({"critical": {"seconds": {"of_base": 0.8}}}, "NO-GO"),
        ({"critical": {"seconds": {"at_most": 0.004}}}, "UNDECIDED"),
    ],
)
def test_tiers_decide(run, tiers, answer):
    assert only(run, **tiers).answer == answer


def test_two_models_without_a_usable_answer_are_not_equivalent(tmp_path):
    """Nothing was measured: every answer of both holds no result, so both score 0."""
    run = RunFolder.at(tmp_path)
    for recipe in ("baseline", "w8a8"):
        scored(run, recipe, "toy", [0] * 1000)
        (path,) = (run.path / "lm_eval" / recipe).glob("samples_*")
        rows = [
            json.loads(line) | {"resps": [["no"]], "filtered_resps": ["[invalid]"]} for line in path.open()
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = only(run, critical={"tasks": {"toy": 0.01}})
    assert found.answer == "UNDECIDED" and "[invalid]" in found.checks[0].reason


def test_seconds_are_compared_round_by_round(tmp_path):
    run = RunFolder.at(tmp_path)
    base, other = timed(run, "a", [0.004, 0.008, 0.005]), timed(run, "b", [0.0036, 0.00728, 0.00445])
    found = time_ratio(other, base)
    low, high = stats.t.interval(0.95, 2, 0.9, stats.sem([0.90, 0.91, 0.89]))
    assert (found.value, found.low, found.high) == pytest.approx((0.9, low, high), abs=4e-4)
    apart = time_ratio(timed(run, "b", [0.0036, 0.00728, 0.00445], "another day"), base)
    assert apart.low < 0.5 and apart.high > 1.5, "slow rounds do not cancel"


def test_what_was_not_measured_is_undecided_with_the_command(run):
    for path in run.results.glob("*__w8a8*"):
        if not path.name.startswith("accuracy"):
            path.unlink()
    found = only(run, critical={"bytes": {"of_base": 1}}, supporting={"seconds": {"of_base": 1}})
    assert found.answer == "UNDECIDED" and {check.state for check in found.checks} == {"undecided"}
    assert "run 07" in found.checks[0].reason and "run 09" in found.checks[1].reason


def test_subjects_of_a_benchmark_are_named_together(tmp_path):
    """Ten subjects with 5 lost and 2 won of 100 each: together 50 against 20 of 1,000, p = .00044."""
    run = RunFolder.at(tmp_path)
    for subject in "abcdefghij":
        scored(run, "baseline", f"mmlu_{subject}", [1] * 65 + [0] * 35)
        scored(run, "small", f"mmlu_{subject}", [0] * 5 + [1] * 60 + [1] * 2 + [0] * 33)
    (found,) = gate(run, parse({"critical": {"tasks": {"mmlu": 0.01}}}, "mine"))
    assert found.answer == "NO-GO" and found.checks[0].verdict == "worse"
    (one,) = gate(run, parse({"critical": {"tasks": {"mmlu_a": 0.01}}}, "mine"))
    assert one.answer == "UNDECIDED"


def test_the_command_line(run, tmp_path, capsys):
    def call(policy: dict[str, Any], *more: str) -> tuple[int, str]:
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(policy))
        with pytest.raises(SystemExit) as ended:
            main(["gate", str(path), "--out", str(run.path), *more])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = call({"critical": {"tasks": {"close": 0.025}}}, "--json")
    document = json.loads(out)
    assert code == 0 and document["answer"] == "GO" and document["candidates"][0]["candidate"] == "w8a8"
    assert document["candidates"][0]["checks"][0]["interval"][0] < 0
    code, out = call({"critical": {"tasks": {"worse": 0.02}}}, "w8a8", "--json")
    assert code == 1 and json.loads(out)["answer"] == "NO-GO"
    code, out = call({"critical": {"tasks": {"close": 0.01}}})
    assert code == 1 and "w8a8: UNDECIDED" in out
    scored(run, "w4", "close", CLOSE[0])
    code, out = call({"critical": {"tasks": {"close": 0.025}}}, "w8a8", "w4", "--json")
    assert code == 0 and len(json.loads(out)["candidates"]) == 2


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "asks for nothing"),
        ({"critical": {"tasks": {}}}, "asks for nothing"),
        ([], "is []"),
        ({"critcal": {"bytes": {"of_base": 1}}}, "unknown key 'critcal'"),
        ({"critical": {"task": {"gsm8k": 0.01}}}, "unknown key 'task'"),
        ({"critical": {"tasks": {"gsm8k": 2}}}, "critical: tasks: gsm8k is 2"),
        ({"critical": {"tasks": {"gsm8k": True}}}, "critical: tasks: gsm8k is True"),
        ({"critical": {"tasks": ["gsm8k"]}}, "critical: tasks"),
        ({"critical": {"bytes": 0.5}}, "critical: bytes is 0.5"),
        ({"critical": {"bytes": {"of_base": 0.5, "at_most": 3}}}, "critical: bytes is"),
        ({"critical": {"seconds": {"at_most": 0}}}, "at_most is 0"),
        ({"critical": {"tasks": {"a": 0.1}}, "advisory": {"tasks": {"a": 0.1}}}, "asks twice for a"),
        ({"critical": {"tasks": {"a": 0.1}}, "alpha": 0.7}, "alpha is 0.7"),
    ],
)
def test_a_wrong_policy_is_refused_by_the_key(document, told):
    with pytest.raises(UsageError) as caught:
        parse(document, "mine")
    assert told in caught.value.got and caught.value.expected + caught.value.remedy


def test_every_task_that_was_scored_is_asked_for_unless_a_line_names_it(run):
    found = only(run, critical={"tasks": {"every": 0.025}}, supporting={"tasks": {"close": 0.01}})
    asked = [
        (check.requirement.tier, check.requirement.what, check.requirement.limit) for check in found.checks
    ]
    assert asked == [("critical", "worse", 0.025), ("supporting", "close", 0.01)] and found.answer == "NO-GO"
    assert read_policy("release").critical["tasks"].keys() == {"every"}  # no task of one model


def test_policies_by_name_and_runs_without_what_they_name(run, capsys):
    assert [read_policy(name).name for name in names()] == names() and "release" in names()
    for arguments, told in (
        (["gate", "nana"], "No policy 'nana'"),
        (["gate", "no/such.yaml"], "no file"),
        (["gate", "release", "w9", "--out", str(run.path)], "no results of 'w9'"),
        (["gate", "release", "baseline", "--out", str(run.path)], "no candidate beside the base"),
        (["gate", "release", "--out", str(run.path / "nowhere")], "no results of 'baseline'"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2 and told in " ".join(capsys.readouterr().err.split())


def test_the_worst_answer_counts_and_the_table_shows_every_line(run):
    gates = [
        only(run, critical={"tasks": {"close": 0.025}, "bytes": {"of_base": 0.6}}),
        only(run, critical={"tasks": {"close": 0.01}}),
    ]
    assert answer_of(gates) == "UNDECIDED" and answer_of(gates[:1]) == "GO"
    table = gate_table(gates)
    assert [row["state"] for row in table.rows] == ["met", "met", "undecided"]
    assert (
        table.rows[1]["reason"] == "55 % of the base's"
        and table.rows[0]["asked"] == "loses at most 2.5 points"
    )
