"""What a notebook imports is part of its cache key, so nothing that it executes may be missing from the list."""

from __future__ import annotations

import subprocess
import sys

import pytest
from notebook_maker import write_notebook

from exaone_nb.workbook import cache
from exaone_nb.workbook.chapters import discover, load

FILES = {
    "exaone_nb/__init__.py": "",
    "exaone_nb/a/__init__.py": "from exaone_nb.a import first",
    "exaone_nb/a/first.py": "def f():\n    from . import second\n    from ..b.deep import thing as other",
    "exaone_nb/a/second.py": "import json, numpy",
    "exaone_nb/a/alone.py": "",
    "exaone_nb/b/__init__.py": "",
    "exaone_nb/b/deep.py": "import subprocess\nCOMMAND = ['-m', 'exaone_nb.b.run']\nthing = 1",
    "exaone_nb/b/run.py": "import exaone_nb.c",
    "exaone_nb/c.py": "from exaone_nb.a.first import f",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(source, root):
    return sorted(name.removeprefix("exaone_nb").lstrip(".") for name in cache.imported(source, root))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import json", []),
        ("from exaone_nb.a.second import x", ["", "a", "a.first", "a.second", "b", "b.deep", "b.run", "c"]),
        ("import exaone_nb.c", ["", "a", "a.first", "a.second", "b", "b.deep", "b.run", "c"]),
        ("%matplotlib inline\n!ls\nif True:\n    %time x\nfrom exaone_nb import b", ["", "b"]),
        ("print(", ["", "a", "a.alone", "a.first", "a.second", "b", "b.deep", "b.run", "c"]),
    ],
)
def test_imports_in_functions_relative_ones_and_commands_count(package, source, expected):
    assert names(source, package) == expected


def test_an_edit_changes_the_fingerprint_of_that_module_alone(package):
    before = cache.imported("import exaone_nb.c", package)
    (package / "exaone_nb/b/deep.py").write_text("import exaone_nb.a.alone  # another")
    after = cache.imported("import exaone_nb.c", package)
    assert after.keys() - before.keys() == {"exaone_nb.a.alone"}
    assert {name for name in before.keys() & after.keys() if before[name] != after[name]} == {
        "exaone_nb.b.deep"
    }


def test_an_edit_of_what_is_imported_three_modules_away_makes_a_chapter_stale(package, tmp_path, monkeypatch):
    chapter = load(write_notebook(tmp_path / "nb", "01_a", [("code", "from exaone_nb.a import first")]))
    imported = cache.imported
    monkeypatch.setattr(cache, "imported", lambda source: imported(source, package))
    before = cache.key_parts(chapter, {}, tmp_path)
    (package / "exaone_nb/a/alone.py").write_text("changed = 1")
    assert cache.key_parts(chapter, {}, tmp_path) == before
    (package / "exaone_nb/b/run.py").write_text("import exaone_nb.c  # changed")
    after = cache.key_parts(chapter, {}, tmp_path)
    assert cache.why_stale(before, after) == "changed: code it imports (exaone_nb.b)"


LOADED = """
import sys
{source}
print(*sorted(n for n in sys.modules if n.partition('.')[0] == 'exaone_nb'))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("chapter", discover(), ids=lambda c: c.slug)
def test_whatever_python_loads_for_a_chapters_imports_is_in_the_list(chapter):
    """Python itself as the oracle: the import statements of each chapter, executed."""
    lines = [
        line
        for cell in chapter.document["cells"]
        if cell["cell_type"] == "code"
        for line in cell["source"].splitlines()
        if line.startswith(("import exaone_nb", "from exaone_nb")) and not line.endswith("(")
    ]
    assert lines
    code = LOADED.format(source="\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    found = cache.imported(
        "\n".join(c["source"] for c in chapter.document["cells"] if c["cell_type"] == "code")
    )
    assert set(done.stdout.split()) - found.keys() == set()


def test_the_race_of_the_norms_chapter_depends_on_the_module_that_makes_nano():
    found = cache.imported("from exaone_nb.architecture.race import race")
    assert any(name.startswith("exaone_nb.nano.") for name in found)
