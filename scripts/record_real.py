"""Measure what quantization costs a real small model, and write it down: data/measured/NAME.json.

    exaone-nb fetch smollm2-135m
    python scripts/record_real.py            # about half an hour on two cores; finished parts are kept in runs/record

Every scheme is judged on our own English prose (perplexity, KL, the most likely token), asked our own multiple-choice
task, and, where vLLM serves it on this machine, timed in rounds. 3 and 2 bits are not served, so they have no speed.
GPTQ reads text that the model wrote itself, from nothing but its first token: the repository has no other English text
of that size, and what a model is judged on must not be what it was calibrated on.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.compress import damage, models
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.calibration import TextSource
from exaone_nb.engines.environment import machine, machine_sentence, prepare_process
from exaone_nb.files import write_json, write_text
from exaone_nb.paths import DATA, ROOT
from exaone_nb.quantization.schemes import find_scheme
from exaone_nb.results import BASELINE, RunFolder

GROUP = 64  # the largest group that divides SmolLM2's 576 inputs
SAMPLES, LENGTH, SEED = 128, 256, 0
PROSE, TASK = "prose_en", "everyday_mc"
LOSS_ONLY = "loss_only"  # a run folder of its own: nobody serves what is in it


def groups(bits: int, method: str, **more: Any) -> dict[str, Any]:
    """A recipe for weights alone, one scale per GROUP inputs."""
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": True}
    return {"method": method, "scheme": {"weights": weights | more}, "ignore": ["lm_head"]}


def preset(scheme: str, method: str = "rtn") -> dict[str, Any]:
    """A recipe that a preset's name describes."""
    return {"method": method, "scheme": scheme, "ignore": ["lm_head"]}


SERVED = {
    "w8a8": preset("W8A8"),
    "w8a8_gptq": preset("W8A8", "gptq"),
    "fp8_dynamic": preset("FP8_DYNAMIC"),
    "w4a16_g64_rtn": groups(4, "rtn"),
    "w4a16_g64_gptq": groups(4, "gptq"),
    "w4a16_asym_g64_rtn": groups(4, "rtn", symmetric=False),
}
UNSERVED = {f"w{bits}a16_g64_rtn": groups(bits, "rtn") for bits in (3, 2)}


# One per kernel: GPTQ changes numbers, not what is multiplied with what.
TIMED = (BASELINE, "w8a8", "fp8_dynamic", "w4a16_g64_rtn")


def written_by_itself(model: str, file: Path) -> Path:
    """SAMPLES texts of LENGTH tokens, sampled from the model (temperature 1) after its first token; made once."""
    if file.is_file():
        return file
    import torch
    from transformers import AutoTokenizer

    folder = catalog.weights_folder(model)
    tokenizer, opened = AutoTokenizer.from_pretrained(folder), models.open_model(folder)
    texts: list[str] = []
    torch.manual_seed(SEED)
    while len(texts) < SAMPLES:
        start = torch.full((32, 1), opened.config.bos_token_id, device=opened.device)
        made = opened.generate(
            start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            top_k=0,
            min_new_tokens=LENGTH - 1,
            max_new_tokens=LENGTH - 1,
        )
        texts += tokenizer.batch_decode(made, skip_special_tokens=True)
    write_text(file, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))
    return file


def make_checkpoints(model: str, run: RunFolder) -> None:
    """Every checkpoint that is not there yet."""
    text = written_by_itself(model, run.path / "written_by_itself.jsonl")
    maker.copy_baseline(model, run.checkpoints / BASELINE)
    for folder, made in ((run, SERVED), (RunFolder(run.path / LOSS_ONLY), UNSERVED)):
        for name, document in made.items():
            recipe = recipes.load(document | {"name": name}).with_calibration(
                sources=(TextSource(str(text)),), samples=SAMPLES, length=LENGTH, seed=SEED
            )
            maker.quantize(model, recipe, folder.checkpoints / name, unservable=folder is not run)
            print(name, flush=True)


def places(run: RunFolder) -> dict[str, Path]:
    """Every checkpoint that is there, the baseline first."""
    beside = RunFolder(run.path / LOSS_ONLY)
    return {BASELINE: run.checkpoint(BASELINE)} | {
        name: folder.checkpoint(name)
        for folder, made in ((run, SERVED), (beside, UNSERVED))
        for name in made
        if name in folder.checkpoint_names()
    }


def losses(run: RunFolder, recipe: str = "") -> dict[str, dict[str, Any]]:
    """Bytes, and the measures of `damage.summary` on PROSE; of one recipe, or of all."""
    folders = places(run)
    source = TextSource(str(DATA / "tasks" / f"{PROSE}.jsonl"))
    texts = damage.documents(folders[BASELINE], source, 1000)
    opened = models.open_model(folders[BASELINE], dtype="float32")
    rows = {}
    for name, folder in folders.items():
        if recipe and recipe != name:
            continue
        candidate = models.open_model(folder, dtype="float32")
        found = damage.against_baseline(opened, candidate, texts)
        rows[name] = {
            "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
            "problems": catalog.read_config(folder / "quantize.json").get("problems", []),
            **{measure: one.document() for measure, one in damage.summary(found).items()},
            "tokens": int(found["kl"][:, 1].sum()),
        }
        print(name, rows[name], flush=True)
    return rows


def accuracies(run: RunFolder) -> dict[str, dict[str, Any]]:
    """TASK in transformers, one engine for all, and each checkpoint against the baseline on the same items."""
    from exaone_nb.score.compare import compare_all
    from exaone_nb.score.evaluate import score
    from exaone_nb.score.named import scored_items
    from exaone_nb.score.settings import Settings

    settings = Settings(backend="hf", chat_template=False, dtype="float32")
    scores = score(places(run), [TASK], run, settings, report=print)
    items = {one.recipe: scored_items(run, one.recipe) for one in scores}
    compared = compare_all(items.pop(BASELINE), items, base_name=BASELINE)
    rows = {one.recipe: {"accuracy": one.estimate.document()} for one in scores}
    for one in compared:
        table = one.discordant
        rows[one.candidate] |= {"lost": table.only_base, "won": table.only_candidate, "p": one.p_value}
    return rows


def speeds(run: RunFolder, model: str, rounds: int) -> dict[str, dict[str, Any]]:
    """vLLM in process, in rounds, each with a freshly started engine; one checkpoint per kernel."""
    from exaone_nb.serve.bench import BenchOptions
    from exaone_nb.serve.checkpoints import measure_checkpoints
    from exaone_nb.serve.tables import speed_rows

    timed = RunFolder(run.path / "timed")
    timed.checkpoints.mkdir(parents=True, exist_ok=True)
    for name in TIMED:
        if not (timed.checkpoints / name).exists():
            (timed.checkpoints / name).symlink_to(run.checkpoint(name))
    options = BenchOptions(batches=(1, 8), prompt_tokens=32, output_tokens=16, repeats=2, max_questions=0)
    found = measure_checkpoints(timed, model, options, rounds=rounds, compare=0)
    return {one.recipe: {"speed": speed_rows([one.found])} for one in found}


def write_record(model: str, run: RunFolder, out: Path) -> None:
    """One row per checkpoint from the parts that are there."""
    parts = {name: run.path / f"{name}.json" for name in ("losses", "accuracies", "speeds")}
    found = {name: catalog.read_config(file) for name, file in parts.items() if file.is_file()}
    if "losses" not in found:
        return
    made = SERVED | UNSERVED
    rows = [
        {
            "recipe": name,
            "scheme": find_scheme(made[name]["scheme"]).label if name in made else "BF16",
            "method": made[name]["method"] if name in made else "",
            "served": name not in UNSERVED,
        }
        | {key: value for part in found.values() for key, value in part["rows"].get(name, {}).items()}
        for name in places(run)
        if name in found["losses"]["rows"]
    ]
    entry = catalog.fetchable().get(model, {})
    busy = ""
    if "speeds" in found:
        load = found["speeds"]["load"][0]
        busy = f" Load average after the speed was measured: {load:.1f} on {os.cpu_count()} cores."
    document = {
        "what": f"what quantization costs {model}",
        "model": model,
        "about": entry.get("about", ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "machine_in_words": machine_sentence(),
        "how": f"Losses on {PROSE} in transformers with 32-bit arithmetic, {TASK} likewise, speed in vLLM in process: "
        "32 prompt and 16 output tokens, in rounds, one checkpoint per kernel. GPTQ read 128 texts that the model wrote itself."
        + busy,
        "versions": maker.versions(),
        "chance": 0.25,
        "load": {name: part["load"] for name, part in found.items()},
        "seconds": {name: part["seconds"] for name, part in found.items()},
        "rows": rows,
    }
    write_json(out, document)
    print(out)


def main() -> None:
    """Measure, and write the record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--run", type=Path, default=ROOT / "runs" / "record", help="what is kept in between")
    options.add_argument("--out", type=Path, default=DATA / "measured" / "smollm2-135m_cpu.json")
    options.add_argument("--rounds", type=int, default=3, help="of the speed; 0 leaves it out")
    options.add_argument("--only", choices=("checkpoints", "losses", "accuracies", "speeds"))
    options.add_argument("--recipe", default="", help="of the losses, only this one's; the others are kept")
    chosen = options.parse_args()
    prepare_process()
    run = RunFolder.at(chosen.run)
    run.path.mkdir(parents=True, exist_ok=True)
    parts = {
        "checkpoints": lambda: make_checkpoints(chosen.model, run),
        "losses": lambda: losses(run, chosen.recipe),
        "accuracies": lambda: accuracies(run),
        "speeds": lambda: speeds(run, chosen.model, chosen.rounds) if chosen.rounds else {},
    }
    for name, work in parts.items():
        if chosen.only in (None, name):
            begin = time.time()
            file, found = run.path / f"{name}.json", work() or {}
            kept = catalog.read_config(file)["rows"] if chosen.recipe and file.is_file() else {}
            document = {"rows": kept | found, "seconds": round(time.time() - begin), "load": os.getloadavg()}
            write_json(file, document)
    write_record(chosen.model, run, chosen.out)


if __name__ == "__main__":
    main()
