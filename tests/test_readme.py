"""What the README tells people to type exists."""

import json
import re
import subprocess
import sys

from exaone_nb.hardware import REFERENCE
from exaone_nb.paths import NOTEBOOKS, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_verb_exists():
    help_text = subprocess.run(
        [sys.executable, "-m", "exaone_nb", "--help"], capture_output=True, text=True, check=True
    ).stdout
    verbs = set(re.findall(r"exaone-nb ([a-z]+)", TEXT))
    assert {"doctor", "run", "sweep", "plan"} <= verbs
    known = set(re.findall(r"^\s+([a-z]+)\s", help_text, re.MULTILINE))
    assert verbs <= known, verbs - known


def test_every_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    typed = re.findall(r"(?:`|^)make ([a-z]+(?:-[a-z]+)?)", TEXT, re.MULTILINE)
    assert {"report", "lab", "test"} <= set(typed)
    for target in typed:
        name = "bench-%" if target.startswith("bench-") else target
        assert re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE), target


def test_every_file_it_points_to_exists():
    for path in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert "://" in path or (ROOT / path).exists(), path


def test_every_chapter_is_in_the_table_with_the_minutes_that_were_recorded():
    for path in NOTEBOOKS.glob("*.ipynb"):
        recorded = json.loads(path.read_text(encoding="utf-8"))["metadata"]["exaone_nb"]["minutes"]
        line = re.search(rf"^\| {path.stem[:2]} .*\| ([\d.]+) \|$", TEXT, re.MULTILINE)
        assert line, path.stem
        assert float(line[1]) == recorded, path.stem
    assert f"recorded {REFERENCE.date}" in TEXT
