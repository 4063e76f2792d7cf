"""Sweeps: grids are checked before anything runs, finished runs are kept, failures stay alone, Ray gives the same."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

# A busy machine starts a node slowly; Ray reads this when it is imported.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "40")

from exaone_nb.cli import main, workbook_runs
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import RUNS
from exaone_nb.results import RunFolder
from exaone_nb.workbook.chapters import discover, select
from exaone_nb.workbook.sweep import engines
from exaone_nb.workbook.sweep import grid as grids
from exaone_nb.workbook.sweep.engines import TaskResult, finished, reason
from exaone_nb.workbook.sweep.run import leaderboard_rows, pin, survey, sweep, write_leaderboard
from exaone_nb.workbook.values import values_for

PARAMETERS = """\
MODEL: str = "nano"  # model [model]
RUN_DIR: str = ""  # run folder
RECIPES: list[str] = ["w8a8"]  # recipes [recipe]
SEED: int = 0  # seed [seed]
SLEEP: float = 0.0  # seconds
"""
# The value tells with how many threads a run computed: a checkpoint would, too.
WORK = """\
import os, time
from exaone_nb.results import RunFolder
time.sleep(SLEEP)
if RECIPES == ["nvfp4"]:
    raise ValueError("this recipe is broken on purpose")
RunFolder.at(RUN_DIR).write_result("accuracy", recipe=RECIPES[0], value=len(RECIPES[0]) + SEED + 100 * (int(os.environ.get('OMP_NUM_THREADS', 0)) - 1), unit="points", n=10, interval=(1.0, 9.0), label="toy")
"""


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    meta = {
        "chapter": "01",
        "title": "Toy",
        "question": "?",
        "after": [],
        "writes": ["results/*"],
        "minutes": 0.1,
    }
    cells = [
        {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": PARAMETERS},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": WORK},
    ]
    for cell in cells:
        cell |= {"execution_count": None, "outputs": []}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"exaone_nb": meta, "kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "01_toy.ipynb").write_text(json.dumps(document))
    return folder


def make(notebooks, tmp_path, **changes):
    document = {
        "name": "toy",
        "chapters": ["01"],
        "recipes": ["w8a8", "fp8"],
        "seeds": [0, 1],
        "notebooks": str(notebooks),
    }
    return grids.expand(document | changes, "toy", tmp_path / changes.get("name", "toy"))


def values_of(grid):
    table = json.loads((grid.folder / "leaderboard.json").read_text())
    return sorted((row["run"], (row.get("accuracy toy [points]") or {}).get("value")) for row in table)


def test_the_grid_is_the_product_in_order(notebooks, tmp_path):
    grid = make(notebooks, tmp_path)
    assert [run.name for run in grid.runs] == ["w8a8-seed0", "w8a8-seed1", "fp8-seed0", "fp8-seed1"]
    assert grid.runs[2].parameters == {"RECIPES": ["fp8"], "SEED": 0}
    assert grid.axes == ["RECIPES", "SEED"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipies": ["w8a8"]}, "recipies"),
        ({"matrix": {"NO_SUCH": [1]}}, "NO_SUCH"),
        ({"seeds": ["x"]}, "SEED"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "same: w8a8-seed1"),
        ({"seeds": 3}, r"Write seeds: \[3\]"),
        ({"name": "../up"}, "name"),
        ({"name": None}, "name = None"),
        ({"name": True}, "name"),
        ({"gpus_per_run": -1}, "gpus_per_run"),
        ({"gpus_per_run": float("inf")}, "gpus_per_run"),
        ({"cpus_per_run": float("inf")}, "cpus_per_run"),
        ({"cpus_per_run": float("nan")}, "cpus_per_run"),
        ({"cpus_per_run": 0}, "cpus_per_run"),
        ({"cpus_per_run": -2}, "cpus_per_run"),
        ({"timeout_minutes": 0}, "timeout_minutes"),
        ({"parameters": 3}, "parameters"),
        ({"chapters": "01"}, r"chapters: '01'"),
        ({"chapters": 1}, "chapters: 1"),
        ({"chapters": []}, "leave the key out"),
        ({"chapters": [True]}, "no chapter 'True'"),
        ({"chapters": None}, "chapters"),
        ({"notebooks": ["a"]}, "notebooks"),
        ({"notebooks": None}, "notebooks"),
        ({"notebooks": "nowhere"}, "no such folder"),
        ({"notebooks": "data"}, "no chapter"),
        ({"matrix": {"SEED": [5]}}, "SEED is set by `seeds` and by `matrix`"),
        ({"parameters": {"SEED": 5}}, "SEED is set by `seeds` and by `parameters`"),
        ({"parameters": {"01.SEED": 5}}, "SEED is set by `seeds` and by `parameters`"),
        ({"parameters": {"01": {"SEED": 5}}}, "SEED is set by `seeds` and by `parameters`"),
        (
            {"matrix": {"SLEEP": [0, 1]}, "parameters": {"SLEEP": 0}},
            "SLEEP is set by `matrix` and by `parameters`",
        ),
        ({"recipes": ["w8a9"]}, "Did you mean w8a8"),
        ({"tensor_parallel_size": 2}, "no chapter of this sweep has TENSOR_PARALLEL_SIZE"),
        ({"tasks": ["nano_gsm"]}, r"tasks means no parameter[\s\S]*marked \[task\]"),
        ({"parameters": {5: 3}}, "No parameter is named '5'"),
        ({"models": ["nanoo"]}, "Did you mean nano"),
        ({"models": [["nano"]]}, "MODEL"),
        ({"matrix": {"01.SEED": [3]}}, "SEED is set by `seeds` and by `matrix`"),
        ({"sleep": 1, "parameters": {"SLEEP": 1}}, "SLEEP is set by `sleep` and by `parameters`"),
        ({"SLEEP": 1}, "unknown key 'SLEEP'"),
    ],
)
def test_bad_grids_are_refused_before_anything_runs(notebooks, tmp_path, changes, says):
    changes = {"name": "toy"} | changes
    document = {
        "chapters": ["01"],
        "recipes": ["w8a8", "fp8"],
        "seeds": [0, 1],
        "notebooks": str(notebooks),
    }
    with pytest.raises(UsageError) as caught:
        grids.expand(document | changes, "toy", tmp_path / "toy")
    assert re.search(says, str(caught.value))
    assert caught.value.expected and caught.value.remedy
    assert not (tmp_path / "toy").exists()


def test_no_axis_no_file_no_yaml(notebooks, tmp_path):
    with pytest.raises(UsageError, match="varies nothing"):
        grids.expand({"chapters": ["01"], "notebooks": str(notebooks)}, "x", tmp_path / "x")
    with pytest.raises(UsageError, match="no file"):
        grids.read(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        grids.read(tmp_path)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UsageError, match="YAML"):
        grids.read(tmp_path / "bad.yaml")
    (tmp_path / "twice.yaml").write_text("seeds: [0]\nrecipes: [w8a8]\nseeds: [1]\n")
    with pytest.raises(UsageError, match="'seeds' is written twice"):
        grids.read(tmp_path / "twice.yaml")


def test_a_grid_is_read_as_it_is_written_by_the_declared_types(notebooks, tmp_path):
    """Plain YAML 1.1 makes 34 of 042, 90 of 1:30, 0.1 of 0.10 and 5 of 05, whatever the parameter is."""
    chapter = notebooks / "01_toy.ipynb"
    chapter.write_text(
        chapter.read_text().replace("SLEEP: float", 'TAG: str = \\"\\"  # a text\\nSLEEP: float')
    )
    file = tmp_path / "toy.yaml"
    head = f"chapters: [01]\nnotebooks: {notebooks}\nseeds: [042]\nsleep: 010\ncpus_per_run: 02\n"
    file.write_text(f"{head}matrix:\n  TAG: [042, 1:30, 0.10, null]\n")
    grid = grids.read(file)
    assert grid.chapters == ("01",) and grid.threads == 2
    assert [run.varied for run in grid.runs] == [
        {"SEED": 42, "TAG": tag} for tag in ("042", "1:30", "0.10", "null")
    ]
    assert grid.runs[0].parameters == {"SLEEP": 10.0, "SEED": 42, "TAG": "042"}


def test_chapters_say_themselves_that_they_take_part_in_a_sweep(notebooks, tmp_path):
    grid = grids.expand({"seeds": [0]}, "x", tmp_path / "x")
    assert list(grid.chapters) == [c.number for c in discover() if c.sweep] and len(grid.chapters) > 1
    alone = grids.expand({"seeds": [0], "notebooks": str(notebooks)}, "x", tmp_path / "x")
    assert alone.chapters == ("01",), "where none says so, all do"


def test_an_axis_that_chapters_call_differently_is_refused(notebooks, tmp_path):
    text = (notebooks / "01_toy.ipynb").read_text()
    (notebooks / "02_other.ipynb").write_text(text.replace('"01"', '"02"').replace("SEED: int", "DRAW: int"))
    with pytest.raises(UsageError, match="seeds could mean SEED or DRAW") as caught:
        make(notebooks, tmp_path, chapters=["01", "02"])
    assert "matrix" in caught.value.remedy


def test_parallel_sizes_reach_the_chapters_that_serve_and_score(tmp_path):
    document = {
        "chapters": ["07", "08", "10"],
        "seeds": [0],
        "tensor_parallel_size": 2,
        "data_parallel_size": 4,
    }
    grid = grids.expand(document, "wide", tmp_path / "wide")
    values = values_for(select(discover(), grid.chapters), grid.runs[0].parameters)
    for number in ("08", "10"):
        assert values[number] == {"TENSOR_PARALLEL_SIZE": 2, "DATA_PARALLEL_SIZE": 4}
    for size in (0, -1):
        with pytest.raises(UsageError, match=f"TENSOR_PARALLEL_SIZE = {size} is out of range"):
            grids.expand(document | {"tensor_parallel_size": size}, "wide", tmp_path / "wide")
    with pytest.raises(UsageError, match="set by `tensor_parallel_size` and by `parameters`"):
        grids.expand(document | {"parameters": {"TENSOR_PARALLEL_SIZE": 1}}, "wide", tmp_path / "wide")


def test_files_here_are_named_in_full_because_a_worker_stands_elsewhere(notebooks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "mine.yaml").write_text("scheme: W8A8\n")
    grid = make(notebooks, tmp_path, models=["nano", "model", "ORG/NAME"], recipes=["mine.yaml"], seeds=[0])
    assert [run.parameters["MODEL"] for run in grid.runs] == ["nano", str(tmp_path / "model"), "ORG/NAME"]
    assert grid.runs[0].parameters["RECIPES"] == [str(tmp_path / "mine.yaml")]
    assert grid.runs[1].varied["MODEL"] == "model" and str(tmp_path) not in grid.runs[1].name
    assert grids.expand(
        {"name": "n", "chapters": ["01"], "seeds": [0], "notebooks": "notebooks"}, "n"
    ).notebooks.is_absolute()


def test_out_is_a_name_under_runs_or_a_path_as_for_run(notebooks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps({"chapters": ["01"], "seeds": [0], "notebooks": str(notebooks)}))
    assert grids.read(file).folder == RUNS / "toy"
    assert grids.read(file, "other").folder == RUNS / "other"
    assert grids.read(file, "./here").folder == tmp_path / "here"
    assert grids.read(file, str(tmp_path / "deep" / "er")).folder == tmp_path / "deep" / "er"
    for taken in (file, file / "below"):
        with pytest.raises(UsageError, match="is a file"):
            grids.read(file, str(taken))


def test_folder_names_are_safe_and_distinct():
    names = {
        grids._folder_name({"MODEL": m, "SEED": 1}, {"MODEL": "model", "SEED": "seed"})
        for m in ("../a", "a", "LGAI-EXAONE/EXAONE-4.0-1.2B", "한글")
    }
    assert len(names) == 4
    assert all("/" not in n and not n.startswith(".") for n in names)


@pytest.mark.notebook
def test_local_sweep_keeps_what_is_finished_and_survives_a_failure(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, recipes=["w8a8", "nvfp4"], seeds=[0])
    report = sweep(grid)
    assert [r.status for r in report.results] == ["ok", "failed"]
    assert "broken on purpose" in report.results[1].why
    assert report.exit_code == 1
    page = report.page.read_text()
    assert "broken on purpose" in page and "1 of 2" in page and "http" not in page.replace("http-equiv", "")
    stamp = (grid.folder / "w8a8-seed0" / "run.json").stat().st_mtime_ns
    again = sweep(grid)
    assert [r.status for r in again.results] == ["kept", "failed"]
    assert (grid.folder / "w8a8-seed0" / "run.json").stat().st_mtime_ns == stamp


@pytest.mark.notebook
def test_what_no_longer_holds_is_done_again_and_says_why(notebooks, tmp_path):
    """A leaderboard never shows rows of two versions side by side."""
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0, 1])
    assert sweep(grid).exit_code == 0
    assert survey(grid) == {"w8a8-seed0": "", "w8a8-seed1": ""}
    assert values_of(grid) == [("w8a8-seed0", 4), ("w8a8-seed1", 5)]
    notebook = notebooks / "01_toy.ipynb"
    notebook.write_text(notebook.read_text().replace("n=10", "n=20").replace("+ SEED +", "+ 10 * SEED + 7 +"))
    assert survey(grid)["w8a8-seed0"] == "chapter 01: changed: code"
    seen = []
    report = sweep(grid, progress=lambda result, done, total: seen.append(values_of(grid)))
    assert [r.status for r in report.results] == ["ok", "ok"]
    assert [r.why for r in report.results] == ["done again: chapter 01: changed: code"] * 2
    assert seen[0] == [
        ("w8a8-seed0", 11),
        ("w8a8-seed1", None),
    ]  # the old value of seed 1 is not beside the new one
    assert values_of(grid) == [("w8a8-seed0", 11), ("w8a8-seed1", 21)]
    result = next((grid.folder / "w8a8-seed0" / "results").glob("*.json"))
    result.write_text(result.read_text().replace("11", "12"))
    assert "changed or deleted" in survey(grid)["w8a8-seed0"]


@pytest.mark.notebook
def test_force_runs_again_what_did_not_change(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])
    sweep(grid)
    (measured,) = (grid.folder / "w8a8-seed0" / "results").glob("*.json")
    before = measured.stat().st_mtime_ns
    (result,) = sweep(grid, force=True).results
    assert result.status == "ok" and measured.stat().st_mtime_ns > before


@pytest.mark.notebook
def test_a_run_that_a_killed_sweep_left_behind_is_waited_for(notebooks, tmp_path):
    """It ends within seconds, and holds its folder until then; the sweep started again at once must not fail by it."""
    from filelock import FileLock

    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])
    (grid.folder / "w8a8-seed0").mkdir(parents=True)
    left_behind = FileLock(grid.folder / "w8a8-seed0" / ".lock", thread_local=False)
    left_behind.acquire()
    threading.Timer(2.5, left_behind.release).start()
    (result,) = sweep(grid).results
    assert (result.status, result.why) == ("ok", "")


@pytest.mark.notebook
def test_two_sweeps_in_one_folder_keep_out_of_each_others_way(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])

    def second(result, done, total):
        before = report_of(grid)
        with pytest.raises(WorkbookError, match="Another sweep is running in toy"):
            sweep(grid)
        assert report_of(grid) == before

    def report_of(grid):
        return (grid.folder / "leaderboard.json").read_text()

    assert sweep(grid, progress=second).exit_code == 0
    assert [r.status for r in sweep(grid).results] == ["kept"]


def test_a_failed_run_says_cause_and_remedy_of_this_attempt(tmp_path):
    (tmp_path / "log.txt").write_text("error: old news\n")
    since = (tmp_path / "log.txt").stat().st_size
    with open(tmp_path / "log.txt", "a") as log:
        log.write(
            "warming up\nerror: Another run is writing to x.\nExpected: none.\nWhat to do: Wait for it.\n"
        )
    assert (
        reason(tmp_path, since) == "Another run is writing to x.\nExpected: none.\nWhat to do: Wait for it."
    )
    end = (tmp_path / "log.txt").stat().st_size
    assert reason(tmp_path, end) == "it left no message"
    assert "SIGKILL" in reason(tmp_path, end, -9) and "memory" in reason(tmp_path, end, -9)


@pytest.mark.parametrize(
    "written", ["", "[]", '{"chapters": ["01"]', '{"chapters": ["01"], "runs": [3]}', "\x00"]
)
def test_a_damaged_sweep_json_is_said_plainly(notebooks, tmp_path, written):
    grid = make(notebooks, tmp_path)
    grid.folder.mkdir()
    (grid.folder / "sweep.json").write_text(written)
    with pytest.raises(UsageError, match="damaged") as caught:
        pin(grid)
    assert "Delete" in caught.value.remedy


def test_a_damaged_result_or_record_is_not_the_end_of_the_sweep(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, seeds=[0])
    folder = grid.folder / "w8a8-seed0"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "x.json").write_text("{")
    (row, _) = leaderboard_rows(grid, {"w8a8-seed0": TaskResult("w8a8-seed0", "ok")})
    assert "x.json" in row["why"]
    (folder / "run.json").write_text("{")
    assert survey(grid)["w8a8-seed0"] == "its run.json is damaged"


def test_the_page_says_n_and_the_interval_and_the_files_keep_every_digit(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])
    folder = RunFolder.at(grid.folder / "w8a8-seed0")
    folder.write_result(
        "accuracy", recipe="w8a8", value=0.123456789012, unit="fraction", n=64, interval=(0.1, 0.2), label="t"
    )
    folder.write_result("bytes", recipe="w8a8", value=6826344, unit="B")
    page = write_leaderboard(grid, {"w8a8-seed0": TaskResult("w8a8-seed0", "ok")}).read_text()
    for cell in (
        ">0.123457 (0.100000 to 0.200000)<",
        ">64<",
        ">6,826,344<",
        'data-sort="0.123456789012"',
        ">0<",
    ):
        assert cell in page, cell
    assert "0.123456789012,0.1,0.2,64,6826344" in (grid.folder / "leaderboard.csv").read_text()
    (row,) = json.loads((grid.folder / "leaderboard.json").read_text())
    assert row["accuracy t [fraction]"] == {"value": 0.123456789012, "low": 0.1, "high": 0.2}
    assert (row["SEED"], row["RECIPES"], row["bytes [B]"]) == (0, ["w8a8"], 6826344)


def run_cli(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["sweep", *map(str, words)])
    shown = capsys.readouterr()
    return end.value.code, shown.out, shown.err


def test_calls_that_cannot_work_end_with_one_message(notebooks, tmp_path, capsys):
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps({"chapters": ["01"], "seeds": [0], "notebooks": str(notebooks)}))
    out = f"{tmp_path}/out"
    for words, says in (
        (["--jobs", "0"], "--jobs 0"),
        (["--jobs", "-3"], "--jobs -3"),
        (["--store", "s3://x"], "--store has no effect with --on local"),
        (["--address", "h:1"], "--address has no effect with --on local"),
        (["--on", "ray", "--jobs", "2"], "--jobs has no effect with --on ray"),
        (["--out", str(file)], "is a file"),
        (["--out", "/proc/nowhere/x"], "cannot be written"),
    ):
        code, _, said = run_cli(capsys, file, *(words if "--out" in words else [*words, "--out", out]))
        assert code == 2 and says in said and "Traceback" not in said
        assert "Expected: " in said and "What to do: " in said
    with pytest.raises(UsageError, match="jobs is 0"):
        sweep(make(notebooks, tmp_path), jobs=0)
    assert not (tmp_path / "out").exists()


def test_an_address_that_fsspec_does_not_know_is_refused(notebooks, tmp_path):
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="nosuch"):
        next(engines.on_ray(make(notebooks, tmp_path), [], store="nosuch://bucket"))


def test_the_estimate_counts_what_is_left_in_one_line(notebooks, tmp_path):
    def said(seeds, kept=0, minutes=0.1):
        grid = dataclasses.replace(make(notebooks, tmp_path, recipes=["w8a8"], seeds=seeds), minutes=minutes)
        return workbook_runs._estimate(
            grid, {run.name: "" if n < kept else "not run yet" for n, run in enumerate(grid.runs)}
        )

    assert said([0]).startswith("Runs: 1, kept: 0, to do: 1, in about 0.1 minutes ")
    assert said([0, 1], minutes=2).startswith(
        "Runs: 2, kept: 0, to do: 2, in about 4.0 minutes one after the other"
    )
    assert said([0, 1, 2], kept=1, minutes=6.6).startswith(
        "Runs: 3, kept: 1, to do: 2, in about 13.2 minutes "
    )
    assert said([0, 1], kept=2) == "Runs: 2, kept: 2, to do: 0"


def test_a_narrow_table_does_not_break_the_title(notebooks, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    file = tmp_path / "a_rather_long_name_for_a_sweep_of_two_seeds.yaml"
    file.write_text(json.dumps({"chapters": ["01"], "seeds": [0, 1], "notebooks": str(notebooks)}))
    main_code, shown, _ = run_cli(capsys, file, "--out", f"{tmp_path}/o", "--dry-run")
    assert main_code in (0, None)
    assert f"Sweep {file.stem}, chapters: 01" in shown.splitlines()


@pytest.mark.notebook
def test_stopped_between_two_results_it_ends_what_still_runs(notebooks, tmp_path):
    """Ctrl-C while the leaderboard is written, say: the interrupt does not come to where the processes are awaited."""
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0], matrix={"SLEEP": [0.0, 40.0]})

    def stop(result, done, total):
        raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt
    ) as _held:  # whose traceback keeps the frames alive, as in the command line
        sweep(grid, jobs=2, progress=stop)
    started = [run for run in grid.runs if (grid.folder / run.name / "run.json").exists()]
    states = [json.loads((grid.folder / run.name / "run.json").read_text())["status"] for run in started]
    assert set(states) <= {"ok", "interrupted"} and states != ["ok", "ok"]
    assert sweep_is_free(grid)


def sweep_is_free(grid):
    from filelock import FileLock, Timeout

    try:
        with FileLock(grid.folder / ".lock").acquire(timeout=0):
            return True
    except Timeout:
        return False


@pytest.mark.notebook
@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_says_that_the_same_command_continues(notebooks, tmp_path, ending, code):
    file = tmp_path / "toy.yaml"
    file.write_text(
        json.dumps(
            {"chapters": ["01"], "seeds": [0], "notebooks": str(notebooks), "parameters": {"SLEEP": 60.0}}
        )
    )
    command = [sys.executable, "-m", "exaone_nb", "sweep", str(file), "--out", f"{tmp_path}/o"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "o" / "seed0" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(ending)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command continues" in said and "Traceback" not in said
    assert json.loads((tmp_path / "o" / "seed0" / "run.json").read_text())["status"] == "interrupted"


@pytest.mark.notebook
@pytest.mark.parametrize("cpus", [1, 3])
def test_the_grid_says_how_many_threads_a_run_has(notebooks, tmp_path, monkeypatch, cpus):
    """Not the shell: the same grid gives the same checkpoints on every engine, to the last bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0], cpus_per_run=cpus)
    assert sweep(grid).exit_code == 0
    assert values_of(grid) == [("w8a8-seed0", 4 + 100 * (cpus - 1))]
    with pytest.raises(WorkbookError, match="cpus_per_run"):
        pin(make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0], cpus_per_run=8))


def test_another_grid_may_not_use_the_folder_but_a_larger_one_may(notebooks, tmp_path):
    first = make(notebooks, tmp_path)
    first.folder.mkdir()
    pin(first)
    pin(make(notebooks, tmp_path, seeds=[0, 1, 2]))
    with pytest.raises(WorkbookError, match="another sweep"):
        pin(make(notebooks, tmp_path, recipes=["nvfp4"]))


@pytest.mark.notebook
def test_killed_in_the_middle_it_finishes_without_repeating(notebooks, tmp_path):
    """The sweep's own process is killed without a chance to clean up; its run must not go on behind its back."""
    grid = make(notebooks, tmp_path, parameters={"SLEEP": 3.0})
    file = tmp_path / "toy.yaml"
    file.write_text(
        json.dumps({"name": "toy", "chapters": ["01"], "recipes": ["w8a8", "fp8"], "seeds": [0, 1],
                    "notebooks": str(notebooks), "parameters": {"SLEEP": 3.0}})
    )  # fmt: skip
    command = [sys.executable, "-m", "exaone_nb", "sweep", str(file), "--out", str(grid.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not finished(grid.folder / "w8a8-seed0") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)  # the second run has begun
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stamp = (grid.folder / "w8a8-seed0" / "run.json").stat().st_mtime_ns
    time.sleep(2.0)
    report = sweep(grid, jobs=2)
    assert report.results[0].status == "kept"
    assert {r.status for r in report.results} <= {"ok", "kept"}
    assert (grid.folder / "w8a8-seed0" / "run.json").stat().st_mtime_ns == stamp
    assert [v for _, v in values_of(grid)] == [3, 4, 4, 5]


@pytest.mark.notebook
def test_time_limit_ends_a_run_and_says_so(notebooks, tmp_path):
    grid = make(
        notebooks, tmp_path, recipes=["w8a8"], seeds=[0], parameters={"SLEEP": 60.0}, timeout_minutes=0.08
    )
    (result,) = sweep(grid).results
    assert result.status == "timeout" and "ended after" in result.why


def started_cluster(tries=3):
    """A Ray cluster of one node. A node ends itself when its agent is not there within 15 s, which a busy machine misses."""
    from ray.cluster_utils import Cluster

    for left in reversed(range(tries)):
        cluster = Cluster(initialize_head=False)
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            return cluster
        except Exception:
            cluster.shutdown()
            if not left:
                raise


@pytest.mark.notebook
def test_ray_gives_the_same_and_survives_a_lost_node(notebooks, tmp_path):
    """Two real local nodes; the one that is working is ended in the middle. The table equals the local one."""
    pytest.importorskip("ray", reason="Ray is optional: make install-ray")
    alone = make(notebooks, tmp_path, name="alone")
    sweep(alone, jobs=2)
    grid = make(notebooks, tmp_path, name="cluster", parameters={"SLEEP": 2.0})
    cluster = started_cluster()
    second = cluster.add_node(num_cpus=1)
    lost = []

    def lose_a_node(result, done, total):
        if not lost:
            lost.append(result.name)
            cluster.remove_node(second, allow_graceful=False)

    try:
        report = sweep(grid, "ray", address=cluster.address, progress=lose_a_node)
    finally:
        cluster.shutdown()
    assert lost and [r.status for r in report.results] == ["ok"] * 4
    assert values_of(grid) == values_of(alone)


@pytest.mark.notebook
def test_ray_collects_through_an_address(notebooks, tmp_path):
    pytest.importorskip("ray", reason="Ray is optional: make install-ray")
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])
    cluster = started_cluster()
    try:
        report = sweep(grid, "ray", address=cluster.address, store=f"file://{tmp_path}/store")
    finally:
        cluster.shutdown()
    assert report.exit_code == 0
    assert (tmp_path / "store" / "w8a8-seed0" / "run.json").is_file()
    assert values_of(grid) == [("w8a8-seed0", 4)]
    assert survey(grid) == {"w8a8-seed0": ""}


def test_what_an_earlier_version_left_is_not_among_what_is_fetched(tmp_path, monkeypatch):
    pytest.importorskip("fsspec", reason="fsspec comes with Ray: make install-ray")
    store, here = tmp_path / "store", tmp_path / "toy" / "a"
    for old in (store / "a" / "results" / "old.json", here / "results" / "old.json"):
        old.parent.mkdir(parents=True)
        old.write_text("{}")

    def fake(grid, run, force):
        (grid.folder / run.name / "results").mkdir(parents=True)
        (grid.folder / run.name / "results" / "new.json").write_text("{}")
        return TaskResult(run.name, "ok")

    monkeypatch.setattr("exaone_nb.workbook.sweep.engines.execute", fake)
    run = grids.SweepRun("a", {}, {})
    grid = grids.Grid("toy", here.parent, ("01",), tmp_path, (run,), minutes=1)
    engines._execute_on_worker(grid, run, False, f"file://{store}")
    engines._fetch(f"file://{store}", here)
    assert [p.name for p in (here / "results").iterdir()] == ["new.json"]


def test_no_cluster_is_said_plainly(notebooks, tmp_path):
    pytest.importorskip("ray", reason="Ray is optional: make install-ray")
    grid = make(notebooks, tmp_path, recipes=["w8a8"], seeds=[0])
    with pytest.raises(WorkbookError, match="No Ray cluster"):
        sweep(grid, "ray", address="127.0.0.1:1")


def test_a_recipe_given_as_a_file_is_found_by_its_checkpoint(tmp_path):
    """The quantization chapter names the checkpoint after the file; scoring gets the same RECIPES in a sweep."""
    (chapter,) = select(discover(), ["10"])
    source = next(c["source"] for c in chapter.document["cells"] if "recipes = [" in c["source"])
    lines = source[source.index("recipes = [") : source.index("models = ")]
    names = {"RECIPES": [str(tmp_path / "mine.yaml"), "w8a8"]}
    exec(lines, names)
    assert names["recipes"] == ["mine", "w8a8"]
