"""What the README tells people to type exists."""

import json
import re
import subprocess
import sys

from exaone_nb.hardware import REFERENCE
from exaone_nb.paths import NOTEBOOKS, ROOT
from exaone_nb.workbook import cost
from exaone_nb.workbook.runner import predict

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


def test_the_minutes_of_the_real_model_are_those_that_are_predicted(monkeypatch, tmp_path):
    """With recorded speeds, a network and 32 GB of memory, whatever machine tests this."""
    for name in cost.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cost, "this_gpu", lambda: None)
    monkeypatch.setattr(cost, "total_bytes", lambda: 32 * 10**9)
    cost.sizes_of.cache_clear()
    found = [
        predict((), {"MODEL": "EXAONE-4.0-1.2B"}, tmp_path, card=card)
        for card in ("L4", "T4", "A100-80GB", "")
    ]
    cost.sizes_of.cache_clear()
    table = TEXT.partition("| chapter | L4 | T4 | A100 | 2 cores, no GPU |")[2].partition("\n\n")[0]
    rows = re.findall(
        r"^\| (\d\d) [^|]*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", table, re.MULTILINE
    )
    assert len(rows) == 7
    for number, *minutes in rows:
        (slug,) = [slug for slug in found[0] if slug.startswith(number)]
        assert [float(m) for m in minutes] == [round(costs[slug][0].seconds / 60, 1) for costs in found], slug
    sums = re.search(r"^\| together \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", table, re.MULTILINE).groups()
    assert [int(m) for m in sums] == [
        round(sum(c.seconds for c, _ in costs.values()) / 60) for costs in found
    ]
    gb = [max(c.bytes for c, _ in costs.values()) / 1e9 for costs in (found[0], found[3])]
    assert f"{gb[0]:.0f} GB of memory beside a card and {gb[1]:.0f} GB without one" in re.sub(
        r"\s+", " ", TEXT
    )
