"""make bench-serve: our engines beside bare vLLM, bare xllamacpp and Transformers, and the 1.2B shape by scheme.

One run, the contestants in turns, medians and ratios. `--record` writes the 1.2B part to data/measured/, from which
the chapter on speed shows it with its date. Takes about twenty minutes on two free cores; `--only nano` runs one part.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb.engines.environment import capability, has_gpu, machine, machine_sentence, prepare_process

PROMPTS, PROMPT_TOKENS, OUTPUT_TOKENS = 8, 64, 64
SETS, ROUNDS = 9, 10
SCRIPT_SETS = 3
PARTS = ("script", "nano", "llama.cpp", "shape")
LEAST = 0.98  # ours over the bare library, with the same settings
SHAPE, SCHEMES = "EXAONE-4.0-1.2B", ("BF16", "W8A8", "W4A16")
# A CPU without AMX unpacks FP8 to 16 bits anew for every token: minutes per answer, so it is measured on GPUs only.
GPU_SCHEMES = (*SCHEMES, "FP8_DYNAMIC")


TOKENS = [[10 + (i * 37 + j * 11) % 900 for j in range(PROMPT_TOKENS)] for i in range(PROMPTS)]
WRITTEN = PROMPTS * OUTPUT_TOKENS


def ours(**options: Any) -> tuple[Callable[[], object], Callable[[], None]]:
    """Our engine: a function that answers the prompts once, and one that closes it."""
    from exaone_nb import catalog
    from exaone_nb.conversation.answers import Sampling
    from exaone_nb.engines.vllm_engine import VllmEngine

    engine = VllmEngine(catalog.weights_folder("nano"), max_model_len=512, **options)
    sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    return lambda: engine.generate(TOKENS, sampling), engine.close


def bare(**options: Any) -> tuple[Callable[[], object], Callable[[], None]]:
    """vLLM's own class as a script would use it, with nothing of ours but the memory for the cache."""
    from vllm import LLM, SamplingParams

    from exaone_nb import catalog
    from exaone_nb.engines.options import vllm_arguments

    folder = catalog.weights_folder("nano")
    shared, _ = vllm_arguments(catalog.read_config(folder / "config.json"), capability())
    shared.pop("enforce_eager")  # with everything else at its default, bare vLLM compiles
    llm = LLM(str(folder), max_model_len=512, enable_prefix_caching=False, **shared, **options)
    sampling = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True, temperature=0)
    asked = [{"prompt_token_ids": tokens} for tokens in TOKENS]
    return lambda: llm.generate(asked, sampling, use_tqdm=False), llm.llm_engine.engine_core.shutdown


def rate(generate: Callable[[], object]) -> float:
    """Tokens per second of one round."""
    started = time.perf_counter()
    generate()
    return WRITTEN / (time.perf_counter() - started)


def contestant(name: str) -> None:
    """Child process: one engine with everything at its defaults, asked once for every line on stdin."""
    began = time.perf_counter()
    if name == "ours":
        generate, close = ours()
    else:
        generate, close = bare()
    start = time.perf_counter() - began
    generate()
    print("measured", start, flush=True)
    for _ in sys.stdin:
        print("measured", rate(generate), flush=True)
    close()


class Child:
    """A contestant in a process of its own that measures when it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--contestant", name],
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

    def end(self) -> None:
        """Let it close its engine, which may have a process of its own."""
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()

    def _read(self) -> float:
        for line in self.process.stdout:
            if line.startswith("measured "):
                return float(line.split()[1])
        raise SystemExit(f"{self.name} ended without a measurement.")


def as_a_script(sets: int = SCRIPT_SETS) -> None:
    """Start and speed with everything at its defaults: bare vLLM compiles and takes a worker process, ours neither."""
    rates: dict[str, list[float]] = {"ours": [], "bare vllm.LLM": []}
    starts: dict[str, list[float]] = {name: [] for name in rates}
    for number in range(sets):
        with contextlib.ExitStack() as stack:
            children = []
            for name in list(rates)[:: 1 if number % 2 else -1]:
                children.append(Child(name))
                stack.callback(children[-1].end)
                starts[name].append(children[-1].start_seconds)
            for turn in range(ROUNDS):
                for child in children[:: 1 if turn % 2 else -1]:
                    rates[child.name].append(child.measure())
    print(
        f"nano, everything at its defaults, {sets} sets of fresh processes, {ROUNDS} rounds in turns in each:"
    )
    for name in rates:
        print(
            f"  {name:22} {statistics.median(rates[name]):9.1f} tokens/s, ready after "
            f"{statistics.median(starts[name]):5.1f} s"
        )
    print(
        f"  ours over bare: {statistics.median(rates['ours']) / statistics.median(rates['bare vllm.LLM']):.2f} of the "
        "speed (the price of not compiling, our choice on a CPU), "
        f"{statistics.median(starts['ours']) / statistics.median(starts['bare vllm.LLM']):.2f} of the start"
    )


def side_by_side() -> None:
    """Tokens per second of the same prompts through our engine and bare vllm.LLM, both in this process.

    Both are open and asked in turns, since this machine changes its speed by the minute; and every set opens them anew,
    since one may lie better in memory than the other for as long as it lives.
    """
    print(
        f"nano, {PROMPTS} prompts of {PROMPT_TOKENS} tokens, {OUTPUT_TOKENS} written each, one thread, in process; {SETS} "
        f"sets of fresh engines, {ROUNDS} rounds in turns in each:"
    )
    typical = 0.0
    for eager in (False, True):
        openers = {
            "ours": lambda eager=eager: ours(threads=1, eager=eager),
            "bare": lambda eager=eager: bare(enforce_eager=eager),
        }
        typical = compare("eager" if eager else "compiled", "vllm.LLM", openers)
    transformers(typical)


def compare(words: str, library: str, openers: dict[str, Any]) -> float:
    """Print ours over bare, both open and asked in turns; tokens per second of ours."""
    rates: dict[str, list[float]] = {name: [] for name in openers}
    pairs = []
    for number in range(SETS):
        with contextlib.ExitStack() as stack:
            engines = {}
            for name in list(openers)[:: 1 if number % 2 else -1]:
                engines[name], close = openers[name]()
                stack.callback(close)
                engines[name]()  # warm
            turns: dict[str, list[float]] = {name: [] for name in engines}
            for turn in range(ROUNDS):
                for name in list(turns)[:: 1 if turn % 2 else -1]:
                    turns[name].append(rate(engines[name]))
        for name, found in turns.items():
            rates[name] += found
        pairs.append(statistics.median(a / b for a, b in zip(turns["ours"], turns["bare"], strict=True)))
    ratio, typical = statistics.median(pairs), statistics.median(rates["ours"])
    print(
        f"  {words:8} ours {typical:.0f}, bare {library} {statistics.median(rates['bare']):.0f} tokens/s; ours over "
        f"bare: median of sets {ratio:.3f} ({min(pairs):.3f} to {max(pairs):.3f}); wanted: at least {LEAST}: "
        f"{'held' if ratio >= LEAST else 'MISSED'}"
    )
    return typical


def llamacpp() -> None:
    """The same prompts through our llama.cpp engine and bare xllamacpp, nano in Q8_0 and on one thread.

    Ours has a process of its own and is asked over HTTP; bare xllamacpp answers inside this process.
    """
    from exaone_nb.compress.gguf_checkpoint import gguf_checkpoint
    from exaone_nb.conversation.answers import Sampling
    from exaone_nb.engines.llamacpp_engine import LlamacppEngine

    with tempfile.TemporaryDirectory(prefix="exaone-nb-") as parent:
        folder = Path(parent, "Q8_0")
        gguf_checkpoint("nano", "Q8_0", folder)

        def ours() -> tuple[Callable[[], object], Callable[[], None]]:
            engine = LlamacppEngine(folder, threads=1, max_model_len=512, max_num_seqs=PROMPTS)
            sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
            return lambda: engine.generate(TOKENS, sampling), engine.close

        def bare() -> tuple[Callable[[], object], Callable[[], None]]:
            import xllamacpp

            parameters = xllamacpp.CommonParams()
            parameters.model.path = str(next(folder.glob("*.gguf")))
            parameters.n_parallel, parameters.n_ctx, parameters.verbosity = PROMPTS, PROMPTS * 512, 0
            parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
            open_now = [xllamacpp.Server(parameters)]
            signal.signal(signal.SIGINT, signal.default_int_handler)  # it has taken Ctrl-C
            request = {"prompt": TOKENS, "n_predict": OUTPUT_TOKENS, "temperature": 0, "ignore_eos": True,
                       "cache_prompt": False, "samplers": ["temperature"]}  # fmt: skip
            return lambda: open_now[0].handle_completions(request), open_now.clear

        print(
            f"nano in Q8_0, {PROMPTS} prompts of {PROMPT_TOKENS} tokens, {OUTPUT_TOKENS} written each, one thread:"
        )
        compare("Q8_0", "xllamacpp", {"ours": ours, "bare": bare})


def transformers(ours: float) -> None:
    """The same model through Transformers, two prompts at a time: it is much slower."""
    from exaone_nb import catalog
    from exaone_nb.conversation.answers import Sampling
    from exaone_nb.engines.transformers_engine import TransformersEngine

    prompts = TOKENS[:2]
    sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    rates = []
    with TransformersEngine(catalog.weights_folder("nano")) as engine:
        engine.generate(prompts, sampling)
        for _ in range(3):
            started = time.perf_counter()
            engine.generate(prompts, sampling)
            rates.append(2 * OUTPUT_TOKENS / (time.perf_counter() - started))
    median = statistics.median(rates)
    print(
        f"  transformers           {median:9.1f} tokens/s; ours over it {ours / median:.1f} (n={len(rates)})"
    )


def shape(record: bool) -> None:
    """The whole 1.2B shape with random weights, scheme by scheme."""
    from exaone_nb.files import write_json
    from exaone_nb.paths import DATA
    from exaone_nb.serve.bench import BenchOptions, bench

    rows, bandwidth, how = [], 0.0, ""
    print(f"{SHAPE}, all layers, random weights, batch 1:")
    gpu = has_gpu()
    for scheme in GPU_SCHEMES if gpu else SCHEMES:
        lengths = {
            "batches": (1,),
            "prompt_tokens": 32,
            "output_tokens": 16,
            "repeats": 3,
            "max_model_len": 256,
        }
        found = bench(SHAPE, BenchOptions(scheme=scheme, weights="dummy", **lengths))
        row = {
            "scheme": scheme,
            "runs_as": found.runs_as,
            **found.decode_documents()[0],
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
    parser.add_argument("--only", choices=PARTS, help="one part instead of all three")
    parser.add_argument("--contestant", choices=("ours", "bare vllm.LLM"), help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true", help="write the 1.2B part to data/measured/")
    arguments = parser.parse_args()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if arguments.contestant:
        contestant(arguments.contestant)
    elif arguments.only == "script":
        as_a_script()
    elif arguments.only == "nano":
        prepare_process(threads=1)
        side_by_side()
    elif arguments.only == "llama.cpp":
        prepare_process(threads=1)
        llamacpp()
    elif arguments.only == "shape":
        prepare_process()
        shape(arguments.record)
    else:
        print(f"machine: {machine_sentence()}, load average {os.getloadavg()[0]:.1f}", flush=True)
        for part in PARTS:  # each in a process of its own: threads are chosen once
            subprocess.run(
                [sys.executable, __file__, "--only", part, *(["--record"] if arguments.record else [])],
                check=True,
            )


if __name__ == "__main__":
    main()
