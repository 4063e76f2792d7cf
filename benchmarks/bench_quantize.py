"""Quantizing, side by side: `exaone-nb quantize` against a plain llm-compressor script, and the 1.2B shape.

    make bench-quantize                          # everything: 10 to 15 minutes on two quiet cores, 8 GB of disk
    python benchmarks/bench_quantize.py --only plain --repeats 3

Every run is a process of its own, so wall time includes imports and peak memory is the kernel's own count. The 1.2B
model has the published shape and random weights: seconds and bytes do not depend on the values. The last lines hold
our part against its limits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import measuring
from rich.console import Console

from exaone_nb import catalog
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.compress.calibration import rows
from exaone_nb.compress.recipe import load
from exaone_nb.paths import NANO
from exaone_nb.show.table import Column, Table, drawn

MEDIANS = [
    Column("run", "w4a16_gptq on nano"),
    Column("seconds", form=".2f"),
    Column("peak_bytes", "peak GB", ".3f", 1e-9),
]
# Ours over the plain script's, medians of whole processes.
LIMITS = {"seconds": 1.05, "peak_bytes": 1.05}
# What someone writes without this package, for the same recipe: load, template, oneshot, one answer, save.
PLAIN = """
import json, sys, torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from transformers import AutoModelForCausalLM, AutoTokenizer
source, out, text, samples, length = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(source)
rows = [json.loads(line) for line in open(text, encoding="utf-8")][:samples]
data = Dataset.from_list([{"text": tokenizer.apply_chat_template(r["messages"], tokenize=False)} for r in rows])
recipe = [GPTQModifier(targets=["Linear"], scheme="W4A16", ignore=["lm_head"])]
oneshot(model=model, processor=tokenizer, dataset=data, recipe=recipe, max_seq_length=length, num_calibration_samples=samples)
prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Who are you?"}], add_generation_prompt=True,
                                       enable_thinking=False, tokenize=False)
ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=100, do_sample=False)[0]))
model.save_pretrained(out, save_compressed=True)
tokenizer.save_pretrained(out)
"""


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of a process of its own. Ends the benchmark when it fails."""
    done = measuring.run(command, TOKENIZERS_PARALLELISM="false")
    if done.code:
        sys.exit(f"{command[:4]} failed:\n{done.output[-3000:]}")
    return done.seconds, round(done.megabytes * 2**20)


def quantize_command(model: Path | str, recipe: str, out: Path, *more: str) -> list[str]:
    """Our verb, as a child process runs it."""
    program = "import sys; from exaone_nb.cli import main; main(sys.argv[1:])"
    return [
        sys.executable,
        "-c",
        program,
        "quantize",
        str(model),
        "--recipe",
        recipe,
        "--out",
        str(out),
        "--force",
        *more,
    ]


def random_model(folder: Path, layers: int | None = None) -> Path:
    """EXAONE-4.0-1.2B's shape with random weights, all layers or a few; nano's tokenizer stands beside it."""
    import torch
    from safetensors.torch import save_file

    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    if layers:
        config |= {"num_hidden_layers": layers, "layer_types": config["layer_types"][:layers]}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # One block of random numbers, repeated: drawing 1.28 billion of them would take longer than quantizing.
    block = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0)).mul(0.02).to(torch.bfloat16)
    tensors = {}
    for number, spec in enumerate(expected_tensors(config)):
        begin = (
            number * 1009
        )  # elsewhere in the block each time: equal tensors would be reported as stored twice
        repeats = -(-(begin + spec.elements) // len(block))
        tensors[spec.name] = block.repeat(repeats)[begin : begin + spec.elements].reshape(spec.shape).clone()
        if spec.kind == "norm":
            tensors[spec.name].fill_(1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((NANO / name).read_bytes())
    return folder


def against_plain(work: Path, repeats: int) -> dict:
    """Ours and the plain script in turn, same model, text and recipe (w4a16_gptq)."""
    calibration = load("w4a16_gptq").calibration
    text = work / "text.jsonl"
    # What the recipe draws from its file; the first lines would be other texts, with fewer tokens.
    lines = [json.dumps({"messages": row}, ensure_ascii=False) + "\n" for row in rows(calibration)]
    text.write_text("".join(lines), encoding="utf-8")
    plain = [sys.executable, "-c", PLAIN, str(NANO), str(work / "plain"), str(text)]
    plain += [str(calibration.samples), str(calibration.length)]
    measured: dict[str, list[tuple[float, int]]] = {"plain": [], "ours": []}
    for _ in range(repeats):
        measured["plain"].append(run(plain))
        measured["ours"].append(run(quantize_command("nano", "w4a16_gptq", work / "ours")))
    medians = {
        name: {
            "seconds": statistics.median(s for s, _ in runs),
            "peak_bytes": statistics.median(b for _, b in runs),
        }
        for name, runs in measured.items()
    }
    ratios = {key: medians["ours"][key] / medians["plain"][key] for key in ("seconds", "peak_bytes")}
    # Of runs that followed each other: a machine that slows down for a minute slows both.
    paired = [ours / plain for (ours, _), (plain, _) in zip(measured["ours"], measured["plain"], strict=True)]
    return {
        "runs": measured,
        "medians": medians,
        "ours_over_plain": ratios,
        "paired_seconds": paired,
        "limits": judge(ratios),
    }


def judge(ratios: dict[str, float]) -> dict[str, str]:
    """Each ratio against its limit, in words. A missed one does not fail the run: machines differ."""
    return {
        name: f"{ratios[name]:.3f} of {limit}: {'held' if ratios[name] <= limit else 'MISSED'}"
        for name, limit in LIMITS.items()
    }


def full_shape(work: Path) -> dict:
    """Round-to-nearest on the whole 1.2B shape."""
    model = random_model(work / "full")
    made = {}
    for recipe in ("w4a16_rtn", "w8a8"):
        seconds, peak = run(quantize_command(model, recipe, work / recipe, "--no-sanity"))
        document = json.loads((work / recipe / "quantize.json").read_text(encoding="utf-8"))
        made[recipe] = {
            "seconds": seconds,
            "peak_bytes": peak,
            **{key: document[key] for key in ("estimated_peak_bytes", "predicted_bytes", "actual_bytes")},
            "seconds_without_imports_and_checks": document["seconds"],
        }
    return made


def one_layer(work: Path) -> dict:
    """GPTQ on one and on two layers of the real size; their difference is a layer, and 30 of them the estimate."""
    measured = {}
    for layers in (1, 2):
        model = random_model(work / f"layers{layers}", layers)
        run(quantize_command(model, "w4a16_gptq", work / f"gptq{layers}", "--no-sanity"))
        document = json.loads((work / f"gptq{layers}" / "quantize.json").read_text(encoding="utf-8"))
        measured[layers] = {k: document[k] for k in ("seconds", "peak_bytes", "estimated_peak_bytes")}
    layer = measured[2]["seconds"] - measured[1]["seconds"]
    return {
        "measured": measured,
        "seconds_per_layer": layer,
        "estimate_for_30": measured[1]["seconds"] + 29 * layer,
    }


def full_gptq(work: Path) -> dict:
    """GPTQ on all 30 layers; only where a GPU makes it a matter of minutes."""
    seconds, peak = run(quantize_command(work / "full", "w4a16_gptq", work / "gptq_full", "--no-sanity"))
    return {"seconds": seconds, "peak_bytes": peak}


def show(console: Console, results: dict) -> None:
    """One table per part."""
    if "plain" in results:
        part = results["plain"]
        rows = [{"run": name} | medians for name, medians in part["medians"].items()]
        console.print(drawn(Table(MEDIANS, rows, "Medians, whole process")))
        ratios = ", ".join(f"{name} {ratio:.3f}" for name, ratio in part["ours_over_plain"].items())
        console.print(f"Ours / plain: {ratios}", highlight=False)
        paired = part["paired_seconds"]
        console.print(
            f"Seconds, ours / plain, pair by pair: median {statistics.median(paired):.3f}, "
            f"{min(paired):.3f} to {max(paired):.3f} (n = {len(paired)})"
        )
        for name, text in part["limits"].items():
            console.print(
                f"Limit, {name.replace('_bytes', ' memory')}, ours / plain: {text}", highlight=False
            )
    for name, value in results.get("full", {}).items():
        console.print(
            f"1.2B shape, {name}: {value['seconds']:.1f} s ({value['seconds_without_imports_and_checks']:.1f} s of it "
            f"quantizing and saving), peak {value['peak_bytes'] / 1e9:.2f} GB (estimated "
            f"{value['estimated_peak_bytes'] / 1e9:.2f}), {value['actual_bytes']:,} bytes, predicted {value['predicted_bytes']:,}"
        )
    if "layer" in results:
        part = results["layer"]
        console.print(
            f"GPTQ, one layer of the 1.2B model: {part['seconds_per_layer']:.1f} s; all 30: about "
            f"{part['estimate_for_30'] / 60:.0f} minutes (an extrapolation), {load('w4a16_gptq').calibration.samples} samples"
        )
    if "gptq" in results:
        console.print(f"GPTQ, all 30 layers: {results['gptq']['seconds']:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs with the plain script")
    parser.add_argument("--only", choices=("plain", "full", "layer"), help="one part instead of all")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    options = parser.parse_args()
    import torch

    results: dict = {"threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.only in (None, "plain"):
            results["plain"] = against_plain(work, options.repeats)
        if options.only in (None, "full"):
            results["full"] = full_shape(work)
        if options.only in (None, "layer"):
            results["layer"] = one_layer(work)
        if options.only is None and results["cuda"]:
            results["gptq"] = full_gptq(work)
    show(Console(), results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
