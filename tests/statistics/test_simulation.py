"""A small part of `make bench-statistics`, and the table that it recorded."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from exaone_nb.paths import DATA, ROOT

TABLE = DATA / "measured" / "intervals.json"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import bench_statistics
    finally:
        sys.path.pop(0)
    return bench_statistics


@pytest.mark.parametrize(("n", "rate"), [(25, 0.1), (100, 0.02)])
def test_intervals_hold_the_truth(bench, n, rate):
    """With 600 draws the worst of fifteen settings may come out three points too low."""
    found = bench.coverages(n, rate, 2400, np.random.default_rng(1))
    assert len(found) == 5 and min(found.values()) > 0.92


def test_tests_keep_their_size_and_find_what_is_there(bench):
    rows = {row["test"]: row for row in bench.rates_of_tests(100, 0.2, 2000, np.random.default_rng(2))}
    for name, row in rows.items():
        assert row["size"] is None or row["size"] < 0.08, name
    assert rows["McNemar exact"]["size"] <= rows["McNemar score"]["size"]
    assert rows["McNemar exact"]["power"] > 0.95


def test_the_recorded_table_is_whole_and_keeps_its_promise(bench):
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert table["draws"] >= 20_000 and table["date"] and table["machine_in_words"]
    cells = {(row["interval"], row["n"], row["differing"]) for row in table["intervals"]}
    names = {name for name, _, rate in cells if rate is not None}
    assert cells >= {(name, n, rate) for name in names for n in bench.SIZES for rate in bench.RATES}
    assert min(row["coverage"] for row in table["intervals"]) >= bench.LEAST
    exact = [row for row in table["tests"] if row["test"] == "McNemar exact"]
    assert len(exact) == 18 and max(row["size"] for row in exact) <= 0.055
