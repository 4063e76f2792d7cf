"""make bench-serve: our in-process engine beside bare vLLM and Transformers, and the 1.2B shape by scheme.

One run, the contestants in turns, medians and ratios. `--record` writes the 1.2B part to data/measured/, from which
chapter 06 shows it with its date. Takes about ten minutes on two free cores; `--no-shape` leaves out the 1.2B part.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

from exaone_nb.serve.environment import has_gpu, machine, machine_sentence, prepare_process

PROMPTS, PROMPT_TOKENS, OUTPUT_TOKENS, ROUNDS, SETS = 8, 64, 64, 15, 5
LEAST = 0.98  # ours over bare vLLM, with the same setting of compilation
SHAPE, SCHEMES = "EXAONE-4.0-1.2B", ("BF16", "W8A8", "W4A16")
# A CPU without AMX unpacks FP8 to 16 bits anew for every token: minutes per answer, so it is measured on GPUs only.
GPU_SCHEMES = (*SCHEMES, "FP8_DYNAMIC")


ENGINES = ("ours", "ours, compiled", "bare vllm.LLM, eager", "bare vllm.LLM")


def contestant(name: str) -> None:
    """Child process: open one engine, warm up, print its start seconds, then tokens/s for every line on stdin.

    The bare engines are built here with nothing of ours but the memory for the cache, as a script would: vLLM's own
    defaults, and the same with enforce_eager, which is what ours chooses on a CPU because compiling takes longer than
    a short measurement.
    """
    from exaone_nb import catalog

    folder = str(catalog.weights_folder("nano"))
    prompts = [[10 + (i * 37 + j * 11) % 900 for j in range(PROMPT_TOKENS)] for i in range(PROMPTS)]
    began = time.perf_counter()
    if name.startswith("ours"):
        from exaone_nb.serve.answers import Sampling
        from exaone_nb.serve.vllm_engine import VllmEngine

        engine = VllmEngine(folder, max_model_len=512, threads=1, eager=None if name == "ours" else False)
        sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
        generate = lambda: engine.generate(prompts, sampling)  # noqa: E731
    else:
        from vllm import LLM, SamplingParams

        cache = {} if has_gpu() else {"kv_cache_memory_bytes": 2**30}
        llm = LLM(
            folder, dtype="bfloat16", max_model_len=512, enable_prefix_caching=False, enforce_eager="eager" in name,
            **cache,
        )  # fmt: skip
        bare = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True, temperature=0)
        asked = [{"prompt_token_ids": p} for p in prompts]
        generate = lambda: llm.generate(asked, bare, use_tqdm=False)  # noqa: E731
    start = time.perf_counter() - began
    generate()
    print("measured", start, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        generate()
        print("measured", PROMPTS * OUTPUT_TOKENS / (time.perf_counter() - started), flush=True)


class Child:
    """A contestant in a process of its own that measures when it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--contestant", name],
            env=dict(os.environ, OMP_NUM_THREADS="1", VLLM_LOGGING_LEVEL="ERROR"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.start_seconds = self._read()

    def measure(self) -> float:
        """Tokens per second of one round."""
        print(file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> float:
        for line in self.process.stdout:
            if line.startswith("measured "):
                return float(line.split()[1])
        raise SystemExit(f"{self.name} ended without a measurement.")


def side_by_side() -> None:
    """Tokens per second of the same prompts through our engine, bare vllm.LLM and Transformers.

    All engines are open and asked in turns, since this machine changes its speed by the minute; and every set has fresh
    processes, since one may lie better in memory than the next for as long as it lives.
    """
    rates: dict[str, list[list[float]]] = {name: [] for name in ENGINES}
    starts: dict[str, list[float]] = {name: [] for name in ENGINES}
    for number in range(SETS):
        with contextlib.ExitStack() as stack:
            children = {}
            for name in ENGINES if number % 2 else reversed(ENGINES):
                children[name] = Child(name)
                stack.callback(children[name].process.kill)
                starts[name].append(children[name].start_seconds)
                rates[name].append([])
            for turn in range(ROUNDS):
                for name in ENGINES if turn % 2 else reversed(ENGINES):
                    rates[name][-1].append(children[name].measure())
    print(
        f"nano, {PROMPTS} prompts of {PROMPT_TOKENS} tokens, {OUTPUT_TOKENS} written each, one thread; {SETS} sets of "
        f"processes, {ROUNDS} rounds in turns in each:"
    )
    for name, sets in rates.items():
        typical = statistics.median(itertools.chain.from_iterable(sets))
        print(f"  {name:22} {typical:9.1f} tokens/s, ready after {statistics.median(starts[name]):5.1f} s")
    for ours, bare in (
        ("ours", "bare vllm.LLM, eager"), ("ours, compiled", "bare vllm.LLM"), ("ours", "bare vllm.LLM"),
    ):  # fmt: skip
        pairs = [
            statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
            for mine, theirs in zip(rates[ours], rates[bare], strict=True)
        ]
        ratio = statistics.median(pairs)
        judged = "the price of not compiling, which is our choice on a CPU"
        if ours != "ours" or "eager" in bare:
            judged = f"wanted: at least {LEAST}: {'held' if ratio >= LEAST else 'MISSED'}"
        print(
            f"  {ours} over {bare}: median of sets {ratio:.3f} ({min(pairs):.3f} to {max(pairs):.3f}); {judged}"
        )
    transformers(statistics.median(itertools.chain.from_iterable(rates["ours"])))


def transformers(ours: float) -> None:
    """The same model through Transformers, two prompts at a time: it is much slower."""
    from exaone_nb import catalog
    from exaone_nb.serve.answers import Sampling
    from exaone_nb.serve.transformers_engine import TransformersEngine

    prompts = [[10 + (i * 37 + j * 11) % 900 for j in range(PROMPT_TOKENS)] for i in range(2)]
    sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    rates = []
    with TransformersEngine(catalog.weights_folder("nano")) as engine:
        engine.generate(prompts, sampling)
        for _ in range(3):
            started = time.perf_counter()
            engine.generate(prompts, sampling)
            rates.append(2 * OUTPUT_TOKENS / (time.perf_counter() - started))
    median = statistics.median(rates)
    print(f"  transformers           {median:9.1f} tokens/s; ours over it {ours / median:.1f} (n={len(rates)})")


def shape(record: bool) -> None:
    """The whole 1.2B shape with random weights, scheme by scheme."""
    from exaone_nb.files import write_json
    from exaone_nb.paths import DATA
    from exaone_nb.serve.bench import bench

    rows, bandwidth, how = [], 0.0, ""
    print(f"{SHAPE}, all layers, random weights, batch 1:")
    gpu = has_gpu()
    for scheme in GPU_SCHEMES if gpu else SCHEMES:
        found = bench(
            SHAPE, scheme=scheme, weights="dummy", batches=(1,), prompt_tokens=32, output_tokens=16, repeats=3,
            max_model_len=256,
        )  # fmt: skip
        row = {
            "scheme": scheme,
            **found.document()["decode"][0],
            "kernel": found.kernel,
            "start_seconds": found.start_seconds,
        }
        rows.append(row)
        bandwidth, how = found.roof.bandwidth, found.roof.how
        share = (
            f"{row['roofline_fraction']:.0%} of {row['roofline_tokens_per_second']:.1f}"
            if row["roofline_fraction"]
            else "no roof"
        )
        print(
            f"  {scheme:12} {row['tokens_per_second']:6.2f} tokens/s, {share}, {found.kernel}, start {found.start_seconds:.0f} s"
        )
    if record:
        load = os.getloadavg()[0]
        document = {
            "what": f"decode speed of {SHAPE} by scheme, random weights, batch 1",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "machine_in_words": machine_sentence(),
            "how": f"vLLM 0.32 in process, 32 prompt and 16 output tokens, 3 repeats after a warm-up; memory "
            f"{bandwidth / 1e9:.1f} GB/s by {how}; load average at the end {load:.1f} on {os.cpu_count()} cores.",
            "bandwidth_bytes_per_second": bandwidth,
            "rows": rows,
        }
        where = write_json(DATA / "measured" / f"speed_1.2B_{'gpu' if gpu else 'cpu'}.json", document)
        print(f"recorded in {where.relative_to(DATA.parent)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-shape", action="store_true", help="leave out the 1.2B shape")
    parser.add_argument("--no-nano", action="store_true", help="leave out the comparison on nano")
    parser.add_argument("--contestant", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true", help="write the 1.2B part to data/measured/")
    arguments = parser.parse_args()
    prepare_process()
    if arguments.contestant:
        contestant(arguments.contestant)
        return
    print(f"machine: {machine_sentence()}")
    with contextlib.suppress(OSError):
        print(f"load average: {os.getloadavg()[0]:.1f}")
    if not arguments.no_nano:
        side_by_side()
    if not arguments.no_shape:
        shape(arguments.record)


if __name__ == "__main__":
    main()
