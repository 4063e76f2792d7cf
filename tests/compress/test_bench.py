from __future__ import annotations

import importlib

from exaone_nb.paths import ROOT


def test_the_benchmark_judges_its_ratios_and_measures_children_alone(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    bench = importlib.import_module("bench_quantize")
    said = bench.judge({"seconds": 1.05, "peak_bytes": 1.06})
    assert said == {"seconds": "1.050 of 1.05: held", "peak_bytes": "1.060 of 1.05: MISSED"}
    held = bytearray(400_000_000)
    held[::4096] = b"x" * len(held[::4096])  # resident, so that a fork would inherit it
    assert bench.run(["sleep", "0"])[1] < 100_000_000
