"""Sweeps: grids are checked before anything runs, finished runs are kept, failures stay alone, Ray gives the same."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# A busy machine starts a node slowly; Ray reads this when it is imported.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "40")

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook.sweep import grid as grids
from exaone_nb.workbook.sweep.run import sweep
from exaone_nb.workbook.sweep.task import finished

PARAMETERS = """\
MODEL: str = "nano"  # model
RUN_DIR: str = ""  # run folder
RECIPES: list[str] = ["a"]  # recipes
SEED: int = 0  # seed
SLEEP: float = 0.0  # seconds
"""
# The value tells with how many threads a run computed: a checkpoint would, too.
WORK = """\
import os, time
from exaone_nb.run_folder import RunFolder
time.sleep(SLEEP)
if RECIPES == ["broken"]:
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
        "recipes": ["a", "bb"],
        "seeds": [0, 1],
        "notebooks": str(notebooks),
    }
    return grids.expand(document | changes, "toy", tmp_path / changes.get("name", "toy"))


def values_of(grid):
    table = json.loads((grid.folder / "leaderboard.json").read_text())
    return sorted((row["run"], row.get("accuracy toy [points]")) for row in table)


def test_the_grid_is_the_product_in_order(notebooks, tmp_path):
    grid = make(notebooks, tmp_path)
    assert [run.name for run in grid.runs] == ["a-seed0", "a-seed1", "bb-seed0", "bb-seed1"]
    assert grid.runs[2].parameters == {"RECIPES": ["bb"], "SEED": 0}
    assert grid.axes == ["RECIPES", "SEED"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipies": ["a"]}, "recipies"),
        ({"matrix": {"NO_SUCH": [1]}}, "NO_SUCH"),
        ({"seeds": ["x"]}, "SEED"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "same"),
        ({"name": "../up"}, "name"),
        ({"gpus_per_run": -1}, "gpus_per_run"),
        ({"parameters": 3}, "parameters"),
    ],
)
def test_bad_grids_are_refused_before_anything_runs(notebooks, tmp_path, changes, says):
    with pytest.raises(UsageError, match=says):
        make(notebooks, tmp_path, **changes)
    assert not (tmp_path / "toy").exists()


def test_no_axis_no_file_no_yaml(notebooks, tmp_path):
    with pytest.raises(UsageError, match="varies nothing"):
        grids.expand({"chapters": ["01"], "notebooks": str(notebooks)}, "x", tmp_path / "x")
    with pytest.raises(UsageError, match="no grid file"):
        grids.read(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UsageError, match="YAML"):
        grids.read(tmp_path / "bad.yaml")


def test_folder_names_are_safe_and_distinct():
    names = {
        grids._folder_name({"MODEL": m, "SEED": 1})
        for m in ("../a", "a", "LGAI-EXAONE/EXAONE-4.0-1.2B", "한글")
    }
    assert len(names) == 4
    assert all("/" not in n and not n.startswith(".") for n in names)


@pytest.mark.notebook
def test_local_sweep_keeps_what_is_finished_and_survives_a_failure(notebooks, tmp_path):
    grid = make(notebooks, tmp_path, recipes=["a", "broken"], seeds=[0])
    report = sweep(grid)
    assert [r.status for r in report.results] == ["ok", "failed"]
    assert "broken on purpose" in report.results[1].why
    assert report.exit_code == 1
    page = report.page.read_text()
    assert "broken on purpose" in page and "1 of 2" in page and "http" not in page.replace("http-equiv", "")
    stamp = (grid.folder / "a-seed0" / "run.json").stat().st_mtime_ns
    again = sweep(grid)
    assert [r.status for r in again.results] == ["kept", "failed"]
    assert (grid.folder / "a-seed0" / "run.json").stat().st_mtime_ns == stamp


@pytest.mark.notebook
@pytest.mark.parametrize("cpus", [1, 3])
def test_the_grid_says_how_many_threads_a_run_has(notebooks, tmp_path, monkeypatch, cpus):
    """Not the shell: the same grid gives the same checkpoints on every engine, to the last bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    grid = make(notebooks, tmp_path, recipes=["a"], seeds=[0], cpus_per_run=cpus)
    assert sweep(grid).exit_code == 0
    assert values_of(grid) == [("a-seed0", 1 + 100 * (cpus - 1))]
    with pytest.raises(WorkbookError, match="cpus_per_run"):
        grids.pin(make(notebooks, tmp_path, recipes=["a"], seeds=[0], cpus_per_run=8))


def test_another_grid_may_not_use_the_folder_but_a_larger_one_may(notebooks, tmp_path):
    first = make(notebooks, tmp_path)
    first.folder.mkdir()
    grids.pin(first)
    grids.pin(make(notebooks, tmp_path, seeds=[0, 1, 2]))
    with pytest.raises(WorkbookError, match="another sweep"):
        grids.pin(make(notebooks, tmp_path, recipes=["c"]))


@pytest.mark.notebook
def test_killed_in_the_middle_it_finishes_without_repeating(notebooks, tmp_path):
    """The sweep's own process is killed without a chance to clean up; its run must not go on behind its back."""
    grid = make(notebooks, tmp_path, parameters={"SLEEP": 3.0})
    file = tmp_path / "toy.yaml"
    file.write_text(
        json.dumps({"name": "toy", "chapters": ["01"], "recipes": ["a", "bb"], "seeds": [0, 1],
                    "notebooks": str(notebooks), "parameters": {"SLEEP": 3.0}})
    )  # fmt: skip
    command = [sys.executable, "-m", "exaone_nb", "sweep", str(file), "--out", str(grid.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not finished(grid.folder / "a-seed0") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)  # the second run has begun
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stamp = (grid.folder / "a-seed0" / "run.json").stat().st_mtime_ns
    time.sleep(2.0)
    report = sweep(grid, jobs=2)
    assert report.results[0].status == "kept"
    assert {r.status for r in report.results} <= {"ok", "kept"}
    assert (grid.folder / "a-seed0" / "run.json").stat().st_mtime_ns == stamp
    assert [v for _, v in values_of(grid)] == [1, 2, 2, 3]


@pytest.mark.notebook
def test_time_limit_ends_a_run_and_says_so(notebooks, tmp_path):
    grid = make(
        notebooks, tmp_path, recipes=["a"], seeds=[0], parameters={"SLEEP": 60.0}, timeout_minutes=0.08
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
    grid = make(notebooks, tmp_path, recipes=["a"], seeds=[0])
    cluster = started_cluster()
    try:
        report = sweep(grid, "ray", address=cluster.address, store=f"file://{tmp_path}/store")
    finally:
        cluster.shutdown()
    assert report.exit_code == 0
    assert (tmp_path / "store" / "a-seed0" / "run.json").is_file()
    assert values_of(grid) == [("a-seed0", 1)]


def test_no_cluster_is_said_plainly(notebooks, tmp_path):
    pytest.importorskip("ray", reason="Ray is optional: make install-ray")
    grid = make(notebooks, tmp_path, recipes=["a"], seeds=[0])
    with pytest.raises(WorkbookError, match="No Ray cluster"):
        sweep(grid, "ray", address="127.0.0.1:1")
