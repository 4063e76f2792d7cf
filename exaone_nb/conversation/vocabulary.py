"""How many tokens a text is, in one tokenizer or another, and what happens when the vocabulary is cut.

    tokens(Path("tokenizer.json"), ["안녕하세요"])                  # [n]
    tokens(Path("tokenizer.json"), ["안녕하세요"], keep=32_000)     # the same text with the first 32,000 entries only

A tokenizer.json is read as it is; nothing is fetched and no code of a model runs.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.paths import DATA


def parallel_text() -> dict[str, list[str]]:
    """The same sentences in Korean and in English, our own: data/korean_english.csv."""
    with open(DATA / "korean_english.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {language: [row[language] for row in rows] for language in rows[0]}


def tokens(file: Path, texts: Sequence[str], keep: int | None = None) -> list[int]:
    """Tokens of each text, special tokens left out; with `keep`, after the vocabulary was cut to so many entries.

    Raises UsageError where the file is no tokenizer, or one that is to be cut does not build its tokens by merging (BPE).
    """
    from tokenizers import Tokenizer

    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        made = Tokenizer.from_str(json.dumps(document if keep is None else cut(document, keep)))
    except UsageError:
        raise
    except Exception as error:  # the library raises bare exceptions
        got = say("{file} is not a tokenizer: {why}", file=str(file), why=str(error))
        raise UsageError(got, expected=say("the tokenizer.json of a model.")) from error
    return [len(one.ids) for one in made.encode_batch(list(texts), add_special_tokens=False)]


def entries(file: Path) -> int:
    """Entries of the vocabulary, added tokens included."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file)).get_vocab_size()


def cut(document: dict[str, Any], keep: int) -> dict[str, Any]:
    """A tokenizer.json with `keep` entries: those that nothing is merged into (bytes, characters, added tokens), and the first merges.

    Merges stand in the order in which they were learned, so the rarest go first. A text whose long entries are gone is
    written with the shorter ones that they were merged from: nothing becomes unknown, it becomes longer. Raises UsageError
    where the unmerged entries alone are more than `keep`.
    """
    model = document["model"]
    if model.get("type") != "BPE":
        got = say("The tokenizer is of type {kind}.", kind=str(model.get("type")))
        raise UsageError(got, expected=say("BPE: its entries are merged from shorter ones."))
    pairs = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    merged = {left + right for left, right in pairs}
    added = {one["content"] for one in document.get("added_tokens", [])} - model["vocab"].keys()
    kept = {text for text in model["vocab"] if text not in merged}
    room = keep - len(added) - len(kept)
    if room < 0:
        got = say("{keep:,} entries were asked for.", keep=keep)
        expected = say("at least {least:,}: that many are not merged from others.", least=keep - room)
        raise UsageError(got, expected=expected)
    kept |= set(list(dict.fromkeys(left + right for left, right in pairs))[:room])
    vocabulary = {text: number for text, number in model["vocab"].items() if text in kept}
    merges = [[left, right] for left, right in pairs if {left, right, left + right} <= kept]
    return document | {"model": model | {"vocab": vocabulary, "merges": merges}}
