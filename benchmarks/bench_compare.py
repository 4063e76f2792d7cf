"""`exaone-nb compare` on 120,000 items a side, beside lm-eval's own comparison.

    python benchmarks/bench_compare.py [--items 120000] [--repeats 3]      (make bench-compare)

lm-eval's script (scripts/model_comparator.py, not in the wheel) divides the difference of two accuracies by their
standard errors, pairing ignored, and prints z and p. Its arithmetic is rebuilt here from lm-eval's own standard error,
on the same two samples files. Asked of compare: at most 6 s and 400 MB. Medians; a busy machine takes longer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from measuring import median, run

DATE = "2026-11-26T00-00-00.000000"
SECONDS, MEGABYTES = 6.0, 400.0
OURS = "import sys; from exaone_nb.cli import main; main(['compare', *sys.argv[1:], '--json'])"
THEIRS = """
import json, sys
from lm_eval.api.metrics import mean, mean_stderr
from scipy.stats import norm
found = []
for place in sys.argv[1:]:
    with open(place) as lines:
        values = [json.loads(line)["acc"] for line in lines]
    found.append((mean(values), mean_stderr(values)))
(one, error), (two, other) = found
z = (one - two) / (error**2 + other**2) ** 0.5
print(json.dumps({"z": z, "p": 2 * norm.sf(abs(z))}))
"""


def write_samples(folder: Path, items: int, seed: int) -> Path:
    """A file as lm-eval logs a task of four choices: 65 % right, the two sides apart on one item in ten."""
    shared, own = random.Random(0), random.Random(seed)
    folder.mkdir()
    path = folder / f"samples_toy_{DATE}.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for i in range(items):
            right = (shared.random() < 0.65) != (own.random() < 0.05)
            question = f"Question {i}: which of the following numbers is the smallest one that divides {i}?"
            row = {
                "doc_id": i,
                "doc": {"question": question, "choices": ["one", "two", "three", "four"], "answer": 1},
                "target": "1",
                "arguments": {
                    f"gen_args_{k}": {"arg_0": f"{question} Answer:", "arg_1": f" {k}"} for k in range(4)
                },
                "resps": [[["-1.25", "False"]]] * 4,
                "filtered_resps": [["-1.25", "False"]] * 4,
                "filter": "none",
                "metrics": ["acc"],
                **{
                    f"{name}_hash": hashlib.sha256(f"{name} {i}".encode()).hexdigest()
                    for name in ("doc", "prompt")
                },
                "acc": float(right),
            }
            file.write(json.dumps(row) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=120_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        paths = [str(write_samples(Path(name) / f"model{i}", options.items, i)) for i in (1, 2)]
        size = sum(os.path.getsize(path) for path in paths) / 1e6
        folders = [os.path.dirname(path) for path in paths]
        runs = {"exaone-nb compare": (OURS, folders), "lm-eval's arithmetic": (THEIRS, paths)}
        found = {
            label: median([run([sys.executable, "-c", code, *places]) for _ in range(options.repeats)])
            for label, (code, places) in runs.items()
        }
    print(
        f"{options.items:,} items a side, {size:,.0f} MB in two files, load average {os.getloadavg()[0]:.1f}"
    )
    for label, one in found.items():
        if one.code:
            sys.exit(f"{label} failed: {one.last_line}")
        print(
            f"  {label:22} {one.seconds:5.1f} s ({one.processor:.1f} s of processor), {one.megabytes:.0f} MB"
        )
    (ours,) = json.loads(found["exaone-nb compare"].output)["comparisons"]
    theirs = json.loads(found["lm-eval's arithmetic"].output.splitlines()[-1])
    print(f"  {ours['words']}")
    print(
        f"  unpaired: z = {ours['unpaired_z']:.3f} and {-theirs['z']:.3f}, p = {ours['unpaired_p']:.3g} and {theirs['p']:.3g}"
    )
    one = found["exaone-nb compare"]
    if one.processor > SECONDS or one.megabytes > MEGABYTES:
        sys.exit(f"Wanted: {SECONDS:g} s and {MEGABYTES:g} MB.")


if __name__ == "__main__":
    main()
