"""The files of a model folder: which must be there, which must not, and what no text file should tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.credentials import SHAPES
from exaone_nb.findings import Finding
from exaone_nb.score.hackathon import rules
from exaone_nb.score.submission.findings import fail, ok, warn

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
    found = [*_required(folder), *_unwanted(folder), *_texts(folder)]
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    limit = rules()["unzipped_bytes"].value
    if total > limit:
        found.append(
            fail("size", f"The folder has {total:,} bytes; the limit is 32 GB.", "Choose fewer bits.")
        )
    if not any(finding.level == "error" for finding in found):
        found.append(ok("files", f"config, tokenizer and safetensors are there; {total:,} bytes"))
    return found


def read_object(path: Path) -> dict[str, Any] | Finding:
    """A JSON object, or the finding that says why there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return fail("files", f"{path.name} is missing.", "Copy it from the base model's folder.")
    except (OSError, ValueError, RecursionError) as error:
        return fail(
            "files", f"{path.name} is not JSON: {str(error)[:150]}.", "Write it again; check its encoding."
        )
    if not isinstance(document, dict):
        return fail(
            "files", f"{path.name} holds a {type(document).__name__}, not an object.", "Write it again."
        )
    return document


def _required(folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        inner = next(folder.glob("*/config.json"), None)
        remedy = (
            f"It is in {inner.parent.name}/: move its files up one level."
            if inner
            else "Save the model again."
        )
        yield fail("structure", "config.json is not in the model folder.", remedy)
    if not any(folder.glob("*.safetensors")):
        yield fail(
            "structure",
            "There are no safetensors files.",
            "Save with save_pretrained(..., safe_serialization=True).",
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        yield fail(
            "tokenizer", "There is no tokenizer.", "tokenizer.save_pretrained(folder), from the base model."
        )
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        yield fail("tokenizer", "tokenizer_config.json is missing.", "tokenizer.save_pretrained(folder).")
    elif not (folder / "chat_template.jinja").is_file():
        document = read_object(config)
        if isinstance(document, Finding):
            yield document
        elif not document.get("chat_template"):
            yield fail(
                "chat template",
                "There is no chat template, and the server applies one.",
                "Copy chat_template.jinja from the base model.",
            )
    if not (folder / "generation_config.json").is_file():
        yield warn(
            "generation config",
            "There is no generation_config.json: the end-of-turn token is then taken from config.json alone.",
            "Copy it from the base model.",
        )


def _unwanted(folder: Path) -> Iterator[Finding]:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            # A hub cache is made of such links. A zip made by other tools would hold the link, not the file.
            if not path.exists():
                yield fail("links", f"{name} is a link to nothing.", "Download the file again.")
            else:
                yield warn(
                    "links", f"{name} is a link out of the folder.", "`exaone-nb pack` packs the file itself."
                )
        if path.name in LEFTOVERS:
            yield warn("leftovers", f"{name} does not belong to a model.", "Delete it; `pack` leaves it out.")
        elif path.suffix.lower() in PICKLES and path.is_file():
            yield fail(
                "pickles",
                f"{name} can run code when it is loaded.",
                "Save the weights as safetensors and delete this file.",
            )
        elif path.suffix == ".py":
            yield warn(
                "code",
                f"{name} is code. EXAONE 4.0 is part of transformers and needs none.",
                "Delete it, and auto_map in config.json.",
            )
        elif re.match(r"(optimizer|scheduler|trainer_state|training_args|rng_state)", path.name):
            yield warn("leftovers", f"{name} is left from training.", "Delete it.")


def _texts(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix.lower() not in TEXTS or path.stat().st_size > _LARGEST_TEXT:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        name = path.relative_to(folder).as_posix()
        for what, pattern in SHAPES.items():
            match = pattern.search(text)
            if match:
                # Never the token itself: reports get shared.
                yield fail(
                    "secrets",
                    f"{name} line {text.count(chr(10), 0, match.start()) + 1} looks like {what}.",
                    "Remove it, and revoke the token: whoever had the file has it.",
                )
        if path.name in _VOCABULARIES:
            continue
        match = _PATHS.search(text)
        if match:
            yield warn(
                "absolute paths",
                f"{name} names a path of the machine it was made on ({match.group()[:60]}).",
                "Remove it: the server does not have that path, and it tells about you.",
            )
