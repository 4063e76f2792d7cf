"""KV cache: our arithmetic beside vLLM's own functions and beside what calculators print.

    python benchmarks/bench_kv.py            (part of `make bench-anatomy`)

vLLM's side is the oracle that tests/anatomy/test_kv_against_vllm.py is held against, loaded from there. Peers that
are not installed are said to be absent. Times are medians; compare them with each other only.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time
from pathlib import Path

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 20
MODELS = ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "K-EXAONE-236B-A23B", "gpt-oss-120b", "gemma-3-1b-it")


def oracle():
    """The test module with vLLM's functions behind it, or None when vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        return None
    path = ROOT / "tests" / "anatomy" / "test_kv_against_vllm.py"
    spec = importlib.util.spec_from_file_location("kv_oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def median_seconds(action, repeats: int = REPEATS) -> float:
    """Median wall time of `action()`."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def import_seconds(statement: str, repeats: int = 1) -> float:
    """Median wall time of a fresh interpreter that runs one import, less that of an empty one."""

    def run(code: str) -> float:
        return median_seconds(
            lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True), repeats
        )

    return run(statement) - run("pass")


def main() -> None:
    """Print the table."""
    theirs = oracle()
    print(
        "model                 longest    ours, bytes      vLLM, bytes      equal at  layers x tokens   times too much"
    )
    if theirs:
        import torch

        utils, interface, layouts = theirs._vllm()
    timing = {}
    total = equal_total = 0
    for model in MODELS:
        config = catalog.resolve(model).config()
        longest = config["max_position_embeddings"]
        ours = kv_cache(config)
        naive = ours.without_windows
        equal = count = 0
        vllm_bytes = None
        if theirs:
            types = theirs._layer_types(config)
            for in_flight in theirs.IN_FLIGHT:
                for length in (*theirs.LENGTHS, longest):
                    specs = theirs._their_specs(interface, config, types, torch.bfloat16, 1)
                    stub = theirs._their_config(interface, layouts.LBNHC, length, in_flight, False)
                    groups = utils.get_kv_cache_groups(stub, specs)
                    value = utils._max_memory_usage_bytes_from_groups(stub, groups)
                    mine = kv_cache(
                        config, max_model_len=length, max_num_batched_tokens=in_flight
                    ).bytes_per_request
                    count += 1
                    equal += value == mine
            stub = theirs._their_config(interface, layouts.LBNHC, longest, 8192, False)

            def vllm_way(stub=stub, config=config, types=types) -> int:
                specs = theirs._their_specs(interface, config, types, torch.bfloat16, 1)
                return utils._max_memory_usage_bytes_from_groups(stub, utils.get_kv_cache_groups(stub, specs))

            vllm_bytes = vllm_way()
            timing[model] = (median_seconds(lambda config=config: kv_cache(config)), median_seconds(vllm_way))
        total, equal_total = total + count, equal_total + equal
        print(
            f"{model:20} {longest:8,} {ours.bytes_per_request:16,} "
            f"{vllm_bytes if vllm_bytes is None else format(vllm_bytes, ','):>16} {equal:6}/{count:<4} "
            f"{naive:16,} {naive / ours.bytes_per_request:16.2f}"
        )
    if not theirs:
        print("vLLM is absent here: nothing to compare with. Install it with `make install-dev`.")
        return
    print(f"\nequal in {equal_total} of {total} comparisons (8,192 tokens in flight in the columns of bytes)")
    for model, (mine, other) in timing.items():
        print(
            f"{model:20} ours {mine * 1e6:8.0f} us   vLLM's functions {other * 1e6:8.0f} us   ratio {other / mine:5.1f}"
        )
    mine = import_seconds("from exaone_nb.anatomy.kv import kv_cache")
    other = import_seconds("import vllm.v1.core.kv_cache_utils")
    print(f"import: ours {mine:.2f} s, vLLM's module {other:.2f} s, ratio {other / mine:.0f}")
    absent = [name for name in ("hf_mem", "accelerate") if importlib.util.find_spec(name) is None]
    if absent:
        print(
            f"absent peers: {', '.join(absent)}. hf-mem 0.5.6 crashed on every EXAONE 4.0 config when it was tried (recorded)."
        )


if __name__ == "__main__":
    main()
