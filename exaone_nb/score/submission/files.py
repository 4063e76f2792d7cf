"""The files of a model folder: which must be there, which must not, and what no text file should tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.credentials import SHAPES
from exaone_nb.findings import Finding
from exaone_nb.judging import rules
from exaone_nb.messages import say
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
            fail(
                "size",
                say("The folder has {total:,} bytes; the limit is 32 GB.", total=total),
                say("Choose fewer bits."),
            )
        )
    if not any(finding.level == "error" for finding in found):
        found.append(
            ok("files", say("config, tokenizer and safetensors are there; {total:,} bytes", total=total))
        )
    return found


def read_object(path: Path) -> dict[str, Any] | Finding:
    """A JSON object, or the finding that says why there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return fail(
            "files", say("{name} is missing.", name=path.name), say("Copy it from the base model's folder.")
        )
    except (OSError, ValueError, RecursionError) as error:
        return fail(
            "files",
            say("{name} is not JSON: {reason}.", name=path.name, reason=str(error)[:150]),
            say("Write it again; check its encoding."),
        )
    if not isinstance(document, dict):
        return fail(
            "files",
            say("{name} holds a {kind}, not an object.", name=path.name, kind=type(document).__name__),
            say("Write it again."),
        )
    return document


def _required(folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        inner = next(folder.glob("*/config.json"), None)
        remedy = (
            say("It is in {name}/: move its files up one level.", name=inner.parent.name)
            if inner
            else say("Save the model again.")
        )
        yield fail("structure", say("config.json is not in the model folder."), remedy)
    if not any(folder.glob("*.safetensors")):
        yield fail(
            "structure",
            say("There are no safetensors files."),
            say("Save with save_pretrained(..., safe_serialization=True)."),
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        yield fail(
            "tokenizer",
            say("There is no tokenizer."),
            say("tokenizer.save_pretrained(folder), from the base model."),
        )
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        yield fail(
            "tokenizer", say("tokenizer_config.json is missing."), say("tokenizer.save_pretrained(folder).")
        )
    elif not (folder / "chat_template.jinja").is_file():
        document = read_object(config)
        if isinstance(document, Finding):
            yield document
        elif not document.get("chat_template"):
            yield fail(
                "chat template",
                say("There is no chat template, and the server applies one."),
                say("Copy chat_template.jinja from the base model."),
            )
    if not (folder / "generation_config.json").is_file():
        yield warn(
            "generation config",
            say(
                "There is no generation_config.json: the end-of-turn token is then taken from config.json alone."
            ),
            say("Copy it from the base model."),
        )


def _unwanted(folder: Path) -> Iterator[Finding]:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            # A hub cache is made of such links. A zip made by other tools would hold the link, not the file.
            if not path.exists():
                yield fail(
                    "links", say("{name} is a link to nothing.", name=name), say("Download the file again.")
                )
            else:
                yield warn(
                    "links",
                    say("{name} is a link out of the folder.", name=name),
                    say("`exaone-nb pack` packs the file itself."),
                )
        if path.name in LEFTOVERS:
            yield warn(
                "leftovers",
                say("{name} does not belong to a model.", name=name),
                say("Delete it; `pack` leaves it out."),
            )
        elif path.suffix.lower() in PICKLES and path.is_file():
            yield fail(
                "pickles",
                say("{name} can run code when it is loaded.", name=name),
                say("Save the weights as safetensors and delete this file."),
            )
        elif path.suffix == ".py":
            yield warn(
                "code",
                say("{name} is code. EXAONE 4.0 is part of transformers and needs none.", name=name),
                say("Delete it, and auto_map in config.json."),
            )
        elif re.match(r"(optimizer|scheduler|trainer_state|training_args|rng_state)", path.name):
            yield warn("leftovers", say("{name} is left from training.", name=name), say("Delete it."))


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
                    say(
                        "{name} line {number} looks like {what}.",
                        name=name,
                        number=text.count(chr(10), 0, match.start()) + 1,
                        what=what,
                    ),
                    say("Remove it, and revoke the token: whoever had the file has it."),
                )
        if path.name in _VOCABULARIES:
            continue
        match = _PATHS.search(text)
        if match:
            yield warn(
                "absolute paths",
                say(
                    "{name} names a path of the machine it was made on ({path}).",
                    name=name,
                    path=match.group()[:60],
                ),
                say("Remove it: the server does not have that path, and it tells about you."),
            )
