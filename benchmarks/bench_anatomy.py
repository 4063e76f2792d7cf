"""Reading and predicting checkpoints, side by side with hf-mem, huggingface_hub and accelerate.

    python benchmarks/bench_anatomy.py --peers ENV/bin/python      (make bench-anatomy)

`--peers` names a throwaway environment (`uv venv ENV; uv pip install --python ENV hf-mem accelerate torch`); a peer that
is installed neither there nor here is said to be absent. The checkpoints have true headers and data that is a hole
(`truncate`), behind a look-alike of the hub on this machine. All sides take turns in one run. Medians; times on a
shared machine are good for comparison only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hub_lookalike import Lookalike

from exaone_nb import catalog
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.anatomy.stored import StoredTensor

REPOSITORY = "LGAI-EXAONE/EXAONE-4.0-32B"
OURS = [sys.executable, "-c", "from exaone_nb.cli import main; main()"]
HF_MEM = """
import sys, httpx2
base, plain = sys.argv.pop(), httpx2.AsyncClient.get
async def get(self, url, **more):  # it knows the hub by one fixed address only
    return await plain(self, str(url).replace("https://huggingface.co", base), **more)
httpx2.AsyncClient.get = get
from hf_mem.cli import main
main()
"""
HUB = """
import sys
from huggingface_hub import get_safetensors_metadata
found = get_safetensors_metadata(sys.argv[1])
print(sum(found.parameter_count.values()))
"""


@dataclass
class Run:
    """One finished process."""

    seconds: float
    processor: float  # seconds of processor time, which other work on the machine disturbs less
    megabytes: float
    code: int
    output: str


def run(command: list[str], **environment: str) -> Run:
    """Run to the end; wall time, peak resident memory, exit code, last lines."""
    with tempfile.TemporaryFile("w+") as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return Run(
            seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode, said.read()
        )


def has(python: str, module: str) -> bool:
    """True when that interpreter finds the module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def home_of(module: str, peers: str | None) -> str | None:
    """The interpreter that has a peer: the throwaway environment first, then this one."""
    return next((python for python in (peers, sys.executable) if python and has(python, module)), None)


def line(label: str, value: str, wanted: str = "") -> None:
    """One row of the report."""
    print(f"  {label:<46} {value:<44} {wanted}", flush=True)


def bytes_off(skip_real: bool) -> None:
    """Predictions against published files, and against files that LLM Compressor writes now."""
    print("\nBytes off")
    small = catalog.resolve("EXAONE-4.0-1.2B").config()
    for label, scheme, untied, size in (
        ("1.2B BF16, published", "BF16", False, 2_558_821_288),
        ("1.2B W4A16, the lecture's file", "W4A16", True, 1_390_692_528),
        ("1.2B W8A8, published", "W8A8", False, 1_490_219_184),
    ):
        line(label, f"{predict_checkpoint(small, scheme, untied_head=untied).file_bytes - size:+,}", "0")
    if skip_real:
        line("every preset against real output", "skipped")
        return
    done = run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "tests/anatomy/test_predict_real_files.py",
            "-p",
            "no:cacheprovider",
        ]
    )
    tail = [text for text in done.output.splitlines() if " passed" in text or " failed" in text]
    line(
        "30 presets x 7-9 configs, mixed recipes, shards",
        tail[-1].strip("= ") if tail else "did not run",
        "all pass",
    )


def imports(repeats: int) -> None:
    """Fresh interpreters."""
    print(f"\nImport, a fresh interpreter each (median of {repeats})")
    for statement in ("pass", "import exaone_nb.anatomy", "import exaone_nb.anatomy.inspection"):
        runs = [run([sys.executable, "-c", statement]) for _ in range(repeats)]
        seconds, processor = (
            statistics.median(getattr(one, part) for one in runs) for part in ("seconds", "processor")
        )
        wanted = "" if statement == "pass" else "under 0.3 s"
        line(statement, f"{seconds:.3f} s ({processor:.3f} s of processor)", wanted)


def local(folder: Path, shards: int, repeats: int) -> None:
    """`exaone-nb inspect` of a folder."""
    print(f"\nLocal, 32B in {shards} shards (median of {repeats})")
    runs = [run([*OURS, "inspect", str(folder), "--json"]) for _ in range(repeats)]
    if any(one.code for one in runs):
        raise SystemExit(runs[0].output)
    seconds, processor, memory = (
        statistics.median(getattr(one, part) for one in runs)
        for part in ("seconds", "processor", "megabytes")
    )
    value = f"{seconds:.3f} s ({processor:.3f} s of processor), {memory:.1f} MB"
    line("exaone-nb inspect --json", value, "0.5 s, 60 MB")
    begin = time.perf_counter()
    read_headers(folder)
    line("the reading alone", f"{time.perf_counter() - begin:.4f} s")


def remote(folder: Path, peers: str | None, repeats: int) -> None:
    """The same checkpoint behind a look-alike of the hub: ours and the peers in turns."""
    site = Lookalike(folder, REPOSITORY)
    sides: dict[str, list[str] | None] = {
        "exaone-nb inspect": [*OURS, "inspect", REPOSITORY, "--revision", "main", "--json"]
    }
    reader = "from exaone_nb.anatomy.reader import read_headers; import sys; print(read_headers(sys.argv[1]).file_bytes)"
    sides["our reader, without the command line"] = [
        sys.executable,
        "-c",
        reader,
        f"{site.address}/{REPOSITORY}/resolve/main",
    ]
    python = home_of("hf_mem", peers)
    sides["hf-mem"] = (
        [python, "-c", HF_MEM, "--model-id", REPOSITORY, "--json-output", site.address] if python else None
    )
    python = home_of("huggingface_hub", peers)
    sides["huggingface_hub get_safetensors_metadata"] = [python, "-c", HUB, REPOSITORY] if python else None
    print(
        f"\nRemote, the same 32B (median of {repeats}, in turns; headers of HTTP counted; in brackets processor time)"
    )
    results: dict[str, list[tuple[Run, int, int]]] = {name: [] for name, command in sides.items() if command}
    for _ in range(repeats):
        for name in results:
            with tempfile.TemporaryDirectory() as cache:
                site.reset()
                one = run(sides[name], HF_ENDPOINT=site.address, HF_HOME=cache, HF_HUB_DISABLE_TELEMETRY="1")
                results[name].append((one, site.requests, site.sent))
    for name in sides:
        if name not in results:
            line(name, "absent")
            continue
        first = results[name][0]
        if first[0].code:
            line(name, f"failed: {first[0].output.strip().splitlines()[-1][:60]}")
            continue
        seconds = statistics.median(one.seconds for one, _, _ in results[name])
        processor = statistics.median(one.processor for one, _, _ in results[name])
        wanted = "150 KB" if name.startswith("exaone") else ""
        line(
            name,
            f"{first[1]} requests, {first[2]:,} bytes, {seconds:.2f} s ({processor:.2f}), {first[0].megabytes:.0f} MB",
            wanted,
        )
    python = home_of("accelerate", peers)
    if python is None:
        line("accelerate estimate-memory", "absent")
    else:
        launch = [python, "-c", "from accelerate.commands.estimate import main; main()", str(folder)]
        one = run(launch, HF_ENDPOINT=site.address)
        said = one.output.strip().splitlines()[-1][:60] if one.code else "answered"
        line(
            "accelerate estimate-memory, local folder", f"{one.seconds:.1f} s, {one.megabytes:.0f} MB: {said}"
        )
    site.close()


def quantized_count(workplace: Path, peers: str | None) -> None:
    """What each reader says a W4A16 32B has in parameters."""
    print("\nParameters of the 32B in W4A16 (32,003,216,384)")
    from exaone_nb.anatomy.portraits import W4A16_CONFIG

    config = catalog.resolve("EXAONE-4.0-32B").config()
    plan = predict_checkpoint(config, "W4A16", max_shard_size=5_000_000_000)
    folder = write_sparse(workplace / "w4a16", plan, {**config, "quantization_config": W4A16_CONFIG})
    ours = json.loads(run([*OURS, "inspect", str(folder), "--json"]).output)
    line("exaone-nb inspect", f"{ours['total']['logical']:,}")
    site = Lookalike(folder, REPOSITORY)
    python = home_of("huggingface_hub", peers)
    with tempfile.TemporaryDirectory() as cache:
        said = (
            run([python, "-c", HUB, REPOSITORY], HF_ENDPOINT=site.address, HF_HOME=cache) if python else None
        )
    line(
        "huggingface_hub, sum of parameter_count",
        f"{int(said.output.split()[-1]):,}" if said and not said.code else "absent",
    )
    site.close()


def growth(workplace: Path) -> None:
    """One file of more and more tensors."""
    print("\nGrowth with the number of tensors (one file, median of 5)")
    for count in (1_000, 10_000, 100_000):
        tensors = [
            StoredTensor(f"model.layers.{i // 11}.part_{i % 11}.weight", "BF16", (64, 64))
            for i in range(count)
        ]
        header = header_json(tensors)
        path = workplace / f"{count}.safetensors"
        with path.open("wb") as handle:
            handle.write(len(header).to_bytes(8, "little") + header)
            handle.truncate(8 + len(header) + sum(tensor.bytes for tensor in tensors))
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            found = read_headers(path)
            times.append(time.perf_counter() - begin)
        assert len(found.entries) == count
        seconds = statistics.median(times)
        line(f"{count:,} tensors", f"{seconds:.3f} s, {1e6 * seconds / count:.1f} microseconds a tensor")


def main() -> None:
    """Print the report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--peers", help="python of a throwaway environment with hf-mem and the others")
    options.add_argument("--skip-real", action="store_true", help="leave out LLM Compressor (about a minute)")
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workplace = Path(scratch)
        config = catalog.resolve("EXAONE-4.0-32B").config()
        plan = predict_checkpoint(config, max_shard_size=5_000_000_000)
        folder = write_sparse(workplace / "32b", plan, config)
        imports(chosen.repeats)
        local(folder, len(plan.shards), chosen.repeats)
        remote(folder, chosen.peers, chosen.repeats)
        quantized_count(workplace, chosen.peers)
        growth(workplace)
    bytes_off(chosen.skip_real)


if __name__ == "__main__":
    main()
