"""The files of a model folder: which must be there, which must not, and what no text file should tell."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.credentials import SHAPES
from exaone_nb.findings import Finding, fail, ok, warn
from exaone_nb.judging import rules
from exaone_nb.lfs import REMEDY, pointer_words, pointers
from exaone_nb.messages import say

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
LEFTOVERS = {"__pycache__", ".ipynb_checkpoints", ".git", "__MACOSX", ".DS_Store", ".cache", "Thumbs.db"}
TEXTS = {".json", ".jinja", ".txt", ".md", ".yaml", ".yml", ".py", ".toml", ".cfg", ".ini", ".model", ""}
_LARGEST_TEXT = 32_000_000
_PATHS = re.compile(
    r"(?<![\w.:/])(?:/(?:home|Users|root|mnt|content|kaggle|workspace|data|tmp)/[\w.\-/]+|[A-Z]:\\\\?[\w.\-\\]+)"
)
# A tokenizer's vocabulary holds any string; what matters in it is no secret of its packer.
_VOCABULARIES = {"tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"}


def check_files(folder: Path) -> list[Finding]:
    """Presence, leftovers, pickles, links, sizes, secrets and absolute paths of a model folder."""
    found = [fail("git-lfs", words, REMEDY) for _, words in pointers(folder)]
    found += [*_required(folder), *_unwanted(folder), *_texts(folder)]
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    most = rules()["unzipped_bytes"].value
    if total > most:
        text = say("The folder has {total:,} bytes; the limit is {most:g} GB.", total=total, most=most / 1e9)
        found.append(fail("size", text, say("Choose fewer bits.")))
    if not any(finding.level == "error" for finding in found):
        text = say("config, tokenizer and safetensors are there; {total:,} bytes", total=total)
        found.append(ok("files", text))
    return found


def read_object(path: Path) -> dict[str, Any] | Finding:
    """A JSON object, or the finding that says why there is none."""
    try:
        content = path.read_bytes()
        if words := pointer_words(path.name, content):
            return fail("files", words, REMEDY)
        document = json.loads(content.decode("utf-8"))
    except FileNotFoundError:
        text = say("{name} is missing.", name=path.name)
        return fail("files", text, say("Copy it from the base model's folder."))
    except (OSError, ValueError, RecursionError) as error:
        text = say("{name} is not JSON: {reason}.", name=path.name, reason=str(error)[:150])
        return fail("files", text, say("Write it again; check its encoding."))
    if isinstance(document, dict):
        return document
    text = say("{name} holds a {kind}, not an object.", name=path.name, kind=type(document).__name__)
    return fail("files", text, say("Write it again."))


def _required(folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        remedy = say("Save the model again.")
        if inner := next(folder.glob("*/config.json"), None):
            remedy = say("It is in {name}/: move its files up one level.", name=inner.parent.name)
        yield fail("structure", say("config.json is not in the model folder."), remedy)
    if not any(folder.glob("*.safetensors")):
        remedy = say("Save with save_pretrained(..., safe_serialization=True).")
        yield fail("structure", say("There are no safetensors files."), remedy)
    again = say("tokenizer.save_pretrained(folder), from the base model.")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        yield fail("tokenizer", say("There is no tokenizer."), again)
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        yield fail("tokenizer", say("tokenizer_config.json is missing."), again)
    elif not (folder / "chat_template.jinja").is_file():
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
        elif path.suffix.lower() in PICKLES and path.is_file():
            text = say("{name} can run code when it is loaded.", name=name)
            yield fail("pickles", text, say("Save the weights as safetensors and delete this file."))
        elif path.suffix == ".py":
            text = say("{name} is code. EXAONE 4.0 is part of transformers and needs none.", name=name)
            yield warn("code", text, say("Delete it, and auto_map in config.json."))
        elif re.match(r"(optimizer|scheduler|trainer_state|training_args|rng_state)", path.name):
            yield warn("leftovers", say("{name} is left from training.", name=name), say("Delete it."))


def _texts(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix.lower() not in TEXTS or path.stat().st_size > _LARGEST_TEXT:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        name = path.relative_to(folder).as_posix()
        for what, pattern in SHAPES.items():
            if match := pattern.search(text):
                # Never the token itself: reports get shared.
                line = text.count("\n", 0, match.start()) + 1
                found = say("{name} line {line} looks like {what}.", name=name, line=line, what=what)
                remedy = say("Remove it, and revoke the token: whoever had the file has it.")
                yield fail("secrets", found, remedy)
        if path.name not in _VOCABULARIES and (match := _PATHS.search(text)):
            found = say(
                "{name} names a path of its maker's machine ({place}).", name=name, place=match[0][:60]
            )
            remedy = say("Remove it: the server does not have that path, and it tells about you.")
            yield warn("absolute paths", found, remedy)
