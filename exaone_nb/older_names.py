"""Settings under the names that the judge's transformers 4.57.3 reads, beside those of transformers 5.

What transformers 5 saves, 4.57.3 refuses in part (a tokenizer class of its own, special tokens as a list) and ignores in
part (`rope_parameters`: wrong positions, without a word). Both read what is written here, and give the same token ids
and the same answers from it: tests/score/test_judge.py tries both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.files import read_object, write_text
from exaone_nb.messages import say

OLDER = "transformers 4.57.3"
CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
# Without it 4.57.3 adds token_type_ids, which a decoder's `generate` refuses.
INPUTS = ["input_ids", "attention_mask"]


@dataclass(frozen=True)
class OlderName:
    """One setting that the older library needs otherwise. `level` says what comes of leaving it."""

    file: str
    level: str
    problem: str
    done: str
    added: dict[str, Any]
    dropped: tuple[str, ...] = ()


def changes(folder: Path) -> list[OlderName]:
    """What must be written otherwise in the model folder; nothing where a file is missing or is no JSON object."""
    return [*_of_config(read_object(folder / CONFIG)), *_of_tokenizer(read_object(folder / TOKENIZER))]


def rewritten(folder: Path) -> dict[str, str]:
    """Files to put in place of the folder's own, by name."""
    texts = {}
    for name in (CONFIG, TOKENIZER):
        if mine := [change for change in changes(folder) if change.file == name]:
            document = read_object(folder / name)
            for change in mine:
                document = {k: v for k, v in document.items() if k not in change.dropped} | change.added
            texts[name] = json.dumps(dict(sorted(document.items())), ensure_ascii=False, indent=2) + "\n"
    return texts


def make_readable(folder: Path) -> None:
    """Rewrite the settings in the folder, so that older libraries read it from the start."""
    for name, text in rewritten(folder).items():
        write_text(folder / name, text)


def disagreements(config: dict[str, Any]) -> Iterator[str]:
    """Settings that config.json gives twice, under the old name and the new one, with two values.

    4.57.3 reads rope_theta and rope_scaling; transformers 5 takes the theta of rope_parameters, and rope_scaling where it
    is not null. Of dtype and torch_dtype both take dtype.
    """
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and not any(isinstance(value, dict) for value in rope.values()):
        new = {"rope_theta": rope.get("rope_theta"), "rope_scaling": _scaling(rope)}
        for name, value in new.items():
            old = config.get(name)
            old = _scaling(old) if name == "rope_scaling" and isinstance(old, dict) else old
            stated = name == "rope_scaling" or "rope_theta" in rope
            if name in config and stated and old != value:
                yield say(
                    "{name} is {old}, and rope_parameters says {new}; {older} reads the first.",
                    name=name, old=json.dumps(old), new=json.dumps(value), older=OLDER,
                )  # fmt: skip
    old, new = config.get("torch_dtype"), config.get("dtype")
    if old and new and old != new:
        yield say(
            "torch_dtype is {old} and dtype is {new}; {older} reads dtype.", old=old, new=new, older=OLDER
        )


def _scaling(rope: dict[str, Any]) -> dict[str, Any] | None:
    """The part of a table that stretches the context; None when nothing does."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    rest = {name: value for name, value in rope.items() if name not in ("rope_theta", "type", "rope_type")}
    return {"rope_type": kind} | rest if kind != "default" else None


def _of_config(config: dict[str, Any]) -> Iterator[OlderName]:
    rope = config.get("rope_parameters")
    if isinstance(rope, dict):
        old = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
        if scaling := _scaling(rope):
            old["rope_scaling"] = scaling
        if missing := {name: value for name, value in old.items() if name not in config}:
            names = " and ".join(missing)
            problem = say(
                "config.json has {names} under rope_parameters only, which {older} ignores: wrong positions.",
                names=names, older=OLDER,
            )  # fmt: skip
            yield OlderName(CONFIG, "error", problem, say("{names} added", names=names), missing)
    if config.get("dtype") and "torch_dtype" not in config:
        problem = say("config.json says dtype and not torch_dtype, which older loaders look for.")
        done = say("torch_dtype added")
        yield OlderName(CONFIG, "warning", problem, done, {"torch_dtype": config["dtype"]})


def _of_tokenizer(tokenizer: dict[str, Any]) -> Iterator[OlderName]:
    kind, general = tokenizer.get("tokenizer_class"), "PreTrainedTokenizerFast"
    if kind == "TokenizersBackend":
        problem = say("{older} stops at TokenizersBackend, a class of transformers 5.", older=OLDER)
        done = say("tokenizer_class is {general}", general=general)
        yield OlderName(TOKENIZER, "error", problem, done, {"tokenizer_class": general}, ("backend",))
        kind = general
    special = tokenizer.get("extra_special_tokens")
    if isinstance(special, list):
        problem = say("extra_special_tokens is a list, and {older} expects an object there.", older=OLDER)
        done = say("extra_special_tokens became additional_special_tokens")
        added = {"additional_special_tokens": special}
        yield OlderName(TOKENIZER, "error", problem, done, added, ("extra_special_tokens",))
    if kind == general and "model_input_names" not in tokenizer:
        problem = say(
            "tokenizer_config.json has no model_input_names: {older} adds token_type_ids.", older=OLDER
        )
        yield OlderName(
            TOKENIZER, "note", problem, say("model_input_names added"), {"model_input_names": INPUTS}
        )
