"""Calibration: the text that GPTQ, AWQ and static activation scales see.

Which text, how much of it, and whether it wears the chat template is part of a recipe, because it changes the
result. Sources are JSONL files (one {"messages": [...]} or {"text": ...} per line) or data sets of the hub by name.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import DATA, ROOT

DEFAULT_SOURCE = "nano_calibration"
# What a row may call its conversation; MANTA-1M says "conversations".
MESSAGE_FIELDS = ("messages", "conversations")


@dataclass(frozen=True)
class Source:
    """One place text comes from. `name` is a JSONL file, a file of data/calibration/, or a hub id ORG/NAME."""

    name: str = DEFAULT_SOURCE
    share: float = 1.0
    field: str = ""

    @property
    def path(self) -> Path | None:
        """The file on this disk, or None for a hub data set."""
        if self.name == self.name.removesuffix(".jsonl") and "/" not in self.name:
            return DATA / "calibration" / f"{self.name}.jsonl"
        path = Path(self.name)
        if self.name.endswith((".jsonl", ".json")):
            return path if path.is_absolute() or path.exists() else ROOT / path
        return None


@dataclass(frozen=True)
class Calibration:
    """How much text, from where. `length` is tokens per sample; longer samples are cut."""

    sources: tuple[Source, ...] = (Source(),)
    samples: int = 128
    length: int = 256
    seed: int = 0
    template: bool = True
    generation_prompt: bool = False

    @classmethod
    def parse(cls, document: dict[str, Any], recipe: str = "") -> Calibration:
        """From a recipe's `calibration` mapping. Raises UsageError, naming the key."""
        allowed = {"source", "sources", "samples", "length", "seed", "template", "generation_prompt"}
        if not isinstance(document, dict) or set(document) - allowed:
            unknown = sorted(set(document) - allowed) if isinstance(document, dict) else document
            raise UsageError(
                f"Recipe {recipe}: calibration has {unknown}.",
                expected=f"keys among {', '.join(sorted(allowed))}.",
            )
        document = dict(document)
        sources = document.pop("sources", None) or [document.pop("source", DEFAULT_SOURCE)]
        document.pop("source", None)
        made = tuple(Source(**s) if isinstance(s, dict) else Source(str(s)) for s in sources)
        calibration = cls(sources=made, **document)
        for key in ("samples", "length"):
            value = getattr(calibration, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(
                    f"Recipe {recipe}: calibration {key} is {value!r}.", expected="a whole number above 0."
                )
        if any(s.share <= 0 for s in made):
            raise UsageError(
                f"Recipe {recipe}: a source has a share of 0 or less.", expected="shares above 0."
            )
        return calibration

    def counts(self) -> list[int]:
        """Samples per source: shares by largest remainder, summing to `samples`."""
        total = sum(source.share for source in self.sources)
        exact = [self.samples * source.share / total for source in self.sources]
        counts = [int(x) for x in exact]
        order = sorted(range(len(exact)), key=lambda i: exact[i] - counts[i], reverse=True)
        for i in order[: self.samples - sum(counts)]:
            counts[i] += 1
        return counts

    def check_files(self) -> None:
        """Read every local source. Raises WorkbookError when one cannot give what is asked of it."""
        for source, count in zip(self.sources, self.counts(), strict=True):
            if source.path is not None:
                read_source(source, at_least=count)

    def fingerprint(self) -> str:
        """SHA-256 over the settings and the content of the source files, without tokenizing anything."""
        digest = hashlib.sha256()
        digest.update(
            json.dumps([self.samples, self.length, self.seed, self.template, self.generation_prompt]).encode()
        )
        for source in self.sources:
            digest.update(json.dumps([source.name, source.share, source.field]).encode())
            if source.path is not None:
                digest.update(_read_bytes(source.path))
        return digest.hexdigest()


def rows(calibration: Calibration) -> list[list[dict[str, str]] | str]:
    """The chosen samples, as message lists or plain texts, drawn with the seed; `samples` of them.

    Raises WorkbookError for a source that is missing, empty, not JSONL, without the field, or too short.
    """
    chosen: list[Any] = []
    for source, count in zip(calibration.sources, calibration.counts(), strict=True):
        pool = read_source(source, at_least=count)
        # Shuffled and cut, not sampled, so that 64 samples are the first half of 128 with the same seed.
        order = list(range(len(pool)))
        random.Random(f"{calibration.seed}:{source.name}").shuffle(order)
        chosen += [pool[i] for i in order[:count]]
    return chosen


def read_source(source: Source, at_least: int = 1) -> list[list[dict[str, str]] | str]:
    """All rows of one source, in order. Raises WorkbookError (see `rows`)."""
    if source.path is None:
        return _read_hub(source, at_least)
    found = []
    text = _read_bytes(source.path).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise WorkbookError(
                f"{source.path.name}, line {number} is not JSON: {error}",
                expected='JSONL, one object per line, such as {"messages": [{"role": "user", "content": "…"}]}.',
                remedy="A .json file with one big list must be written line by line.",
            ) from error
        found.append(_content(row, source, number))
    if not found:
        raise WorkbookError(f"The calibration file {source.path.name} is empty.", remedy="Name another file.")
    if len(found) < at_least:
        raise WorkbookError(
            f"{source.path.name} has {len(found)} samples, but {at_least} are asked of it.",
            remedy=f"Ask for at most {len(found)} (calibration: samples), or give a longer file.",
        )
    return found


def _content(row: Any, source: Source, number: int) -> list[dict[str, str]] | str:
    wanted = (source.field,) if source.field else (*MESSAGE_FIELDS, "text")
    key = next((k for k in wanted if isinstance(row, dict) and k in row), None)
    value = row[key] if key else None
    if isinstance(value, str) and value:
        return value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(m, dict) and {"role", "content"} <= set(m) for m in value)
    ):
        return value
    keys = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
    raise WorkbookError(
        f"{source.name}, line {number} has no usable field {' / '.join(wanted)}; it has: {keys}.",
        expected="a list of {role, content} messages, or a text.",
        remedy="Name the field that holds the text (calibration: sources: [{name: …, field: …}]).",
    )


def _read_hub(source: Source, at_least: int) -> list[Any]:
    """The first rows of a hub data set's train split: ten times what is asked, so that a seed has a choice."""
    from datasets import load_dataset

    try:
        data = load_dataset(source.name, split=f"train[:{10 * at_least}]")
    except Exception as error:  # many kinds: no network, gated, unknown name
        raise WorkbookError(
            f"The data set {source.name} could not be fetched ({type(error).__name__}).",
            remedy="Check the network and the name, or calibrate with a local JSONL file.",
        ) from error
    if len(data) < at_least:
        raise WorkbookError(f"{source.name} has {len(data)} rows, but {at_least} are asked of it.")
    return [_content(row, source, number) for number, row in enumerate(data, 1)]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorkbookError(
            f"The calibration file {path} cannot be read ({error.strerror}).",
            expected="a JSONL file.",
            remedy="Check the path; the files of the workbook are in data/calibration/.",
        ) from error


def tokenize(calibration: Calibration, tokenizer: Any) -> list[list[int]]:
    """Token ids of each sample, cut to `length`. Plain text gets the tokenizer's own special tokens."""
    ids = []
    for row in rows(calibration):
        if isinstance(row, str) or not calibration.template:
            text = row if isinstance(row, str) else "\n".join(str(m["content"]) for m in row)
            tokens = tokenizer(text)["input_ids"]
        else:
            prompt = calibration.generation_prompt
            text = tokenizer.apply_chat_template(row, tokenize=False, add_generation_prompt=prompt)
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise WorkbookError("A calibration sample has no tokens.", remedy="Remove empty samples.")
        ids.append(list(tokens[: calibration.length]))
    return ids
