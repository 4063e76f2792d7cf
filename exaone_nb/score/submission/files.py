"""The files of a model folder: which must be there, which must not, and what no text file should tell."""

import re
from collections.abc import Iterator
from pathlib import Path

from exaone_nb.findings import Finding, fail, ok, warn
from exaone_nb.judging import rules
from exaone_nb.messages import say
from exaone_nb.score.submission.texts import TEMPLATE, check_sums, check_texts, read_object

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
LEFTOVERS = {"__pycache__", ".ipynb_checkpoints", ".git", "__MACOSX", ".DS_Store", ".cache", "Thumbs.db"}
ADAPTERS = {"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"}


def check_files(folder: Path) -> list[Finding]:
    """Presence, leftovers, pickles, links, sizes, secrets and absolute paths of a model folder."""
    found = [*_required(folder), *_unwanted(folder), *check_texts(folder), *check_sums(folder)]
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    most = rules()["unzipped_bytes"].value
    if total > most:
        text = say("The folder has {total:,} bytes; the limit is {most:g} GB.", total=total, most=most / 1e9)
        found.append(fail("size", text, say("Choose fewer bits.")))
    if not any(finding.level == "error" for finding in found):
        text = say("config, tokenizer and safetensors are there; {total:,} bytes", total=total)
        found.append(ok("files", text))
    return found


def _required(folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        remedy = say("Save the model again.")
        if inner := next(folder.glob("*/config.json"), None):
            remedy = say("It is in {name}/: move its files up one level.", name=inner.parent.name)
        yield fail("structure", say("config.json is not in the model folder."), remedy)
    weights = {path.name for path in folder.glob("*.safetensors")}
    if weights and weights <= ADAPTERS:
        text = say("There is an adapter and no model: the server has no peft to put the two together.")
        yield fail("adapter", text, say("Merge it (merge_and_unload) and save the model."))
    elif not weights:
        remedy = say("Save with save_pretrained(..., safe_serialization=True).")
        yield fail("structure", say("There are no safetensors files."), remedy)
    again = say("tokenizer.save_pretrained(folder), from the base model.")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        yield fail("tokenizer", say("There is no tokenizer."), again)
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        yield fail("tokenizer", say("tokenizer_config.json is missing."), again)
    elif not (folder / TEMPLATE).is_file():
        document = read_object(config)
        if isinstance(document, Finding):
            yield document
        elif not document.get("chat_template"):
            text = say("There is no chat template, and the server applies one.")
            yield fail("chat template", text, say("Copy chat_template.jinja from the base model."))
    if not (folder / "generation_config.json").is_file():
        text = say("Without generation_config.json the end-of-turn token is taken from config.json alone.")
        yield warn("generation config", text, say("Copy it from the base model."))


def _unwanted(folder: Path) -> Iterator[Finding]:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            # A hub cache is made of such links. A zip made by other tools would hold the link, not the file.
            if path.exists():
                text = say("{name} is a link out of the folder.", name=name)
                yield warn("links", text, say("`exaone-nb pack` packs the file itself."))
            else:
                yield fail("links", say("{name} is a link to nothing.", name=name), say("Download it again."))
        if path.name in LEFTOVERS:
            text = say("{name} does not belong to a model.", name=name)
            yield warn("leftovers", text, say("Delete it; `pack` leaves it out."))
        elif path.name in ADAPTERS:
            text = say("{name} belongs to an adapter, not to a model.", name=name)
            yield warn("adapter", text, say("Merge the adapter and delete it; `pack` leaves it out."))
        elif path.suffix.lower() in PICKLES and path.is_file():
            text = say("{name} can run code when it is loaded.", name=name)
            yield fail("pickles", text, say("Save the weights as safetensors and delete this file."))
        elif path.suffix == ".py":
            text = say("{name} is code. EXAONE 4.0 is part of transformers and needs none.", name=name)
            yield warn("code", text, say("Delete it, and auto_map in config.json."))
        elif re.match(r"(optimizer|scheduler|trainer_state|training_args|rng_state)", path.name):
            yield warn("leftovers", say("{name} is left from training.", name=name), say("Delete it."))
