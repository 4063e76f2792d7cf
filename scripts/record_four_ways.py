"""Ask one task in four ways and write down what came of each item: data/measured/four_ways_nano.json.

    make env-nemo
    python scripts/record_four_ways.py            # a few minutes on two cores

lm-eval with vLLM in this process; lm-eval over vLLM's server; NeMo Evaluator's own-benchmark route in its environment,
over the same server; and a plain loop over our client. Same model, items, prompts, limit and greedy decoding.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.environment import machine_sentence, prepare_process
from exaone_nb.engines.server import Server
from exaone_nb.files import write_json
from exaone_nb.paths import DATA, NANO, ROOT
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.score.evaluate import score
from exaone_nb.score.samples import find_samples, rows_of
from exaone_nb.score.settings import Settings

TASK, LONGEST, FILTER = "nano_gsm", 96, "flexible-extract"
FILE = DATA / "tasks" / f"{TASK}.jsonl"
# NeMo Evaluator's whole benchmark: the prompt, where the answer stands, and its own grader for such answers.
BENCHMARK = """
from nemo_evaluator.contrib.byob import benchmark, gsm8k_answer, scorer

@benchmark(name="{name}", dataset="{file}", prompt="{{question}}", target_field="answer", endpoint_type="chat")
@scorer
def grade(sample):
    return gsm8k_answer(sample)
"""


def lm_eval_rows(folder: Path, settings: Settings, model: str) -> list[tuple[str, bool]]:
    """(answer, right) of every item, by lm-eval."""
    score({BASELINE: model}, [TASK], RunFolder.at(folder), settings, report=print)
    rows = [row for row in rows_of(find_samples(folder)[TASK]) if row["filter"] == FILTER]
    rows.sort(key=lambda row: row["doc_id"])
    return [(str(row["resps"][0][0]), bool(row["exact_match"])) for row in rows]


def nemo_rows(folder: Path, python: Path, server: Server, limit: int) -> list[tuple[str, bool]]:
    """(answer, right) of every item, by NeMo Evaluator's runner and its own grader."""
    module = folder / "bench.py"
    module.write_text(BENCHMARK.format(name=TASK, file=FILE), encoding="utf-8")
    command = [
        str(python), "-m", "nemo_evaluator.contrib.byob.runner", "--benchmark-module", str(module),
        "--benchmark-name", TASK, "--dataset", str(FILE), "--output-dir", str(folder),
        "--model-url", server.address, "--model-id", "model", "--model-type", "chat", "--temperature", "0",
        "--max-tokens", str(LONGEST), "--limit-samples", str(limit), "--api-key-name", "EXAONE_NB_KEY",
        "--save-predictions", "--parallelism", "8",
    ]  # fmt: skip
    subprocess.run(command, check=True, env=os.environ | {"EXAONE_NB_KEY": server.key})
    (path,) = folder.rglob("byob_predictions.jsonl")
    rows = sorted(rows_of(path), key=lambda row: row["sample_id"])
    return [(row["response"], bool(row["scores"]["correct"])) for row in rows]


def loop_rows(server: Server, items: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """(answer, right) of every item, by a loop over our client that takes the last number."""
    found = []
    with server.engine() as engine:
        for item in items:
            ask = [{"role": "user", "content": item["question"]}]
            text = engine.chat(ask, sampling=Sampling(max_tokens=LONGEST)).text
            numbers = re.findall(r"-?\d+", text)
            found.append((text, numbers[-1:] == [item["answer"].split("####")[-1].strip()]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument(
        "--nemo", type=Path, default=ROOT / ".venv-nemo" / "bin" / "python", help="its Python"
    )
    options = parser.parse_args()
    prepare_process(1)
    items = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()[: options.items]]
    settings = Settings(limit=len(items))
    ways: dict[str, list[tuple[str, bool]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ways["lm-eval in process"] = lm_eval_rows(folder / "process", settings, str(NANO))
        with Server(NANO, threads=1, eager=True).wait(300) as server:
            os.environ["OPENAI_API_KEY"] = server.key
            over = Settings(backend="server-chat", base_url=server.address, limit=len(items))
            ways["lm-eval over the endpoint"] = lm_eval_rows(folder / "endpoint", over, "model")
            (folder / "nemo").mkdir()
            ways["NeMo Evaluator"] = nemo_rows(folder / "nemo", options.nemo, server, len(items))
            ways["a plain loop"] = loop_rows(server, items)
    versions = subprocess.run(
        [options.nemo, "-c", "from importlib.metadata import version; print(version('nemo-evaluator'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    write_json(
        DATA / "measured" / "four_ways_nano.json",
        {
            "what": f"{TASK}, the first {len(items)} items, in four ways",
            "date": time.strftime("%Y-%m-%d"),
            "machine_in_words": machine_sentence(),
            "how": f"vLLM 0.32, greedy, at most {LONGEST} tokens; lm-eval 0.4.13 ({FILTER}), NeMo Evaluator {versions}.",
            "model": "nano",
            "questions": [item["question"] for item in items],
            "ways": {name: [{"answer": a, "right": r} for a, r in rows] for name, rows in ways.items()},
        },
    )


if __name__ == "__main__":
    main()
