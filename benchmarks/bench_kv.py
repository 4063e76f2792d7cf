"""KV cache: our arithmetic beside vLLM's own functions and beside what calculators print.

    python benchmarks/bench_kv.py            (part of `make bench-anatomy`)

vLLM's side is the oracle that tests/anatomy/test_kv_against_vllm.py is held against. Times are medians; compare them
with each other only.
"""

from __future__ import annotations

import importlib.util
import sys

from measuring import from_tests, median, median_seconds, run

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache

REPEATS = 20
SHOWN = 8192  # tokens in flight in the columns of bytes


class Oracle:
    """vLLM's own functions, asked about a config."""

    def __init__(self) -> None:
        import torch

        self.test = from_tests("anatomy/test_kv_against_vllm.py")
        self.utils, self.interface, self.layouts = self.test.vllm_modules()
        self.dtype = torch.bfloat16

    def bytes(self, config: dict, types: list[str], length: int, in_flight: int) -> int:
        """Bytes that one request of `length` tokens needs."""
        specs = self.test.vllm_specs(self.interface, config, types, self.dtype, 1)
        stub = self.test.vllm_config(self.interface, self.layouts.LBNHC, length, in_flight, False)
        groups = self.utils.get_kv_cache_groups(stub, specs)
        return self.utils._max_memory_usage_bytes_from_groups(stub, groups)


def main() -> None:
    """Print the table."""
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is absent here: nothing to compare with. Install it with `make install-dev`.")
        return
    oracle = Oracle()
    lengths, in_flights = oracle.test.LENGTHS, oracle.test.IN_FLIGHT
    print(f"lengths {', '.join(f'{n:,}' for n in lengths)} and the longest; ", end="")
    print(f"in flight {', '.join(f'{n:,}' for n in in_flights)}; bytes at the longest, {SHOWN:,} in flight")
    print(
        f"{'model':20} {'longest':>9} {'ours':>17} {'vLLM':>17} {'equal at':>9} {'layers x tokens':>19} {'times':>6}"
    )
    timing = {}
    worst = compared = 0
    for model in oracle.test.MODELS:
        config = catalog.resolve(model).config()
        types, longest = oracle.test.layer_types(config), config["max_position_embeddings"]
        off = [
            kv_cache(config, max_model_len=length, max_num_batched_tokens=tokens).bytes_per_request
            - oracle.bytes(config, types, length, tokens)
            for tokens in in_flights
            for length in (*lengths, longest)
        ]
        compared, worst = compared + len(off), max(worst, *map(abs, off))
        ours, theirs = (
            kv_cache(config, max_num_batched_tokens=SHOWN),
            oracle.bytes(config, types, longest, SHOWN),
        )
        naive = ours.without_windows
        print(
            f"{model:20} {longest:9,} {ours.bytes_per_request:17,} {theirs:17,} "
            f"{f'{off.count(0)}/{len(off)}':>9} {naive:19,} {naive / ours.bytes_per_request:6.2f}"
        )
        timing[model] = (
            median_seconds(lambda config=config: kv_cache(config), REPEATS),
            median_seconds(lambda c=config, t=types, n=longest: oracle.bytes(c, t, n, SHOWN), REPEATS),
        )
    print(f"largest deviation of {compared} comparisons: {worst:,} bytes")
    for model, (mine, other) in timing.items():
        print(
            f"{model:20} ours {mine * 1e6:7.0f} us   vLLM's functions {other * 1e6:7.0f} us   ratio {other / mine:5.1f}"
        )
    statements = ("from exaone_nb.anatomy.kv import kv_cache", "import vllm.v1.core.kv_cache_utils")
    mine, other = (median([run([sys.executable, "-c", text]) for _ in range(3)]) for text in statements)
    print(
        f"a process that imports it: ours {mine.seconds:.2f} s and {mine.megabytes:.0f} MB, "
        f"vLLM's {other.seconds:.2f} s and {other.megabytes:.0f} MB"
    )


if __name__ == "__main__":
    main()
