"""make bench-serve: our in-process engine beside bare vLLM and Transformers, and the 1.2B shape by scheme.

One run, the contestants in turns, medians and ratios. `--record` writes the 1.2B part to data/measured/, from which
chapter 06 shows it with its date. Takes about five minutes on two free cores; `--no-shape` leaves out the 1.2B part.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from datetime import UTC, datetime

from exaone_nb.serve.environment import has_gpu, machine, machine_sentence, prepare_process

PROMPTS, PROMPT_TOKENS, OUTPUT_TOKENS, ROUNDS = 8, 64, 64, 7
SHAPE, SCHEMES = "EXAONE-4.0-1.2B", ("BF16", "W8A8", "W4A16")
# A CPU without AMX unpacks FP8 to 16 bits anew for every token: minutes per answer, so it is measured on GPUs only.
GPU_SCHEMES = (*SCHEMES, "FP8_DYNAMIC")


def side_by_side() -> None:
    """Tokens per second of the same prompts through our engine, bare vllm.LLM and Transformers."""
    from vllm import SamplingParams

    from exaone_nb import catalog
    from exaone_nb.serve.answers import Sampling
    from exaone_nb.serve.transformers_engine import TransformersEngine
    from exaone_nb.serve.vllm_engine import VllmEngine

    folder = catalog.weights_folder("nano")
    prompts = [[10 + (i * 37 + j * 11) % 900 for j in range(PROMPT_TOKENS)] for i in range(PROMPTS)]
    sampling = Sampling(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    bare = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True, temperature=0, seed=0)
    tokens = PROMPTS * OUTPUT_TOKENS
    starts, rates = [], {"ours": [], "bare vllm.LLM": [], "transformers": []}
    for _ in range(3):
        engine = VllmEngine(folder, max_model_len=512)
        starts.append(engine.start_seconds)
        engine.close()
    with VllmEngine(folder, max_model_len=512) as engine, TransformersEngine(folder) as other:
        llm = engine._llm  # the very object inside, so that nothing but our layer differs
        calls = {
            "ours": lambda: engine.generate(prompts, sampling),
            "bare vllm.LLM": lambda: llm.generate(
                [{"prompt_token_ids": p} for p in prompts], bare, use_tqdm=False
            ),
        }
        for call in calls.values():
            call()
        other.generate(prompts[:1], sampling)
        for number in range(ROUNDS):
            order = list(calls.items())
            for name, call in order if number % 2 else reversed(order):
                started = time.perf_counter()
                call()
                rates[name].append(tokens / (time.perf_counter() - started))
        for _ in range(2):
            started = time.perf_counter()
            other.generate(prompts[:2], sampling)
            rates["transformers"].append(2 * OUTPUT_TOKENS / (time.perf_counter() - started))
    print(
        f"nano, {PROMPTS} prompts of {PROMPT_TOKENS} tokens, {OUTPUT_TOKENS} written each, median tokens/s:"
    )
    ours = statistics.median(rates["ours"])
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"  {name:14} {median:9.1f}   ours / it = {ours / median:.3f}   (n={len(found)})")
    pairs = [a / b for a, b in zip(rates["ours"], rates["bare vllm.LLM"], strict=True)]
    print(f"  ours over bare, paired by round: median {statistics.median(pairs):.3f}; wanted: at least 0.98")
    print(
        f"  engine start: median {statistics.median(starts):.1f} s of {len(starts)} (the first includes imports of vLLM's parts)"
    )


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
    parser.add_argument("--record", action="store_true", help="write the 1.2B part to data/measured/")
    arguments = parser.parse_args()
    prepare_process()
    print(f"machine: {machine_sentence()}")
    with contextlib.suppress(OSError):
        print(f"load average: {os.getloadavg()[0]:.1f}")
    if not arguments.no_nano:
        side_by_side()
    if not arguments.no_shape:
        shape(arguments.record)


if __name__ == "__main__":
    main()
