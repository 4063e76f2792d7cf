"""The engine as papermill's own users call it, and what of papermill, nbclient and jupyter_client it leans on.

An upgrade that changes one of their unwritten parts fails here first.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib

import psutil
import pytest
from notebook_maker import PARAMETERS, write_notebook

from exaone_nb.errors import WorkbookError
from exaone_nb.paths import NOTEBOOKS, ROOT
from exaone_nb.workbook import papermill_engine
from exaone_nb.workbook.chapters import load
from exaone_nb.workbook.kernel import Kernel
from exaone_nb.workbook.papermill_engine import ExaoneEngine

CELL = ("code", PARAMETERS, "parameters")
OURS = ("--engine", "exaone-nb")


@pytest.fixture
def shell(tmp_path):
    """Runs papermill as a fresh shell would: the package's entry points are found as pip would have written them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = tmp_path / "site" / "exaone_nb-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: exaone-nb\nVersion: 0\n")
    groups = project["entry-points"]
    lines = [f"[{g}]\n" + "\n".join(f"{k} = {v}" for k, v in names.items()) for g, names in groups.items()]
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment["PYTHONPATH"] = f"{installed.parent}{os.pathsep}{ROOT}"

    def papermill(*words, **options):
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", *map(str, words)]
        return subprocess.Popen(
            command,
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )

    return papermill


def executed(path):
    return json.loads(path.read_text(encoding="utf-8"))


def said(document):
    return "".join(
        "".join(o.get("text", ""))
        for c in document["cells"]
        for o in c.get("outputs", [])
        if o["output_type"] == "stream"
    )


@pytest.mark.notebook
@pytest.mark.parametrize("engine", [(), OURS], ids=["papermill alone", "ours"])
def test_papermill_executes_with_and_without_our_engine(shell, tmp_path, engine):
    code = "import os, time; time.sleep(0.3); print(N * 111, os.environ.get('OMP_WAIT_POLICY'), os.environ.get('EXAONE_NB_HEADLESS'))"
    made = write_notebook(tmp_path, "01_a", [("markdown", "# A"), CELL, ("code", code)])
    process = shell(made, tmp_path / "out.ipynb", *engine, "-p", "N", "5")
    assert process.communicate(timeout=120)[0].count("Traceback") == 0 and process.returncode == 0
    document = executed(tmp_path / "out.ipynb")
    about = document["metadata"]["papermill"]
    assert said(document) == ("555 PASSIVE 1\n" if engine else "555 None None\n")
    assert about["parameters"] == {"N": 5} and about["exception"] is None and about["duration"] > 0.3
    last = document["cells"][-1]["metadata"]["papermill"]
    assert last["status"] == "completed" and 0.3 < last["duration"] < about["duration"]
    if engine:
        assert about["exaone_nb"]["peak_bytes"] > 1e7 and about["exaone_nb"]["failure"] is None


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("code", "declared", "kind", "cell"),
    [
        ("raise ModuleNotFoundError(\"No module named 'planted'\")", {}, "missing package", 2),
        ("import os; os.kill(os.getpid(), 11)", {}, "dead kernel", 2),
        ("import time; time.sleep(600)", {"timeout_s": 1}, "timeout", 2),
    ],
)
def test_a_failure_is_in_the_copy_in_words(shell, tmp_path, code, declared, kind, cell):
    made = write_notebook(tmp_path, "01_a", [CELL, ("code", code), ("code", "print('never')")], **declared)
    process = shell(made, tmp_path / "out.ipynb", *OURS, "-p", "N", "5")
    text = process.communicate(timeout=120)[0]
    document = executed(tmp_path / "out.ipynb")
    failure = document["metadata"]["papermill"]["exaone_nb"]["failure"]
    assert process.returncode == 1 and failure["kind"] == kind and failure["cell"] == cell
    assert document["metadata"]["papermill"]["exception"] is True and "never" not in said(document)
    states = [c["metadata"]["papermill"]["status"] for c in document["cells"] if c["cell_type"] == "code"]
    assert states == ["completed", "completed", "failed", "pending"]
    assert failure["error"].splitlines()[0] in text


@pytest.mark.notebook
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_papermill_is_ended(shell, tmp_path, ending):
    made = write_notebook(
        tmp_path, "01_a", [("code", "import time; open('here', 'w').close(); time.sleep(600)")]
    )
    process = shell(made, tmp_path / "out.ipynb", *OURS)
    deadline = time.monotonic() + 60
    while not (tmp_path / "here").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(ending)
    process.communicate(timeout=60)
    psutil.wait_procs(family, timeout=20)
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.notebook
def test_a_chapter_of_the_workbook_with_a_real_parameter(shell, tmp_path):
    process = shell(
        NOTEBOOKS / "01_config_and_tensors.ipynb", tmp_path / "out.ipynb", *OURS, "-p", "MODEL", "nano"
    )
    assert process.communicate(timeout=300)[0].count("Traceback") == 0 and process.returncode == 0
    assert executed(tmp_path / "out.ipynb")["metadata"]["papermill"]["parameters"] == {"MODEL": "nano"}


def run_here(chapter, values=None, timed=False, **options):
    kernel = Kernel(timed)
    try:
        kernel.start(ROOT)
        return papermill_engine.execute(chapter, values or {}, kernel, 120, **options)
    finally:
        kernel.close()


@pytest.mark.notebook
def test_several_at_once_in_threads_on_sockets(tmp_path):
    code = "from ipykernel.kernelapp import IPKernelApp\nimport os\nprint(N, IPKernelApp.instance().transport, os.getcwd())"
    chapter = load(write_notebook(tmp_path, "01_a", [CELL, ("code", code)]))
    here, results = os.getcwd(), {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: run_here(chapter, {"N": n})})) for n in (3, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: said(result.document) for n, result in results.items()} == {
        n: f"{n} ipc {ROOT}\n" for n in (3, 5)
    }
    assert os.getcwd() == here
    for result in results.values():
        assert result.failure is None and result.peak_bytes > 1e7
        assert result.document["metadata"]["papermill"]["input_path"] == "01_a.ipynb"


@pytest.mark.notebook
def test_inside_a_running_event_loop(tmp_path):
    """A batch user's own notebook calls papermill from one."""
    import asyncio

    import nbformat

    papermill = papermill_engine.load()
    path = write_notebook(tmp_path, "01_a", [("code", "print('inside')")])

    async def call():
        return papermill.execute_notebook(
            nbformat.read(path, 4), None, engine_name=papermill_engine.NAME, progress_bar=False
        )

    assert said(asyncio.run(call())) == "inside\n"


@pytest.mark.notebook
def test_widgets_and_a_cell_that_may_fail_are_kept_as_papermill_keeps_them(tmp_path):
    cells = [
        ("code", "import ipywidgets; ipywidgets.IntSlider(value=7)"),
        ("code", "1 / 0", "raises-exception"),
        ("code", "print('after')"),
    ]
    made = run_here(load(write_notebook(tmp_path, "01_a", cells)))
    assert made.failure is None and said(made.document) == "after\n"
    states = made.document["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"][
        "state"
    ].values()
    assert [s["state"]["value"] for s in states if s["model_name"] == "IntSliderModel"] == [7]


@pytest.mark.notebook
@pytest.mark.parametrize("when", ["before it starts", "while it works"])
def test_ended_from_another_thread_it_is_gone_at_once(tmp_path, when):
    chapter = load(write_notebook(tmp_path, "01_a", [CELL, ("code", "import time; time.sleep(600)")]))
    kernel = Kernel()
    if when == "before it starts":
        kernel.end("stopped")
    kernel.start(ROOT)
    pid, began = kernel.manager.provisioner.pid, time.monotonic()
    second = threading.Event()
    threading.Thread(
        target=lambda: (second.wait(60), time.sleep(0.3), kernel.end("stopped")), daemon=True
    ).start()
    try:
        made = papermill_engine.execute(
            chapter, {}, kernel, 600, lambda done, total: second.set() if done == 2 else None
        )
        assert made.failure.kind == "dead kernel"
    except WorkbookError:
        assert when == "before it starts"
    finally:
        second.set()
        kernel.close()
    assert time.monotonic() - began < 60 and not psutil.pid_exists(pid)


def test_a_kernel_that_does_not_answer_is_an_error_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('planted last words')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkbookError, match="kernel did not start: planted last words"):
        run_here(load(write_notebook(tmp_path, "01_a", [CELL])))


def test_contract_papermill_asks_an_engine_for_these_methods():
    from papermill.engines import Engine, PapermillEngines

    theirs = {name for name, _ in inspect.getmembers(Engine, inspect.ismethod)} - {"execute_managed_notebook"}
    assert theirs == {"execute_notebook", "nb_kernel_name", "nb_language"}
    for name in theirs:
        ours, expected = (
            inspect.signature(getattr(kind, name)).parameters for kind in (ExaoneEngine, Engine)
        )
        assert list(expected)[: len(expected) - 1] == [
            n for n in ours if n in list(expected)[: len(expected) - 1]
        ], name
    engines = PapermillEngines()
    engines.register("x", ExaoneEngine)
    assert engines.get_engine("x") is ExaoneEngine


def test_contract_the_execution_manager_and_the_client_take_what_we_give():
    from nbclient import NotebookClient
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NotebookExecutionManager as Manager

    taken = inspect.signature(Manager).parameters
    assert list(taken) == ["nb", "output_path", "log_output", "progress_bar", "autosave_cell_every"]
    for name in (
        "notebook_start",
        "cell_start",
        "cell_exception",
        "cell_complete",
        "cleanup_pbar",
        "notebook_complete",
    ):
        assert callable(getattr(Manager, name))
    assert list(inspect.signature(PapermillNotebookClient.execute_cell).parameters) in (["args", "kwargs"], ["self", "cell", "cell_index"])  # fmt: skip
    assert issubclass(PapermillNotebookClient, NotebookClient)
    for trait in ("timeout", "coalesce_streams", "record_timing", "log_output", "stdout_file", "stderr_file"):
        assert PapermillNotebookClient.class_traits().get(trait) is not None, trait


@pytest.mark.notebook
def test_contract_jupyter_client_tells_how_a_kernel_ended():
    kernel = Kernel()
    try:
        kernel.start(ROOT)
        assert kernel.exit_code() is None
        os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
        assert kernel.exit_code() == -signal.SIGKILL
    finally:
        kernel.close()


@pytest.mark.notebook
def test_contract_nbclient_leaves_a_kernel_that_it_was_given(tmp_path):
    chapter = load(write_notebook(tmp_path, "01_a", [("code", "print('once')")]))
    kernel = Kernel()
    try:
        kernel.start(ROOT)
        pid = kernel.manager.provisioner.pid
        for _ in "ab":
            assert said(papermill_engine.execute(chapter, {}, kernel, 60).document) == "once\n"
            assert kernel.exit_code() is None and kernel.manager.provisioner.pid == pid
    finally:
        kernel.close()


def test_contract_papermill_does_without_the_slow_imports():
    """What is left out has a substitute; afterwards both can be imported as ever."""
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from exaone_nb.workbook import papermill_engine as e\n"
        "assert 'papermill' not in sys.modules and 'nbclient' not in sys.modules, 'the module itself imports nothing'\n"
        "papermill = e.load(); assert e.load() is papermill\n"
        "assert not set(e.SLOW_IMPORTS) & set(sys.modules), 'blocked only meanwhile'\n"
        "import nbformat, requests; assert requests.compat.chardet.__name__ == 'charset_normalizer'\n"
        "nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('1')]))\n"
        "import chardet, rfc3987_syntax\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.notebook
def test_an_unchanged_run_does_not_import_papermill(tmp_path):
    write_notebook(tmp_path / "nb", "01_a", [CELL])
    code = (
        "import sys; from exaone_nb.workbook.runner import run\n"
        f"report = run(out={str(tmp_path / 'r')!r} + '/', folder={str(tmp_path / 'nb')!r})\n"
        "print(report.outcomes[0].state, sorted({'papermill', 'nbclient', 'jupyter_client', 'nbformat'} & set(sys.modules)))"
    )
    first, again = (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in "ab"
    )
    assert first == "ok ['jupyter_client', 'nbclient', 'nbformat', 'papermill']\n" and again == "cached []\n"
