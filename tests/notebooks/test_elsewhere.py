"""The notebook for Colab and Kaggle, and the links to it.

`make test-colab` runs its cells in a simulated one: a Python with other versions of numpy, pandas and protobuf, whose
environment variables point elsewhere, as Colab's do.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from exaone_nb.paths import ROOT

NOTEBOOK = ROOT / "notebooks" / "elsewhere" / "colab_kaggle.ipynb"
THEIRS = ("numpy==1.26.4", "pandas==2.1.4", "protobuf==3.20.3", "ipython==8.30.0", "pip")


def cell(name: str) -> str:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return next("".join(each["source"]) for each in cells if each["id"] == name)


def test_every_link_has_the_one_address():
    spec = importlib.util.spec_from_file_location("links", ROOT / "scripts" / "links.py")
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    wanted = links.wanted()
    assert len(wanted) == 2 + len(list((ROOT / "notebooks").glob("*.ipynb")))
    stale = [path.name for path, text in wanted.items() if path.read_text("utf-8") != text]
    assert not stale, "make links"
    assert all(
        text.count("blob/main/notebooks/elsewhere") == 1 for path, text in wanted.items() if path != NOTEBOOK
    )


def test_what_a_user_or_papermill_sets_stands_in_one_tagged_cell():
    cells = [each for each in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if each["cell_type"] == "code"]
    assert [each["id"] for each in cells if "parameters" in each["metadata"].get("tags", [])] == [
        "parameters"
    ]
    assert cells[0]["id"] == "parameters"
    set_there = {line.split(" = ")[0] for line in cell("parameters").splitlines()}
    assert set_there == {"SOURCE", "WHOLE", "CHAPTERS", "PARAMETERS"}


def test_it_is_stored_clean_and_names_no_place_of_a_machine():
    for each in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        assert each["cell_type"] == "markdown" or (each["outputs"], each["execution_count"]) == ([], None)
    text = NOTEBOOK.read_text("utf-8")
    assert "/content" not in text and "/kaggle/" not in text  # it stands where the notebook stands


@pytest.mark.skipif(
    not os.environ.get("EXAONE_NB_COLAB"), reason="minutes of installing; `make test-colab` runs it"
)
def test_a_simulated_colab_keeps_its_packages_and_gets_the_chapters(tmp_path):
    host = tmp_path / "host"
    subprocess.run([sys.executable, "-m", "venv", host], check=True)
    python = host / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *THEIRS], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    here = tmp_path / "content"
    here.mkdir()
    # Colab's own settings: modules of its Python, and a backend that the other one does not have.
    settings = {
        "PYTHONPATH": str(tmp_path / "env"),
        "MPLBACKEND": "module://colab_inline.backend",
        "PYTHONWARNINGS": "ignore",
    }
    setup = cell("parameters")
    address = json.dumps(wheel.as_uri())
    assert setup.count("SOURCE = ") == 1 and setup.count("WHOLE = False") == 1
    source = "\n".join(
        f"SOURCE = {address}" if line.startswith("SOURCE = ") else line for line in setup.splitlines()
    )
    program = tmp_path / "cells.py"
    program.write_text("\n".join([source, cell("setup"), cell("run"), cell("ask")]), encoding="utf-8")
    before = frozen(python)
    outputs = []
    for _ in range(2):  # to run the cells again does no harm
        done = subprocess.run(
            [python, program],
            cwd=here,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=900,
        )
        outputs.append(done.stdout)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
        assert frozen(python) == before
    pages = {
        page.name[:2] for page in (here / "exaone-workbook" / "runs" / "here" / "html").glob("[0-9]*.html")
    }
    assert pages == {"00", "01", "02"}
    assert all("Fits" in text or "fits" in text for text in outputs)
    assert sorted(path.name for path in here.iterdir()) == ["exaone-workbook"]


def frozen(python) -> list[str]:
    done = subprocess.run(
        [python, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True
    )
    found = sorted(done.stdout.split())
    assert {name for name in found if name.startswith(("numpy", "pandas", "protobuf"))} == set(THEIRS[:3])
    return found
