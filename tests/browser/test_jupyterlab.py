"""JupyterLab as a learner meets it: open a chapter, Run All, see figures and no error."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from exaone_nb.paths import NOTEBOOKS, RUNS

pytestmark = [pytest.mark.browser, pytest.mark.notebook]
# All take as long as a report: `make test-lab` runs them, in order, because they read each other's results, and with
# EDITION=ko those in Korean.
EDITION = os.environ.get("EXAONE_NB_LAB", "")
CHAPTERS = (
    sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    if EDITION
    else ["01_config_and_tensors", "02_parameters_and_memory"]
)
FOLDER, RIGHT, NOT_YET = {
    "ko": ("ko/", "맞았습니다. 시험한 입력", "아직입니다."),
}.get(EDITION, ("", "right. Inputs tried", "not yet."))
LIMIT_MS = 180_000
RUN_LIMIT_MS = 900_000
STARTED = "() => Array.from(document.querySelectorAll('.jp-InputArea-prompt')).some(e => /[*\\d]/.test(e.textContent))"
# All code cells that show their code carry a number and none a star, or one of them shows an error.
FINISHED = """
count => {
  const prompts = Array.from(document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt'), e => e.textContent);
  return prompts.filter(text => /\\[\\d+\\]/.test(text)).length === count
    || document.querySelector('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]');
}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab on this machine over copies of the notebooks, with a token."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, home / "notebooks")
    # The whole notebook in the page, not only the cells in view: the test looks at all of them.
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    token = secrets.token_hex(16)
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_TOKEN": token,
    }  # fmt: skip
    log = home / "log"
    with open(log, "w") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
             "--ServerApp.port_retries=0", f"--ServerApp.root_dir={home / 'notebooks'}", "--LabApp.news_url=None",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            stdout=handle, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (match := re.search(r"http://127\.0\.0\.1:(\d+)/lab", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{match[1]}/lab/workspaces/{{0}}/tree/{FOLDER}{{0}}.ipynb?token={token}"
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(30)
        for child in family:
            if child.is_running():
                child.kill()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_run_all(lab, browser, chapter):
    cells = json.loads((NOTEBOOKS / f"{FOLDER}{chapter}.ipynb").read_text("utf-8"))["cells"]
    code = sum(cell["cell_type"] == "code" for cell in cells)
    solutions = sum("solution" in cell["metadata"].get("tags", []) for cell in cells)
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    page = context.new_page()
    page.goto(lab.format(chapter), timeout=LIMIT_MS)
    page.locator(".jp-NotebookPanel .jp-CodeCell").nth(code - 1).wait_for(state="attached", timeout=LIMIT_MS)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(
        state="attached", timeout=LIMIT_MS
    )
    page.get_by_text("| Idle").wait_for(timeout=LIMIT_MS)
    for _ in range(
        4
    ):  # on a busy machine JupyterLab drops a Run All that comes before its socket to the kernel is open
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            page.wait_for_function(STARTED, timeout=20_000)
            break
        except PlaywrightTimeout:
            continue
    shots = RUNS / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    try:
        # A solution's code is folded away, its number with it; what it says is not.
        page.wait_for_function(FINISHED, arg=code - solutions, timeout=RUN_LIMIT_MS)
    finally:
        page.screenshot(path=shots / f"lab-{EDITION or 'light'}-{chapter}.png")
    errors = page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.count() == 0, errors.first.inner_text()
    assert page.get_by_text(RIGHT).count() == solutions
    assert solutions or chapter[:2] in ("00", "12")  # from config to scoreboard there is something to write
    assert page.get_by_text(NOT_YET).count() == solutions
    controls = sum("show_widget(" in "".join(cell["source"]) for cell in cells)
    assert page.locator(".enb-widget[role=group]").count() == controls, (
        "every control was drawn by its script"
    )
    figures = page.evaluate(
        "Array.from(document.querySelectorAll('figure.enb img'), i => i.naturalWidth > 0 && i.alt.length > 0)"
    )
    drawn = any(re.search(r"^\s*show\(", "".join(cell["source"]), re.MULTILINE) for cell in cells)
    assert bool(figures) == drawn and all(figures)
    context.close()
