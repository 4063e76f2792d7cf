"""Reading and predicting checkpoints, held against real files, vLLM's own code, and the peers.

    python benchmarks/bench_anatomy.py                      (make bench-anatomy)
    python benchmarks/bench_anatomy.py --presets W4A16 FP8  (that part alone; without names every preset)

The peers (hf-mem, huggingface_hub) are installed into a throwaway environment that this makes and removes; `--peers
PYTHON` uses an existing one. A peer that cannot be had is said to be absent, and why. The large checkpoints have true
headers and data that is a hole (`truncate`), behind a look-alike of the hub on this machine. All sides take turns in
one run. Medians; times on a shared machine are good for comparison only. Python's bytecode is kept between starts, as
it is where nothing forbids writing it; one line shows the environment as it is set.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import anatomy_peers
from anatomy_peers import Peer
from hub_lookalike import Lookalike
from measuring import ROOT, Run, from_tests, median, median_seconds, run

from exaone_nb import catalog
from exaone_nb.anatomy.against import published_files
from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.anatomy.sparse import rebuild_w4a16, write_sparse
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.schemes import SCHEMES
from exaone_nb.quantization.stored import StoredTensor

MODEL = "EXAONE-4.0-32B"
REPOSITORY = f"LGAI-EXAONE/{MODEL}"
SHARD = 5_000_000_000
OURS = [sys.executable, "-c", "from exaone_nb.cli import main; main()"]


def line(label: str, value: str, wanted: str = "") -> None:
    """One row of the report; `wanted` is what the project asks of itself."""
    print(f"  {label:<50} {value:<58} {f'(wanted: {wanted})' if wanted else ''}".rstrip(), flush=True)


def figures(one: Run) -> str:
    """Wall time, processor time, memory."""
    return f"{one.seconds:.3f} s ({one.processor:.3f} s of processor), {one.megabytes:.1f} MB"


def checked(one: Run) -> Run:
    """The run, or the end of the benchmark: a failed command is not a fast one."""
    if one.code:
        raise SystemExit(one.output)
    return one


def imports(repeats: int) -> None:
    """Fresh interpreters."""
    print(f"\nImport, a fresh interpreter each (median of {repeats})")
    for statement in ("pass", "import exaone_nb.anatomy", "import exaone_nb.anatomy.inspection"):
        command = [sys.executable, "-c", statement]
        checked(run(command))
        line(
            statement,
            figures(median([checked(run(command)) for _ in range(repeats)])),
            "" if statement == "pass" else "under 0.1 s" if statement.endswith("anatomy") else "under 0.3 s",
        )


def local(folder: Path, shards: int, repeats: int, as_set: dict[str, str]) -> None:
    """`exaone-nb inspect` of a folder, as a whole process."""
    print(f"\nLocal, 32B in {shards} shards (median of {repeats}, in turns)")
    sides = {
        "exaone-nb inspect --json": (["--json"], {}),
        "exaone-nb inspect": ([], {}),
        "inspect --json, bytecode as this shell has it": (["--json"], as_set),
    }
    results: dict[str, list[Run]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, (options, environment) in sides.items():
            one = checked(run([*OURS, "inspect", str(folder), *options], **environment))
            if turn:  # the first writes the bytecode
                results[name].append(one)
    for name, runs in results.items():
        line(name, figures(median(runs)), "0.2 s, 60 MB")
    line("the reading alone, in process", f"{median_seconds(lambda: read_headers(folder), repeats):.4f} s")


def remote(folder: Path, peers: dict[str, Peer], repeats: int) -> None:
    """The same checkpoint behind a look-alike of the hub: ours and the peers in turns."""
    site = Lookalike(folder, REPOSITORY)
    reader = "from exaone_nb.anatomy.reader import read_headers; import sys; print(read_headers(sys.argv[1]).file_bytes)"
    sides = {
        "exaone-nb inspect --json": [*OURS, "inspect", REPOSITORY, "--revision", "main", "--json"],
        "our reader, without the command line": [
            sys.executable,
            "-c",
            reader,
            f"{site.address}/{REPOSITORY}/resolve/main",
        ],
    }
    for peer in (peers["hf-mem"], peers["huggingface_hub"]):
        sides[f"{peer.name} {peer.version}"] = (
            anatomy_peers.command(peer, REPOSITORY, site.address) if peer.python else []
        )
    print(f"\nRemote, the same 32B (median of {repeats}, in turns; HTTP headers counted in the bytes)")
    results: dict[str, list[Run]] = {name: [] for name, command in sides.items() if command}
    travelled: dict[str, tuple[int, int]] = {}
    for turn in range(repeats + 1):
        for name in results:
            with tempfile.TemporaryDirectory() as cache:
                site.reset()
                one = run(sides[name], HF_ENDPOINT=site.address, HF_HOME=cache, HF_HUB_DISABLE_TELEMETRY="1")
                travelled[name] = site.requests, site.sent
                if turn:
                    results[name].append(one)
    for name in sides:
        if name not in results:
            line(name, f"absent: {peers[name.split()[0]].why}")
            continue
        one = median(results[name])
        if one.code:
            line(name, f"failed: {one.last_line[:80]}")
            continue
        requests, sent = travelled[name]
        line(
            name,
            f"{requests} requests, {sent:,} bytes, {figures(one)}",
            "150 KB" if name.startswith("exaone") else "",
        )
    site.close()


def before_quantizing(folder: Path, peer: Peer, workplace: Path) -> None:
    """Bytes of the 32B in BF16 and in W4A16 (4 bits), told from the config alone; files of both are what is true."""
    print("\nSize told from the config alone, against the file")
    true = {
        "BF16": read_headers(folder).data_bytes,
        "W4A16": read_headers(rebuild_w4a16(MODEL, workplace, untied_head=False)).data_bytes,
    }
    one = checked(run([*OURS, "size", MODEL, "--scheme", "BF16", "--scheme", "W4A16", "--json"]))
    sizes = {name: row["data_bytes"] for name, row in json.loads(one.output)["schemes"].items()}
    off = ", ".join(f"{name} {sizes[name] - true[name]:+,} bytes" for name in true)
    line("exaone-nb size", f"{off}, {figures(one)}", "0 bytes")
    label = f"accelerate {peer.version} estimate-memory"
    if not peer.python:
        line(label, f"absent: {peer.why}")
        return
    site = Lookalike(folder, REPOSITORY)
    with tempfile.TemporaryDirectory() as cache:
        one = run(
            anatomy_peers.command(peer, REPOSITORY, site.address), HF_ENDPOINT=site.address, HF_HOME=cache
        )
        refused = run(
            [*anatomy_peers.command(peer, REPOSITORY, site.address)[:-1], str(folder)], HF_HOME=cache
        )
    site.close()
    units = {"GB": 2**30, "MB": 2**20}
    table = dict(re.findall(r"│\s*(\w+)\s*│[^│]*│\s*([\d.]+ [GM]B)\s*│", one.output))
    if one.code or not {"float16", "int4"} <= table.keys():
        line(label, f"failed: {one.last_line[:80]}")
        return
    said = []
    for name, row in (("BF16", "float16"), ("W4A16", "int4")):
        number, unit = table[row].split()
        said.append(f"{name} {float(number) * units[unit] / true[name] - 1:+.1%}")
    line(label, f"{', '.join(said)}, {figures(one)}")
    line(
        "the same, of a local folder",
        f"refused: {refused.last_line[:60]}" if refused.code else figures(refused),
    )


def quantized_count(workplace: Path, peer: Peer) -> None:
    """What each reader says a W4A16 32B has in parameters."""
    truth = predict_checkpoint(catalog.resolve(MODEL).config()).parameters
    print(f"\nParameters of the 32B in W4A16 (it has {truth:,})")
    folder = rebuild_w4a16(MODEL, workplace, untied_head=False)
    ours = json.loads(checked(run([*OURS, "inspect", str(folder), "--json"])).output)
    line("exaone-nb inspect", f"{ours['total']['logical']:,}", f"{truth:,}")
    if not peer.python:
        line("huggingface_hub, sum of parameter_count", f"absent: {peer.why}")
        return
    site = Lookalike(folder, REPOSITORY)
    with tempfile.TemporaryDirectory() as cache:
        said = run(
            anatomy_peers.command(peer, REPOSITORY, site.address), HF_ENDPOINT=site.address, HF_HOME=cache
        )
    site.close()
    counted = [text for text in said.output.splitlines() if text.isdigit()]
    line(
        "huggingface_hub, sum of parameter_count",
        f"{int(counted[0]):,}" if counted and not said.code else f"failed: {said.last_line[:80]}",
    )


def growth(workplace: Path, repeats: int) -> None:
    """One file of more and more tensors."""
    print(f"\nGrowth with the number of tensors (one file, median of {repeats})")
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
        reading = median_seconds(lambda path=path: read_headers(path), repeats)
        whole = median_seconds(lambda path=path: inspect_model(path), repeats)
        line(
            f"{count:,} tensors",
            f"header {reading:.3f} s, {1e6 * reading / count:.1f} us a tensor; "
            f"inspection {whole:.3f} s, {1e6 * whole / count:.1f} us a tensor",
            "about as many us in every row",
        )


def published() -> None:
    """Predictions against every file size and index total that is published to the byte."""
    print("\nBytes off, published files (data/published_sizes.csv)")
    for row in published_files():
        line(f"{row['file']}, {row['scheme']}", f"{row['off']:+,} of {row['real']:,}", "+0")


def presets(schemes: Iterable[str]) -> None:
    """Predictions for the presets against files that LLM Compressor writes now, on tiny models of every family."""
    if importlib.util.find_spec("llmcompressor") is None:
        print(
            "\nLLM Compressor is absent here: no real files of the presets. Install it with `make install-dev`."
        )
        return
    test = from_tests("anatomy/test_predict_real_files.py")
    configs = test.CONFIGS | test.FAMILIES
    print(f"\nBytes off, presets x {len(configs)} configs: {', '.join(configs)}")
    with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere:
        make = test.real_file_maker(lambda name: Path(tempfile.mkdtemp(prefix=name, dir=scratch)))
        for scheme in schemes:
            begin = time.perf_counter()
            off, refused, wrong = [], 0, []
            for name, config in configs.items():
                try:
                    predicted = predict_checkpoint(config, scheme).file_bytes
                except WorkbookError:
                    predicted = None
                try:
                    with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
                        folder = make(config, scheme=scheme, data=scheme in test.NEEDS_DATA)
                except Exception:  # the library raises many kinds where a matrix does not divide
                    folder = None
                if folder is None or predicted is None:
                    refused += folder is None and predicted is None
                    wrong += [name] if (folder is None) is not (predicted is None) else []
                else:
                    off.append(sum(path.stat().st_size for path in folder.glob("*.safetensors")) - predicted)
            line(
                scheme,
                f"{max(map(abs, off)):,} bytes off at most, {len(off)} files, {time.perf_counter() - begin:.0f} s"
                + (f", {refused} refused by both" if refused else "")
                + (f", REFUSED BY ONE: {', '.join(wrong)}" if wrong else ""),
                "0 on 6 or more",
            )


def main() -> None:
    """Print the report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--peers", help="python of an existing environment with the peers")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument(
        "--presets", nargs="*", choices=sorted(SCHEMES), help="nothing but these; without names: all"
    )
    chosen = options.parse_args()
    if chosen.presets is not None:
        return presets(chosen.presets or sorted(SCHEMES))
    with tempfile.TemporaryDirectory() as scratch:
        workplace = Path(scratch)
        bytecode = {"PYTHONPYCACHEPREFIX": str(workplace / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
        as_set = {name: os.environ.get(name, "") for name in bytecode}
        os.environ.update(bytecode)
        home, why = (
            (chosen.peers, "") if chosen.peers else anatomy_peers.make_environment(workplace / "peers")
        )
        peers = anatomy_peers.find_peers(home, why)
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", end="")
        print(f", load {', '.join(f'{load:.1f}' for load in os.getloadavg())} at the start")
        config = catalog.resolve(MODEL).config()
        plan = predict_checkpoint(config, max_shard_size=SHARD)
        folder = write_sparse(workplace / "32b", plan, config)
        imports(chosen.repeats)
        local(folder, len(plan.shards), chosen.repeats, as_set)
        remote(folder, peers, chosen.repeats)
        growth(workplace, chosen.repeats)
        quantized_count(workplace, peers["huggingface_hub"])
        before_quantizing(folder, peers["accelerate"], workplace)
        published()
        print("\nKV cache against vLLM's own functions", flush=True)
        kv = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "bench_kv.py")], stderr=subprocess.PIPE, text=True
        )
        if kv.returncode:
            line("bench_kv.py", f"failed: {(kv.stderr.strip().splitlines() or ['no reason given'])[-1][:80]}")
        presets(sorted(SCHEMES))
        print(f"\nload {', '.join(f'{load:.1f}' for load in os.getloadavg())} at the end")


if __name__ == "__main__":
    main()
