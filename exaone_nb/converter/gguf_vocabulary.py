"""The vocabulary of a GGUF file: tokens, what kind each is, merges, special tokens, template, and how text is cut.

llama.cpp cuts text by rules that it knows by name (`tokenizer.ggml.pre`). Its converter finds the name by the hash of
a test string's tokens; here the cut itself is read in tokenizer.json and looked up, so that a tokenizer nobody has
hashed is recognised too. As in conversion/base.py (`get_vocab_base`) and src/llama-vocab.cpp of llama.cpp b10359.
"""

import json
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How text is cut -> its names in llama.cpp, the family that has one of its own first. `gpt2` is GPT-2's pattern inside
# the tokenizer's byte-level step.
CUTS = {
    ("digits", "gpt2"): {"exaone": "exaone", "": "smollm"},
    ("gpt2",): {"exaone4": "exaone4", "": "gpt-2"},
    (_LETTERS + r"\p{N}{1,3}" + _REST,): {"": "llama-bpe"},
    (_LETTERS + r"\p{N}" + _REST,): {"": "qwen2"},
}


def cut_name(tokenizer: dict[str, Any], architecture: str, folder: Path) -> str:
    """`tokenizer.ggml.pre` of a tokenizer.json. Raises WorkbookError for a cut that llama.cpp has no name for here."""
    steps = tokenizer.get("pre_tokenizer") or {}
    names = CUTS.get(tuple(filter(None, map(_step, steps.get("pretokenizers", [steps])))))
    if names is None:
        raise WorkbookError(
            say("The tokenizer of {name} cuts text in a way that has no name here.", name=folder.name),
            expected=say("the pre_tokenizer of EXAONE 3.5 or 4.0, SmolLM2, Llama 3, Qwen3 or GPT-2."),
            remedy=say("Name the cut with --cut, as llama.cpp calls it (src/llama-vocab.cpp)."),
        )
    return names.get(architecture, names[""])


def _step(step: Any) -> str:
    """One step of a pre_tokenizer as CUTS spells it; empty for a byte-level step that cuts nothing."""
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Digits" and step.get("individual_digits"):
        return "digits"
    if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        return str(step.get("pattern", {}).get("Regex"))
    if kind == "ByteLevel" and not step.get("add_prefix_space"):
        return "gpt2" if step.get("use_regex", True) else ""
    return "?"


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """tokenizer.json of a folder. Raises WorkbookError when it is missing, broken, or no byte-level BPE."""
    file = folder / "tokenizer.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        model, decoder = found["model"], found["decoder"]
        known = model["type"] == "BPE" and "ByteLevel" in json.dumps(decoder)
    except FileNotFoundError as error:
        raise WorkbookError(
            say("There is no tokenizer.json in {name}.", name=folder.name),
            expected=say("a model folder with its tokenizer: a GGUF file holds it."),
            remedy=say("Download the model's tokenizer files into the folder."),
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WorkbookError(
            say("{file} is not what it should be: {reason}.", file=file.name, reason=str(error)[:200]),
            expected=say("a tokenizer.json of the tokenizers library."),
            remedy=say("Download the file again."),
        ) from error
    if not known:
        raise WorkbookError(
            say("The tokenizer of {name} is no byte-level BPE.", name=folder.name),
            expected=say("a tokenizer like those of EXAONE, Qwen3 and Llama 3."),
            remedy=say(
                "Use convert_hf_to_gguf.py of llama.cpp, which writes SentencePiece vocabularies too."
            ),
        )
    return found


def load_tokens(folder: Path, size: int) -> tuple[list[str], list[int]]:
    """(tokens, kind of each) for `size` ids; ids without a token are filled with unused ones.

    Raises WorkbookError when the tokenizer cannot be read or has an id beyond `size`.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises plain exceptions
        raise WorkbookError(
            say(
                "The tokenizer of {name} cannot be read: {reason}", name=folder.name, reason=str(error)[:200]
            ),
            expected=say("a tokenizer.json of the tokenizers library."),
            remedy=say("Download the file again."),
        ) from error
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_tokens_decoder()
    by_id = {number: token for token, number in vocabulary.items()}
    if by_id and max(by_id) >= size:
        raise WorkbookError(
            say(
                "The tokenizer of {name} has the id {most:,}, the config a vocabulary of {size:,}.",
                name=folder.name,
                most=max(by_id),
                size=size,
            ),
            expected=say("ids below vocab_size."),
            remedy=say("Check that tokenizer and config belong together."),
        )
    tokens, kinds = [], []
    for number in range(size):
        if number not in by_id:
            token, kind = f"[PAD{number}]", UNUSED
        elif number not in added:
            token, kind = by_id[number], NORMAL
        else:
            token, kind = _added(tokenizer, by_id[number], added[number])
        tokens.append(token)
        kinds.append(kind)
    return tokens, kinds


def _added(tokenizer: Any, token: str, entry: Any) -> tuple[str, int]:
    """An added token as llama.cpp wants it: already normalized, control or user-defined."""
    if not entry.normalized:
        ids = tokenizer.encode(token, add_special_tokens=False).ids
        token = tokenizer.decode(ids, skip_special_tokens=False)
    if entry.special or _looks_special(token):
        return token, CONTROL
    return token.replace("\u2581", " "), USER_DEFINED


def _looks_special(token: str) -> bool:
    """Some models do not mark tokens as special that steer them; the converter tells them by their looks."""
    ends = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))
    return token in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        token.startswith(first) and token.endswith(last) for first, last in ends
    )
