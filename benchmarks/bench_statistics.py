"""How often the intervals hold the truth, and how often the tests are wrong and right, by simulation.

    python benchmarks/bench_statistics.py [--draws 20000] [--seed 7] [--record]      (make bench-statistics)

Pairs of models are simulated that answer n items and differ on a known share of them. An interval at 95 % should hold
the truth in at least LEAST of the draws, in the worst of the settings that one cell stands for. `--record` writes the
table that the chapter on scoring shows to data/measured/intervals.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np

from exaone_nb.engines.environment import machine, machine_sentence
from exaone_nb.files import write_json
from exaone_nb.paths import DATA
from exaone_nb.statistics import paired
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import cluster_totals, jackknife, kept_share
from exaone_nb.statistics.verdicts import Evidence, RightOrWrong

SIZES = (25, 100, 512)
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
LEAST = 0.93
ALPHA = 0.05
# Of the items on which the models differ, the share that only the base gets right.
LOST = (1.0, 0.75, 0.5)
ACCURACIES = (0.25, 0.65, 0.95)
# A third of a point, two thirds or a whole one: the mean over three seeds. Or any part of one, evenly or mostly small.
GAPS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "mean of three seeds": lambda rng, k: rng.choice([1 / 3, 2 / 3, 1], size=k, p=[0.6, 0.25, 0.15]),
    "even": lambda rng, k: rng.random(k),
    "mostly a tenth": lambda rng, k: np.where(rng.random(k) < 0.1, 1.0, 0.1),
}
MEAN_GAPS = {"mean of three seeds": 1.55 / 3, "even": 0.5, "mostly a tenth": 0.19}
# Items in a cluster, and how two of them go together (intraclass correlation).
CLUSTERS = ((2, 0.0), (2, 1.0), (5, 0.0), (5, 0.5), (5, 1.0))
MARGINS = (0.01, 0.05)
NATS = 0.05
# What Python loops over is drawn less often than what can be counted.
SLOWER = 4

Row = dict[str, Any]
Evidences = Iterator[tuple[Any, float]]


def counted(
    n: int, shares: tuple[float, ...], draws: int, rng: np.random.Generator
) -> Iterator[tuple[list[int], float]]:
    """Counts of n items that fall into classes with these shares (the rest is one class more), and how often each came."""
    drawn = rng.multinomial(n, [*shares, max(0.0, 1 - sum(shares))], size=draws)[:, : len(shares)]
    kinds, times = np.unique(drawn, axis=0, return_counts=True)
    yield from zip(kinds.tolist(), (times / draws).tolist(), strict=True)


@lru_cache(100_000)
def interval_of(evidence: Evidence, level: float) -> Estimate:
    """The interval; the same counts come again and again."""
    return evidence.interval(level)


def share(evidences: Evidences, holds: Callable[[Any], bool]) -> float:
    """In which share of the draws `holds` holds."""
    return sum(weight for evidence, weight in evidences if holds(evidence))


def right_or_wrong(n: int, rate: float, lost: float, draws: int, rng: np.random.Generator) -> Evidences:
    """Evidence of right-or-wrong items, with how often each came."""
    for (one, two), weight in counted(n, (rate * lost, rate * (1 - lost)), draws, rng):
        yield RightOrWrong(one, two, n), weight


def graded(kind: str, n: int, rate: float, lost: float, draws: int, rng: np.random.Generator) -> Evidences:
    """Evidence of items with values between 0 and 1."""
    for _ in range(draws):
        differing = rng.binomial(n, rate)
        gaps = GAPS[kind](rng, differing) * np.where(rng.random(differing) < lost, -1, 1)
        yield jackknife(np.append(gaps, np.zeros(n - differing)), ends=(-1, 1)), 1 / draws


def clustered(
    size: int, together: float, n: int, rate: float, lost: float, draws: int, rng: np.random.Generator
) -> Evidences:
    """Evidence of right-or-wrong items in clusters, and the sign of each cluster's total."""
    clusters = np.arange(n) // size

    def outcomes(count: int) -> np.ndarray:
        return rng.choice([-1.0, 1.0, 0.0], size=count, p=[rate * lost, rate * (1 - lost), 1 - rate])

    for _ in range(draws):
        follows = rng.random(n) < together**0.5
        found = np.where(follows, outcomes(clusters[-1] + 1)[clusters], outcomes(n))
        yield (jackknife(found, clusters=clusters, ends=(-1, 1)), cluster_totals(found, clusters)), 1 / draws


def documents(spread: float, n: int, draws: int, rng: np.random.Generator) -> Evidences:
    """Evidence of documents whose lengths have a log-normal spread; the true difference is NATS per token."""
    for _ in range(draws):
        tokens = rng.lognormal(4, spread, n)
        yield jackknife(tokens * rng.normal(NATS, 0.3, n), tokens), 1 / draws


def kept_coverage(n: int, rate: float, lost: float, draws: int, rng: np.random.Generator) -> float:
    """How often the ratio interval of graded items holds the true ratio. An item loses or wins any part of what it can."""
    values, shares = np.array([0, 1 / 3, 2 / 3, 1]), [0.2, 0.1, 0.2, 0.5]
    mean, hits = float(values @ shares), 0
    truth = 1 - rate * lost / 2 + rate * (1 - lost) / 2 * (1 - mean) / mean
    for _ in range(draws):
        base, part = rng.choice(values, size=n, p=shares), rng.random(n) * (rng.random(n) < rate)
        candidate = base + part * np.where(rng.random(n) < lost, -base, 1 - base)
        found = kept_share(base, candidate, None, 1.0)
        hits += found.low <= truth <= found.high
    return hits / draws


def ratio_coverage(
    n: int, rate: float, lost: float, base: float, draws: int, rng: np.random.Generator
) -> float:
    """How often the ratio interval holds the true ratio. A base that happens to have nothing right is left out."""
    shares = (base - rate * lost, rate * lost, rate * (1 - lost))
    truth, hits, left = (base - rate * lost + shares[2]) / base, 0.0, 0.0
    for (both, only_base, only_candidate), weight in counted(n, shares, draws, rng):
        table = paired.Discordant(both, only_base, only_candidate, n - both - only_base - only_candidate)
        found = paired.ratio_interval(table)
        if found is None:
            left += weight
        else:
            hits += weight * (found.low - 1e-9 <= truth <= found.high + 1e-9)
    return hits / (1 - left)


def holds(truth: float) -> Callable[[Evidence], bool]:
    """Whether an interval at 95 % holds this truth, rounding aside."""

    def inside(evidence: Evidence) -> bool:
        found = interval_of(evidence, 1 - ALPHA)
        return found.low - 1e-9 <= truth <= found.high + 1e-9

    return inside


def coverages(n: int, rate: float, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Interval -> how often it holds the truth, in the worst setting."""
    found: dict[str, float] = {}
    fewer = max(1, draws // SLOWER)

    def add(name: str, value: float) -> None:
        found[name] = min(value, found.get(name, 1.0))

    for lost in LOST:
        truth = rate * (1 - 2 * lost)
        add("difference, right or wrong", share(right_or_wrong(n, rate, lost, draws, rng), holds(truth)))
        for base in ACCURACIES:
            if rate * lost <= base <= 1 - rate * (1 - lost):
                add("recovery, right or wrong", ratio_coverage(n, rate, lost, base, draws // 4, rng))
        for kind, gap in MEAN_GAPS.items():
            evidence = graded(kind, n, rate, lost, fewer, rng)
            add("difference, graded items", share(evidence, holds(truth * gap)))
        for size, together in CLUSTERS:
            evidence = (
                (one, weight) for (one, _), weight in clustered(size, together, n, rate, lost, fewer, rng)
            )
            add("difference, clusters of 2 to 5", share(evidence, holds(truth)))
        if lost != 0.75:
            add("recovery, graded items", kept_coverage(n, rate, lost, max(1, draws // 10), rng))
    return found


def rates_of_tests(n: int, rate: float, draws: int, rng: np.random.Generator) -> Iterator[Row]:
    """Each test's share of false alarms, where nothing is to be found, and its power, where there is.

    Nothing to be found: the models are equally good, or, for equivalence, they differ by the margin itself. Much to be
    found: all that differs is lost, or, for equivalence, they are equally good.
    """
    few, fewest = max(1, draws // SLOWER), max(1, draws // SLOWER // 5)

    def different(evidence: Evidence) -> bool:
        return interval_of(evidence, 1 - ALPHA).excludes_zero

    def counts(lost: float) -> Evidences:
        return right_or_wrong(n, rate, lost, draws, rng)

    def parts(lost: float) -> Evidences:
        return graded("even", n, rate, lost, few, rng)

    tests: dict[str, tuple[Callable[[float], Evidences], Callable[[Any], bool]]] = {
        "McNemar score": (counts, different),
        "McNemar exact": (counts, lambda e: paired.mcnemar_exact(e.lost, e.won) <= ALPHA),
        "t, graded items": (parts, different),
        "t, clusters of 5": (
            lambda lost: clustered(5, 0.5, n, rate, lost, few, rng),
            lambda pair: different(pair[0]),
        ),
        "sign flip, clusters of 5": (
            lambda lost: clustered(5, 0.5, n, rate, lost, fewest, rng),
            lambda pair: paired.sign_flip_test(pair[1], resamples=999) <= ALPHA,
        ),
    }
    for name, (drawn, rejects) in tests.items():
        yield {"test": name, "size": share(drawn(0.5), rejects), "power": share(drawn(1.0), rejects)}
    for margin, (kind, drawn, gap) in product(MARGINS, (("", counts, 1.0), (", graded items", parts, 0.5))):
        # A share of differing items that is too small cannot reach the margin.
        edge = 0.5 + margin / (rate * gap) / 2
        inside = partial(equivalent, margin=margin)
        size = share(drawn(edge), inside) if edge <= 1 else None
        name = f"equivalent, margin {100 * margin:g} %{kind}"
        yield {"test": name, "size": size, "power": share(drawn(0.5), inside)}


def equivalent(evidence: Evidence, margin: float) -> bool:
    """What two one-sided tests say at the margin."""
    found = interval_of(evidence, 1 - 2 * ALPHA)
    return found.low > -margin and found.high < margin


def simulate(draws: int, seed: int, report: Callable[[str], None] = print) -> dict[str, list[Row]]:
    """All rows: coverage of every interval, size and power of every test. Each cell draws from a seed of its own."""
    intervals, tests = [], []
    for n, rate in product(SIZES, RATES):
        intervals += interval_rows(n, rate, draws, seed)
        tests += test_rows(n, rate, draws, seed)
        report(f"n = {n}, {rate:.1%} of the items differ: done")
    return {"intervals": intervals + document_rows(draws, seed), "tests": tests}


def interval_rows(n: int, rate: float, draws: int, seed: int) -> list[Row]:
    """How often each interval holds the truth, for n items of which a share differs."""
    found = coverages(n, rate, draws, np.random.default_rng([seed, n, int(1000 * rate), 1]))
    return [
        {"interval": name, "n": n, "differing": rate, "coverage": round(value, 4)}
        for name, value in found.items()
    ]


def test_rows(n: int, rate: float, draws: int, seed: int) -> list[Row]:
    """How often each test is wrong and right, for n items of which a share differs."""
    rows = []
    for row in rates_of_tests(n, rate, draws, np.random.default_rng([seed, n, int(1000 * rate), 2])):
        rates = {key: None if row[key] is None else round(row[key], 4) for key in ("size", "power")}
        rows.append({"test": row["test"], "n": n, "differing": rate, **rates})
    return rows


def document_rows(draws: int, seed: int) -> list[Row]:
    """How often the interval of a loss holds the truth."""
    rows = []
    for n in SIZES:
        rng = np.random.default_rng([seed, n])
        value = min(
            share(documents(spread, n, max(1, draws // SLOWER), rng), holds(NATS)) for spread in (0.5, 1.0)
        )
        rows.append(
            {"interval": "nats per token, documents", "n": n, "differing": None, "coverage": round(value, 4)}
        )
    return rows


def record(rows: dict[str, list[Row]], draws: int, seed: int, seconds: float) -> None:
    """Write data/measured/intervals.json."""
    how = (
        f"{draws:,} draws a cell, a quarter to a twentieth of that where items are drawn one by one; seed {seed}, "
        f"{seconds:.0f} s of processor time, "
        f"benchmarks/bench_statistics.py. Coverage is that of the worst setting of a cell."
    )
    document = {
        "what": "coverage of the intervals at 95 %, size and power of the tests at 5 %",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "machine_in_words": machine_sentence(),
        "how": how,
        "draws": draws,
        "seed": seed,
    }
    print(write_json(DATA / "measured" / "intervals.json", document | rows).name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="write the table to data/measured/")
    options = parser.parse_args()
    begin = time.process_time()
    rows = simulate(options.draws, options.seed)
    seconds = time.process_time() - begin
    for row in sorted(rows["intervals"], key=lambda row: row["coverage"])[:8]:
        print(f"  {row['interval']:32} n = {row['n']:3}, {row['differing']}: {row['coverage']:.1%}")
    for row in sorted(rows["tests"], key=lambda row: -(row["size"] or 0))[:8]:
        print(
            f"  {row['test']:32} n = {row['n']:3}, {row['differing']}: wrong {row['size']:.1%}, right {row['power']:.1%}"
        )
    print(f"{options.draws} draws, seed {options.seed}, {seconds:.0f} s")
    if options.record:
        record(rows, options.draws, options.seed, seconds)
    if min(row["coverage"] for row in rows["intervals"]) < LEAST:
        sys.exit(f"An interval holds the truth in less than {LEAST:.0%} of the draws.")


if __name__ == "__main__":
    main()
