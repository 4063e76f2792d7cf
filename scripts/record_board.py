"""Measure every quantizer on nano, and what people do beside rounding, and write it down: data/measured/board_nano.json, beyond.json.

    make env-gptqmodel && exaone-nb fetch smollm2-135m
    python scripts/record_board.py          # about half an hour on two cores; finished parts are kept in runs/board

The board: each checkpoint as its quantizer writes it, judged on conversations that none of them read, and on word problems;
all in transformers, so that only the numbers differ. GPTQModel's file is unpacked for that (`changed_models.unpack`).
Beyond: layers left out, vocabularies cut, weights trained after rounding. A cut vocabulary has other tokens, so the loss there
is per byte of text.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import changed_models
import numpy as np

from exaone_nb import catalog
from exaone_nb.compress import bitsandbytes, damage, models, search
from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.calibration import TextSource, tokenize
from exaone_nb.engines.environment import machine, machine_sentence, prepare_process
from exaone_nb.files import write_json
from exaone_nb.paths import DATA, ROOT
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import jackknife

RECIPES = ("w4a16_rtn", "w4a16_gptq", "w4a16_awq", "w4a16_autoround", "w8a8", "fp8_dynamic")
GPTQMODEL = "gptqmodel"
PLAIN = "w4a16_rtn"  # what the other 4-bit ones are held against
TEXTS = {"nano": "nano_heldout", "smollm2-135m": str(DATA / "tasks" / "prose_en.jsonl")}
TASKS = {"nano": "nano_gsm", "smollm2-135m": "everyday_mc"}
DOCUMENTS, LONGEST, ITEMS = 64, 4096, 100
ROUNDS, WRITTEN = 7, 64  # of the speed: rounds in turns, and tokens each time
LAYERS = {"nano": (1, 2), "smollm2-135m": (1, 2, 4, 8)}
VOCABULARIES = {"nano": (768, 512), "smollm2-135m": (32_768, 16_384, 8_192)}
STEPS = 300


def groups(bits: int, method: str = "rtn", size: int = 128) -> dict[str, Any]:
    """A recipe for weights alone, with one scale per `size` inputs."""
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": size}
    return {"method": method, "scheme": {"weights": weights}, "ignore": ["lm_head"]}


class Parts:
    """What is finished, one file each in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def part(self, name: str, work: Callable[[], Any]) -> Any:
        """What a part found: from its file, or made now."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            begin = time.monotonic()
            found = work()
            seconds = round(time.monotonic() - begin, 1)
            write_json(file, {"seconds": seconds, "load": os.getloadavg()[0], "found": found})
            print(name, seconds, flush=True)
        return json.loads(file.read_text(encoding="utf-8"))["found"]

    def document(self, what: str, how: str) -> dict[str, Any]:
        """What a record says of itself."""
        parts = [json.loads(file.read_text(encoding="utf-8")) for file in self.folder.glob("*.json")]
        load = max(part["load"] for part in parts)
        return {
            "what": what,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "machine_in_words": machine_sentence(),
            "how": f"{how} The load average was up to {load:.1f} on {os.cpu_count()} cores.",
            "load": load,
            "seconds": round(sum(part["seconds"] for part in parts)),
            "versions": maker.versions() | {name: version(name) for name in ("auto-round", "bitsandbytes")},
        }


def accuracy(name: str, place: Path, model: str, folder: Path) -> dict[str, Any]:
    """The task of a model: right answers, and, but for the baseline, who alone was right of the two on the same items."""
    from exaone_nb.score.compare import compare_all
    from exaone_nb.score.evaluate import score
    from exaone_nb.score.named import scored_items
    from exaone_nb.score.settings import Settings

    run = RunFolder.at(folder)
    settings = Settings(backend="hf", chat_template=model == "nano", limit=ITEMS)
    (one,) = score({name: place}, [TASKS[model]], run, settings, report=lambda words: None)
    found = {"accuracy": one.estimate.document()}
    if name != BASELINE:
        base, mine = (scored_items(run, which) for which in (BASELINE, name))
        (pair,) = compare_all(base, {name: mine}, base_name=BASELINE)
        table = pair.discordant
        found |= {"lost": table.only_base, "won": table.only_candidate, "p": pair.p_value}
    return found


def plain(rows: dict[str, np.ndarray]) -> dict[str, Any]:
    """`damage.compared` as JSON."""
    return {name: values.tolist() for name, values in rows.items()}


def arrays(rows: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in rows.items()}


# The board.


def made(work: Parts, name: str) -> dict[str, Any]:
    """Make a checkpoint, and say what was predicted and written."""
    out = work.folder / "made" / name
    if name in recipes.names():
        found = maker.quantize("nano", name, out, sanity=False)
    elif name == GPTQMODEL:
        found = by_gptqmodel(out)
        changed_models.unpack(out, work.folder / "judged" / name)
    else:
        found = bitsandbytes.make("nano", name, out)
    return {key: found[key] for key in ("predicted_bytes", "actual_bytes", "seconds")}


def by_gptqmodel(out: Path) -> dict[str, Any]:
    """The checkpoint that scripts/quantize_gptqmodel.py makes of the recipes' own text, in its environment."""
    from transformers import AutoTokenizer

    from exaone_nb.anatomy.logical import predict_stored

    python, source = ROOT / ".venv-gptqmodel" / "bin" / "python", catalog.weights_folder("nano")
    if not python.exists():
        sys.exit("There is no environment for GPTQModel. What to do: make env-gptqmodel")
    samples = out.with_suffix(".samples.json")
    text = recipes.load("w4a16_gptq").calibration
    write_json(samples, tokenize(text, AutoTokenizer.from_pretrained(source)))
    begin = time.monotonic()
    script = ROOT / "scripts" / "quantize_gptqmodel.py"
    subprocess.run([python, script, source, samples, out], check=True, cwd=out.parent)
    seconds = round(time.monotonic() - begin, 1)
    predicted = predict_stored(catalog.read_config(out / "config.json")).file_bytes
    actual = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    return {"predicted_bytes": predicted, "actual_bytes": actual, "seconds": seconds}


def judged(work: Parts, name: str) -> Path:
    """The folder whose numbers are judged."""
    return work.folder / ("judged" if name == GPTQMODEL else "made") / name


def loss(folder: Path) -> dict[str, Any]:
    source = catalog.weights_folder("nano")
    texts = damage.documents(source, TextSource(TEXTS["nano"]), DOCUMENTS, LONGEST)
    whole = models.open_model(source, dtype="float32")
    # bitsandbytes computes in the format that it was made with.
    kind = "auto" if folder.name in bitsandbytes.FORMS else "float32"
    return plain(damage.against_baseline(whole, models.open_model(folder, dtype=kind), texts))


def speeds(places: dict[str, Path]) -> dict[str, Any]:
    """Tokens per second of one answer at a time in transformers, rounds in turns."""
    from exaone_nb.conversation.answers import Sampling
    from exaone_nb.engines.transformers_engine import TransformersEngine

    sampling = Sampling(max_tokens=WRITTEN, temperature=0, ignore_eos=True)
    taken: dict[str, list[float]] = {name: [] for name in places}
    with models.quiet():
        engines = {name: TransformersEngine(place) for name, place in places.items()}
        for engine in engines.values():
            engine.generate([range(10, 42)], sampling)
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                (answer,) = engine.generate([range(10, 42)], sampling)
                taken[name].append(answer.seconds)
    tokens = np.full(ROUNDS, float(WRITTEN))
    return {name: jackknife(tokens, np.array(one)).interval().document() for name, one in taken.items()}


def board(work: Parts) -> list[dict[str, Any]]:
    """A row per checkpoint, the unquantized one first."""
    names = (*RECIPES, GPTQMODEL, *bitsandbytes.FORMS)
    sizes = {name: work.part(f"made_{name}", lambda n=name: made(work, n)) for name in names}
    lost = {name: arrays(work.part(f"loss_{name}", lambda n=name: loss(judged(work, n)))) for name in names}
    source = catalog.weights_folder("nano")
    places = {BASELINE: source} | {name: judged(work, name) for name in names}
    right = {
        name: work.part(
            f"right_nano_{name}",
            lambda n=name, p=place: accuracy(n, p, "nano", work.folder / "scores" / "nano"),
        )
        for name, place in places.items()
    }
    timed = {name: places[name] for name in (BASELINE, *bitsandbytes.FORMS)}
    fast = work.part("speeds", lambda: speeds(timed))
    rows = [
        {"name": BASELINE, "actual_bytes": sum(p.stat().st_size for p in source.glob("*.safetensors"))}
        | {"perplexity": damage.perplexity(lost[PLAIN]["baseline"])}
    ]
    for name in names:
        row = {"name": name} | sizes[name] | damage.summary(lost[name])
        if name not in (PLAIN, "w8a8", "fp8_dynamic", "int8"):
            row["against_plain"] = damage.paired_difference(lost[PLAIN]["kl"], lost[name]["kl"])
        rows.append(row)
    return [row | right[row["name"]] | {"tokens_per_second": fast.get(row["name"])} for row in rows]


# Beyond.


def without(model: Any, texts: list[damage.Document]) -> list[float]:
    """KL, nats per token, when a layer alone hands on what it gets, for each layer."""
    exact = [damage.log_probabilities(model, text) for text in texts]
    found = []
    for layer in model.model.layers:
        with mock.patch.object(layer, "forward", lambda hidden_states, *_, **__: hidden_states):
            other = [damage.log_probabilities(model, text) for text in texts]
        found.append(damage.per_token(damage.compared(exact, other, texts)["kl"]).value)
    return found


def read_texts(model: str, opened: Any) -> list[damage.Document]:
    """What chooses layers and trains: nano's calibration text, or texts that the model writes itself."""
    if model == "nano":
        return damage.documents(catalog.weights_folder(model), TextSource("nano_calibration"), 128)
    return search.written_by(opened, 8, 64)


def per_byte(folder: Path, model: str) -> dict[str, Any]:
    """[texts, 2] nats and bytes of what is judged, with the folder's own tokenizer, and the tokens that it takes."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = damage.documents(folder, TextSource(TEXTS[model]), DOCUMENTS, LONGEST)
    opened = models.open_model(folder, dtype="float32")
    rows, tokens = [], []
    for text in texts:
        if (
            text.start == 1
        ):  # plain text: its first token is judged too, or a longer one would hide more of it
            text = damage.Document((opened.config.bos_token_id, *text.ids), 1)
        ids = text.ids[text.start :]
        found = damage.log_probabilities(opened, text)
        nats = -found.gather(1, found.new_tensor(ids).long()[:, None]).sum().item()
        rows.append((nats, len(tokenizer.decode(ids, clean_up_tokenization_spaces=False).encode())))
        tokens.append(len(ids))
    return {"rows": rows, "tokens": tokens}


def trained(work: Parts, bits: int) -> dict[str, Any]:
    """nano trained for so many bits, then rounded to them by llm-compressor."""
    import torch

    source, mid = catalog.weights_folder("nano"), work.folder / "trained" / str(bits)
    model = models.open_model(source, dtype="float32")
    texts = damage.documents(source, TextSource("nano_calibration"), 128)
    recipe = recipes.load(groups(bits) | {"name": f"w{bits}_trained"})
    scheme = recipes.find_scheme(recipe.groups[0].scheme)
    begin = time.monotonic()
    with models.quiet():
        changed_models.tune(model, dict.fromkeys(damage.linear_weights(model), scheme), texts, steps=STEPS)
    seconds = round(time.monotonic() - begin, 1)
    maker.copy_baseline("nano", mid)
    model.to(torch.bfloat16).save_pretrained(mid / "new")
    os.replace(mid / "new" / "model.safetensors", mid / "model.safetensors")
    out = work.folder / "cut" / "nano" / recipe.name
    maker.quantize(mid, recipe, out, sanity=False, unservable=True)
    return {"seconds": seconds}


def made_models(work: Parts, model: str) -> dict[str, dict[str, Any]]:
    """Name -> {kind, more}, each made in cut/MODEL: rounded, cut, trained."""
    home, kinds = work.folder / "cut" / model, {}

    def make(name: str, kind: str, call: Callable[[Path], Any], **more: Any) -> None:
        work.part(f"cut_{model}_{name}", lambda: call(home / name) and None)
        kinds[name] = {"kind": kind} | more

    def round_to(bits: int, method: str = "rtn") -> Callable[[Path], Any]:
        recipe = groups(bits, method, 128 if model == "nano" else 64)
        return lambda out: maker.quantize(
            model, recipe | {"name": out.name}, out, sanity=False, unservable=True
        )

    for bits in (8, 4, 2) if model == "nano" else (8, 4):
        make(f"w{bits}", "rounded", round_to(bits))
    if model == "nano":
        make("w2_gptq", "rounded", round_to(2, "gptq"), other="w2")
        for bits in (4, 2):
            more = work.part(f"trained_{bits}", lambda b=bits: trained(work, b))
            kinds[f"w{bits}_trained"] = {"kind": "trained", "other": f"w{bits}", "training": more["seconds"]}

    def chosen() -> list[float]:
        opened = models.open_model(catalog.weights_folder(model), dtype="float32")
        return without(opened, read_texts(model, opened))

    harm = work.part(f"layers_{model}", chosen)
    order = np.argsort(harm).tolist()
    for count in LAYERS[model]:
        gone = sorted(order[:count])
        make(
            f"without_{count}",
            "layers",
            lambda out, g=gone: changed_models.without_layers(model, g, out),
            left_out=gone,
            other="w8",
        )
    for size in VOCABULARIES[model]:
        make(
            f"vocabulary_{size}",
            "vocabulary",
            lambda out, s=size: changed_models.with_vocabulary(model, s, out),
            other="w8",
        )
    return kinds


def beyond(work: Parts, model: str) -> list[dict[str, Any]]:
    """A row per changed model, the whole one first; losses per byte of text, and each against the whole one."""
    kinds = made_models(work, model)
    places = {BASELINE: catalog.weights_folder(model)}
    places |= {name: work.folder / "cut" / model / name for name in kinds}
    found = {
        name: work.part(f"bytes_{model}_{name}", lambda p=place: per_byte(p, model))
        for name, place in places.items()
    }
    folder = work.folder / "scores" / model
    right = {
        name: work.part(f"right_{model}_{name}", lambda n=name, p=place: accuracy(n, p, model, folder))
        for name, place in places.items()
    }
    base = np.array(found[BASELINE]["rows"])
    rows = []
    for name, place in places.items():
        nats, tokens = np.array(found[name]["rows"]), np.array(found[name]["tokens"], float)
        row = {"model": model, "name": name, "kind": "whole"} | kinds.get(name, {})
        row["actual_bytes"] = sum(path.stat().st_size for path in place.glob("*.safetensors"))
        row["tokens_per_text"] = jackknife(tokens, np.ones(len(tokens))).interval()
        row["nats_per_byte"] = damage.per_token(nats)
        if name != BASELINE:
            row["change"] = damage.paired_difference(base, nats)
        if other := row.get("other"):
            row["against"] = damage.paired_difference(np.array(found[other]["rows"]), nats)
        rows.append(row | right[name])
    return rows


def with_json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their estimates as JSON."""
    return [{k: v.document() if isinstance(v, Estimate) else v for k, v in row.items()} for row in rows]


def main() -> None:
    """Measure what is not measured yet, and write both records."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--only", choices=("board", "nano", "smollm2-135m"), help="one part; beyond by its model"
    )
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "board", help="what is kept in between")
    options.add_argument("--out", type=Path, default=DATA / "measured", help="folder of the records")
    chosen = options.parse_args()
    prepare_process()
    work = Parts(chosen.work.absolute())
    if chosen.only in (None, "board"):
        rows = with_json(board(work))
        how = (
            f"{DOCUMENTS} conversations of {TEXTS['nano']} and {ITEMS} problems of {TASKS['nano']}, all in transformers, 95 % "
            "intervals over conversations and problems; calibrated ones read 128 samples of nano_calibration. Speed: one answer "
            "at a time in transformers."
        )
        document = work.document("quantizers on nano", how)
        stored = catalog.read_config(work.folder / "made" / GPTQMODEL / "config.json")["quantization_config"]
        (made_by,) = stored["meta"]["quantizer"]
        document["versions"] |= dict([made_by.split(":")])
        write_json(chosen.out / "board_nano.json", document | {"rows": rows})
    rows = [row for model in TASKS if chosen.only in (None, model) for row in with_json(beyond(work, model))]
    if chosen.only is None:
        how = (
            f"Nats per byte of {TEXTS['nano']} (nano's answers) and of our own English prose (SmolLM2), accuracy on "
            f"{' and '.join(TASKS.values())}; layers were chosen by KL on other text. 95 % intervals over texts and problems."
        )
        document = work.document("layers left out, vocabularies cut, weights trained after rounding", how)
        write_json(chosen.out / "beyond.json", document | {"rows": rows})


if __name__ == "__main__":
    main()
