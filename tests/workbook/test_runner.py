"""Real runs of small notebooks: order, cache, failure, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from notebook_maker import PARAMETERS, counting_cell, write_notebook

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.workbook import store
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.execution import Executor, Schedule
from exaone_nb.workbook.runner import run, values_for

WRITES = (
    "code",
    "from exaone_nb.results import RunFolder\nRunFolder.at(RUN_DIR).write_result('x', recipe='r', value=N, unit='B')",
)
READS = (
    "code",
    "from exaone_nb.results import RunFolder\nprint(RunFolder.at(RUN_DIR).read_results('x')[0]['value'])",
)
CELL = ("code", PARAMETERS, "parameters")


def counts(path):
    return {p.stem: p.stat().st_size for p in path.glob("*.count")}


@pytest.fixture
def chain(tmp_path):
    """01 writes a result, 02 reads it; 03 stands alone."""
    folder = tmp_path / "notebooks"
    write_notebook(
        folder, "01_a", [("markdown", "# A"), CELL, counting_cell("01"), WRITES], writes=["results/x__*"]
    )
    write_notebook(folder, "02_b", [CELL, counting_cell("02"), READS], after=["01"], reads=["results/x__*"])
    write_notebook(folder, "03_c", [CELL, counting_cell("03")])
    return folder


@pytest.mark.notebook
def test_unchanged_chapters_are_kept_and_changed_ones_run_again(chain, tmp_path):
    out = tmp_path / "run"
    first = run(out=out, folder=chain)
    assert (first.record.status, first.exit_code) == ("ok", 0) and counts(out) == {"01": 1, "02": 1, "03": 1}
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "ok" and all(
        c["peak_bytes"] > 1e7 and c["seconds"] > 0 for c in record["chapters"].values()
    )
    assert first.pages[0].is_file() and (out / "html" / "02_b.html").is_file()

    again = run(out=out, folder=chain)
    assert [o.state for o in again.outcomes] == ["cached"] * 3 and counts(out) == {"01": 1, "02": 1, "03": 1}

    # A parameter: all that have it run again, and the reader sees the new value.
    run(out=out, folder=chain, parameters={"N": 5})
    assert counts(out) == {"01": 2, "02": 2, "03": 2}
    assert "5" in str(json.loads((out / "notebooks" / "02_b.ipynb").read_text())["cells"][-1]["outputs"])

    # What a chapter wrote is gone: it runs again. The reader's input is equal again, so it is kept.
    (out / "results" / "x__r.json").unlink()
    kept = run(out=out, folder=chain, parameters={"N": 5})
    assert (
        {o.number: o.state for o in kept.outcomes}["01"] == "ok"
        and counts(out)["01"] == 3
        and counts(out)["03"] == 2
    )

    # Prose: nothing runs, the page shows the new words.
    document = json.loads((chain / "01_a.ipynb").read_text())
    document["cells"][0]["source"] = "# New words"
    (chain / "01_a.ipynb").write_text(json.dumps(document))
    run(["01"], {"N": 5}, out, folder=chain)
    assert counts(out)["01"] == 3 and "New words" in (out / "html" / "01_a.html").read_text()

    # Code: it runs again. --force: everything does.
    document["cells"][-1]["source"] += "\nprint('more')"
    (chain / "01_a.ipynb").write_text(json.dumps(document))
    run(["01"], {"N": 5}, out, folder=chain)
    assert counts(out)["01"] == 4
    run(["03"], {"N": 5}, out, force=True, folder=chain)
    assert counts(out)["03"] == 3


@pytest.mark.notebook
def test_a_failure_is_explained_and_does_not_stop_the_others(tmp_path):
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    error = "from exaone_nb.errors import WorkbookError\nraise WorkbookError('No weights.', remedy='Get <b>them</b>.')"
    write_notebook(folder, "01_bad", [CELL, ("code", "print('before')"), ("code", error)])
    write_notebook(folder, "02_reader", [CELL], after=["01"])
    write_notebook(folder, "03_other", [CELL, ("code", "print('still runs')")])
    write_notebook(folder, "04_reader_of_reader", [CELL], after=["02"])
    report = run(out=out, folder=folder)
    assert {o.number: o.state for o in report.outcomes} == {
        "01": "failed",
        "02": "ok",
        "03": "ok",
        "04": "ok",
    }
    assert report.exit_code == 1
    assert [o.missing for o in report.outcomes] == [(), ("01",), (), ()]
    assert "Chapter 01 did not finish" in (out / "html" / "02_reader.html").read_text()
    failure = report.outcomes[0].failure
    assert (failure.kind, failure.cell, failure.remedy) == ("refused", 3, "Get <b>them</b>.")
    index = (out / "index.html").read_text()
    assert "No weights." in index and "Get &lt;b&gt;them&lt;/b&gt;." in index
    assert "before" in (out / "html" / "01_bad.html").read_text(), "what ran before the failure is shown"


@pytest.mark.notebook
def test_what_a_cut_chapter_made_is_read_unless_it_is_another_models(tmp_path):
    """The reader of a chapter that ran out of time gets what that made; never what an earlier run made of another model."""
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    hang = ("code", "import time\nif N == 5: time.sleep(600)")
    early = ("code", "if MODEL != 'nano': raise MemoryError")
    declared = {"writes": ["results/x__*"], "timeout_s": 20}
    write_notebook(folder, "01_a", [CELL, early, WRITES, hang], **declared)
    write_notebook(folder, "02_b", [CELL, READS], after=["01"], reads=["results/x__*"])
    first = run(parameters={"N": 5}, out=out, folder=folder)
    assert [o.state for o in first.outcomes] == ["failed", "ok"] and first.outcomes[1].missing == ("01",)
    assert '"text": "5\\n"' in (out / "notebooks" / "02_b.ipynb").read_text()

    assert run(parameters={"N": 3}, out=out, folder=folder).record.status == "ok"
    for _ in range(
        2
    ):  # the second call finds a failure of the first, and still knows whose results lie there
        other = run(parameters={"MODEL": "EXAONE-4.0-1.2B"}, out=out, folder=folder)
        assert [o.state for o in other.outcomes] == ["failed", "skipped"], other.outcomes
        assert "of another model" in other.outcomes[1].why
    assert (out / "results" / "x__r.json").is_file(), "nothing is thrown away"


@pytest.mark.notebook
def test_a_cost_is_said_before_the_start_and_cuts_what_the_kernel_gets(tmp_path):
    folder, out, said = tmp_path / "notebooks", tmp_path / "run", []
    source = PARAMETERS.replace("  # how many [choices: 3 | 5]", "")
    about = {"minutes": 0.1, "timeout_s": 60, "budget_minutes": 1, "shrink": {"N": 1}}
    # 3 * 10^4 passes: a second of nano, six minutes of the 1.2B.
    about |= {"work": {"flop": "2 * active * N * 10 ** 4"}, "memory": "2 * parameters"}
    write_notebook(folder, "01_a", [("code", source, "parameters"), ("code", "print(f'N is {N}')")], **about)

    def listen(event):
        said.extend(event.notes)

    values = {"MODEL": "EXAONE-4.0-1.2B"}
    (made,) = run(parameters=values, out=out, folder=folder, progress=listen).outcomes
    assert made.predicted.smaller == ("N",) and made.predicted.bytes == 1_000_000_000 + 2 * 1_279_391_488
    assert made.predicted.limit_s > 60
    assert said[0].startswith("Predicted: ") and said[1].startswith("N is 1 instead of 3")
    assert "N is 1" in str(json.loads((out / "notebooks" / "01_a.ipynb").read_text())["cells"][-1]["outputs"])
    assert "N is 1 instead of 3" in (out / "html" / "01_a.html").read_text()
    assert "Predicted memory" in (out / "index.html").read_text()
    assert json.loads((out / "run.json").read_text())["chapters"]["01"]["predicted"]["smaller"] == ["N"]
    (again,) = run(parameters=values, out=out, folder=folder).outcomes
    assert again.state == "cached"
    (whole,) = run(parameters=values | {"N": 3}, out=out, folder=folder, timeout_s=50).outcomes
    assert whole.state == "ok" and whole.predicted.smaller == () and whole.predicted.limit_s == 50
    (small,) = run(out=out, folder=folder).outcomes
    assert small.state == "ok" and small.predicted.smaller == () and small.predicted.work_seconds < 2


def test_chapters_run_side_by_side_by_what_they_take_with_this_model(tmp_path):
    folder = tmp_path / "notebooks"
    for name in ("01_a", "02_b"):
        write_notebook(folder, name, [CELL], memory_gb=0.5, memory="4 * parameters")
    chapters = discover(folder)
    for model, at_once in (("nano", 2), ("EXAONE-4.0-1.2B", 1)):
        executor = Executor(tmp_path, values_for(chapters, {"MODEL": model}))
        schedule = Schedule(chapters, 4, 8e9, executor.memory_bytes)
        assert len(schedule.startable(chapters, [])) == at_once


@pytest.mark.notebook
def test_a_killed_kernel_and_a_slow_one_are_recognised(tmp_path):
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    write_notebook(folder, "01_killed", [("code", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")])
    write_notebook(folder, "02_slow", [("code", "import time; time.sleep(600)")], timeout_s=1, heavy=True)
    report = run(out=out, folder=folder)
    assert [o.failure.kind for o in report.outcomes] == ["killed", "timeout"]
    assert "was not here" in report.outcomes[0].failure.why
    assert report.record.seconds < 60
    for slug, said in (("01_killed", "The kernel was killed"), ("02_slow", "did not finish within 1 s")):
        assert said in (out / "html" / f"{slug}.html").read_text().split("</section>")[1], (
            "also where it happened"
        )


@pytest.mark.notebook
def test_a_kernel_that_is_killed_where_memory_is_short_is_out_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("exaone_nb.processes.available_bytes", lambda: 5e7)
    write_notebook(tmp_path / "notebooks", "01_a", [("code", "import os; os.kill(os.getpid(), 9)")])
    report = run(out=tmp_path / "run", folder=tmp_path / "notebooks", memory_gb=1)
    assert report.outcomes[0].failure.kind == "out of memory"


@pytest.mark.notebook
def test_a_kernel_that_cannot_start_says_why(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    write_notebook(folder, "01_a", [CELL])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise ImportError('planted: no kernel here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(WorkbookError, match=r"(?s)kernel did not start.*planted: no kernel here"):
        run(out=tmp_path / "run", folder=folder)


@pytest.mark.notebook
def test_an_interrupted_neighbour_says_nothing(tmp_path, capfd):
    """A full disk ends the run while another chapter works; its kernel's complaints are nobody's news."""
    folder = tmp_path / "notebooks"
    write_notebook(folder, "01_a", [CELL, ("code", "import time; time.sleep(60)")])
    write_notebook(folder, "02_b", [CELL])

    def full(*arguments):
        raise WorkbookError("The disk became full.")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(WorkbookError, match="became full"):
        patch.setattr("exaone_nb.workbook.store.keep", full)
        run(out=tmp_path / "run", folder=folder, jobs=2)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.notebook
def test_a_chapter_sees_nothing_of_the_one_before(tmp_path):
    folder = tmp_path / "notebooks"
    dirty = "import os, warnings, matplotlib; left = 1; os.environ['LEFT'] = '1'; os.chdir('/'); matplotlib.rcParams['font.size'] = 40"
    check = (
        "import os, sys\nassert 'left' not in globals() and 'LEFT' not in os.environ and os.getcwd() != '/'\n"
        "assert 'torch' not in sys.modules; import matplotlib; assert matplotlib.rcParams['font.size'] != 40"
    )
    write_notebook(folder, "01_dirty", [("code", dirty)])
    write_notebook(folder, "02_clean", [("code", check)], after=["01"])
    report = run(out=tmp_path / "run", folder=folder, jobs=1)
    assert report.record.status == "ok", report.outcomes


@pytest.mark.notebook
def test_light_chapters_overlap_and_heavy_ones_do_not(tmp_path):
    stamp = "import time, json, pathlib; a = time.time(); time.sleep(4); pathlib.Path(RUN_DIR, '{}.span').write_text(json.dumps([a, time.time()]))"
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    for name, heavy in (("01_a", False), ("02_b", False), ("03_c", True), ("04_d", True)):
        write_notebook(folder, name, [CELL, ("code", stamp.format(name[:2]))], heavy=heavy)
    assert run(out=out, folder=folder, jobs=2).record.status == "ok"
    spans = {n: json.loads((out / f"{n}.span").read_text()) for n in ("01", "02", "03", "04")}

    def overlap(a, b):
        return spans[a][0] < spans[b][1] and spans[b][0] < spans[a][1]

    assert overlap("01", "02")
    assert not any(
        overlap(a, b) for a, b in (("01", "03"), ("02", "03"), ("03", "04"), ("01", "04"), ("02", "04"))
    )


@pytest.mark.notebook
def test_the_longest_light_chapter_starts_first_and_heavy_ones_keep_their_place(tmp_path):
    folder, started = tmp_path / "notebooks", []
    for name, heavy, minutes in (
        ("00_a", True, 1),
        ("01_b", False, 1),
        ("02_c", False, 3),
        ("03_d", True, 9),
    ):
        write_notebook(folder, name, [CELL], heavy=heavy, minutes=minutes)

    def note_start(event):
        if event.kind == "start":
            started.append(event.chapter.number)

    assert run(out=tmp_path / "run", folder=folder, jobs=2, progress=note_start).record.status == "ok"
    assert started == ["00", "02", "01", "03"]


@pytest.mark.notebook
def test_threads_wait_without_spinning_unless_something_is_timed(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    folder, code = tmp_path / "notebooks", "import os; assert os.environ.get('OMP_WAIT_POLICY') == {!r}"
    write_notebook(folder, "01_light", [("code", code.format("PASSIVE"))])
    write_notebook(folder, "02_heavy", [("code", code.format("PASSIVE"))], heavy=True)
    write_notebook(folder, "03_timed", [("code", code.format(None))], heavy=True, timed=True)
    report = run(out=tmp_path / "run", folder=folder)
    assert report.record.status == "ok", report.outcomes


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub's client, and a download that puts the 1.2B's weights there. Yields what was asked for."""
    from exaone_nb.workbook import runner

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    asked = []

    def download(model):
        asked.append(model)
        place = tmp_path / "hub" / "models--LGAI-EXAONE--EXAONE-4.0-1.2B"
        for folder in ("refs", "snapshots/abc"):
            (place / folder).mkdir(parents=True)
        (place / "refs" / "main").write_text("abc")
        (place / "snapshots" / "abc" / "config.json").write_text("{}")
        (place / "snapshots" / "abc" / "model.safetensors").write_text("x")

    monkeypatch.setattr(runner, "weights_folder", download)
    return asked


@pytest.mark.notebook
def test_weights_come_before_the_first_chapter_so_that_all_show_one_model(tmp_path, hub):
    folder, model, events = tmp_path / "notebooks", "LGAI-EXAONE/EXAONE-4.0-1.2B", []
    write_notebook(folder, "01_config", [CELL])
    write_notebook(folder, "02_loads", [CELL], weights=True)
    # Without a chapter that loads them nothing is fetched, and the published config is shown.
    report = run(["01"], {"MODEL": model}, tmp_path / "run", folder=folder)
    assert hub == [] and report.record.chapters["01"].mode == report.record.mode == "recorded"
    report = run([], {"MODEL": model}, tmp_path / "run", folder=folder, progress=events.append)
    assert hub == [model]
    assert (events[0].kind, events[0].text) == ("fetch", model)
    states = {number: (made.state, made.mode) for number, made in report.record.chapters.items()}
    assert states == {"01": ("ok", "live"), "02": ("ok", "live")}, "01 is not kept: its model is here now"
    assert report.record.mode == "live"
    run([], {"MODEL": model}, tmp_path / "run", folder=folder)
    assert len(hub) == 1


def test_weights_that_cannot_be_had_are_told_and_nothing_is_fetched_for_what_is_here(tmp_path, monkeypatch):
    from exaone_nb.errors import WorkbookError
    from exaone_nb.workbook import runner
    from exaone_nb.workbook.chapters import discover

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_notebook(tmp_path / "notebooks", "02_loads", [CELL], weights=True)
    chapters, events = discover(tmp_path / "notebooks"), []

    def refuse(model):
        raise WorkbookError("the hub is away")

    monkeypatch.setattr(runner, "weights_folder", refuse)
    runner._fetch_weights("EXAONE-4.0-1.2B", chapters, events.append)
    assert [(e.kind, e.text) for e in events] == [
        ("fetch", "LGAI-EXAONE/EXAONE-4.0-1.2B"),
        ("unfetched", "the hub is away"),
    ]
    for model in ("nano", str(tmp_path), "no such model"):
        runner._fetch_weights(model, chapters, events.append)
    assert len(events) == 2


@pytest.mark.notebook
def test_a_changed_parameter_is_marked_with_its_default(tmp_path):
    write_notebook(tmp_path / "notebooks", "01_a", [CELL])
    report = run(parameters={"N": 5}, out=tmp_path / "run", folder=tmp_path / "notebooks")
    row = re.search(r'<tr class="changed-row">.*?</tr>', report.pages[0].read_text(), re.DOTALL)[0]
    assert all(
        part in row for part in ("<code>N</code>", "<code>5</code>", ">changed<", "default: <code>3</code>")
    )


@pytest.mark.notebook
def test_secrets_do_not_reach_what_is_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_API_TOKEN", "planted-secret-31415926")
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    code = "import os; print(os.environ['PLANTED_API_TOKEN']); print(os.path.expanduser('~/x')); os.environ['PLANTED_API_TOKEN']"
    picture = (
        "import matplotlib.pyplot as plt, os\nfrom exaone_nb.workbook import show\nf, a = plt.subplots()\n"
        "a.set_title(os.environ['PLANTED_API_TOKEN']); show(f, alt=os.environ['PLANTED_API_TOKEN'])"
    )
    write_notebook(folder, "01_a", [CELL, ("code", code), ("code", picture)])
    write_notebook(
        folder, "02_b", [("code", "raise ValueError(__import__('os').environ['PLANTED_API_TOKEN'])")]
    )
    model = tmp_path / "planted-secret-31415926"
    model.mkdir()
    run(out=out, folder=folder, parameters={"MODEL": str(model)}, single=True)
    written = [p for p in out.rglob("*") if p.is_file()]
    assert len(written) >= 6
    for path in written:
        content = path.read_text(encoding="utf-8")
        assert "31415926" not in content, path.name
        assert str(os.path.expanduser("~")) + "/" not in content, path.name


@pytest.mark.notebook
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_no_process_and_the_next_one_goes_on(request, tmp_path, sent, code):
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    child = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)"
    wait = "import pathlib, time; flag = pathlib.Path(RUN_DIR, 'go'); pathlib.Path(RUN_DIR, 'here').touch()\nwhile not flag.exists(): time.sleep(0.1)"
    write_notebook(folder, "01_a", [CELL, counting_cell("01")])
    write_notebook(folder, "02_b", [CELL, counting_cell("02"), ("code", child), ("code", wait)], after=["01"])
    command = [
        sys.executable,
        "-c",
        "from exaone_nb.cli import main; main()",
        "run",
        "--notebooks",
        str(folder),
        "--out",
        str(out),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.kill)
    deadline = time.monotonic() + 90
    while not (out / "here").exists():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(0.5)  # one sample of the process tree
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    with pytest.raises(WorkbookError, match="Another run"), store.exclusive(out):
        pass
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.strip() == "Stopped. What finished is kept; the same command continues."
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "interrupted" and record["chapters"]["02"]["status"] == "interrupted"
    assert "interrupted" in (out / "index.html").read_text()

    (out / "go").touch()
    report = run(out=out, folder=folder)
    assert report.record.status == "ok" and counts(out) == {"01": 1, "02": 2}


@pytest.mark.parametrize("number", ["01", "1", 1, "01_a", "01_a.ipynb"])
def test_one_chapter_can_be_named_in_every_way_that_select_knows(chain, number):
    chapters = discover(chain)
    expected = {"01": {"N": 5}, "02": {}, "03": {}}
    assert values_for(chapters, {number: {"N": 5}}) == expected == values_for(chapters, {f"{number}.N": "5"})


@pytest.mark.notebook
@pytest.mark.parametrize("damage", ["a cell less", "a cell more", "half"])
def test_an_executed_copy_that_somebody_changed_is_made_again(chain, tmp_path, damage):
    out = tmp_path / "run"
    run(["03"], out=out, folder=chain)
    copy = out / "notebooks" / "03_c.ipynb"
    document = json.loads(copy.read_text())
    if damage == "half":
        copy.write_text(copy.read_text()[:200])
    else:
        cells = document["cells"]
        document["cells"] = cells[:-1] if damage == "a cell less" else [*cells, cells[-1]]
        copy.write_text(json.dumps(document))
    seen = []
    report = run(["03"], out=out, folder=chain, progress=lambda event: seen.append((event.kind, event.text)))
    assert report.record.status == "ok" and counts(out) == {"03": 2}
    assert ("start", "its executed copy was changed") in seen
    json.loads(copy.read_text())


@pytest.mark.notebook
def test_a_chapter_says_when_it_began_and_older_pages_do_not_stand_beside_a_newer_index(tmp_path):
    folder, out = tmp_path / "notebooks", tmp_path / "run"
    write_notebook(folder, "01_a", [CELL, ("code", "import time; time.sleep(1.5); print(f'N was {N}')")])
    first = run(out=out, folder=folder, single=True)
    entry = json.loads((out / "run.json").read_text())["chapters"]["01"]
    assert entry["began"] < entry["ended"] and "commit" in entry["origin"]
    assert first.pages == (out / "index.html", out / "report.html")
    again = run(out=out, folder=folder, parameters={"N": 5})
    assert again.pages == first.pages and "N was 5" in (out / "report.html").read_text()


def test_a_pdf_without_a_browser_is_refused_before_anything_starts(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nowhere"))
    with pytest.raises(WorkbookError, match="is no program"):
        run(out=tmp_path / "r", folder=chain, pdf=True)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "call",
    [
        {"chapters": ["09"]},
        {"parameters": {"M": 1}},
        {"parameters": {"N": "many"}},
        {"jobs": -1},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"memory_gb": -5},
        {"parameters": {"05": {1: 2}}},
        {"parameters": {"MODEL": "nanoo"}},
        {"out": ".."},
    ],
)
def test_bad_calls_are_refused_before_anything_starts(chain, tmp_path, call, monkeypatch):
    monkeypatch.setattr("exaone_nb.results.RUNS", tmp_path / "runs")
    with pytest.raises(UsageError):
        run(**{"folder": chain, **call})
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_a_run(chain, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        run(out=tmp_path / "file", folder=chain)
    with pytest.raises(UsageError, match="no chapters"):
        run(out=tmp_path / "r", folder=tmp_path)
