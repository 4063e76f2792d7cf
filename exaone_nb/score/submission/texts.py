"""Every file of a model folder, opened: its encoding, its JSON, what it must not tell, and whether anything reads it.

The judge's transformers 4.57.3 opens JSON and templates as UTF-8 and takes a byte order mark for content: JSON stops at
it, and in a template it becomes the first character of every prompt. tests/score/test_judge.py asks that library.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.credentials import SHAPES
from exaone_nb.errors import UsageError
from exaone_nb.files import sha256_of
from exaone_nb.findings import Finding, fail, some, warn
from exaone_nb.lfs import LONGEST, REMEDY, pointer_words
from exaone_nb.messages import say, translated
from exaone_nb.written import decode

MANIFEST = "submission.json"
TEMPLATE = "chat_template.jinja"
# What transformers 4.57.3 opens in a folder with a tokenizer.json (configuration_utils.py, tokenization_utils_base.py);
# each of them stops it when it cannot be read.
READ = {
    "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", TEMPLATE,
}  # fmt: skip
# What nothing reads there, and what may well lie beside a model.
BESIDE = re.compile(
    r"(README|LICEN[SC]E|NOTICE)|(recipe\.yaml|vocab\.json|merges\.txt|tokenizer\.model)$", re.IGNORECASE
)
SUMS = ("SHA256SUMS", "checksums.sha256")
_LARGEST_TEXT = 100_000_000
_PATHS = re.compile(
    r"(?<![\w.:/])(?:/(?:home|Users|root|mnt|content|kaggle|workspace|data|tmp)/[\w.\-/]+|[A-Z]:\\\\?[\w.\-\\]+)"
)
# A tokenizer's vocabulary holds any string; what matters in it is no secret of its packer.
_VOCABULARIES = {"tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"}
_BINARY = b"\0"


def check_texts(folder: Path) -> Iterator[Finding]:
    """What is wrong inside the files of a folder, weights apart, and which of them nothing reads."""
    unread = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as handle:
            start = handle.read(LONGEST)
        if words := pointer_words(name, start):
            yield fail("git-lfs", words, REMEDY)
        elif path.suffix == ".safetensors":
            continue  # `anatomy.reader` opens them
        elif path.stat().st_size > _LARGEST_TEXT:
            text = say(
                "{name} has {size:,} bytes and was not looked through.", name=name, size=path.stat().st_size
            )
            yield warn("files", text, say("Is it part of the model? Delete it if not."))
        else:
            yield from _opened(name, path.read_bytes())
        if name not in READ and name != MANIFEST and not BESIDE.match(name):
            unread.append(name)
    if unread:
        yield Finding("note", "files", say("Nothing on the server reads {names}.", names=some(unread)))


def read_object(path: Path) -> dict[str, Any] | Finding:
    """A JSON object, or the finding that says why there is none. A byte order mark is no reason: that is said apart."""
    try:
        content = path.read_bytes()
    except OSError:
        text = say("{name} is missing.", name=path.name)
        return fail("files", text, say("Copy it from the base model's folder."))
    if words := pointer_words(path.name, content[:LONGEST]):
        return fail("git-lfs", words, REMEDY)
    document = _parsed(path.name, content)
    if isinstance(document, dict | Finding):
        return document
    text = say("{name} holds a {kind}, not an object.", name=path.name, kind=type(document).__name__)
    return fail("files", text, say("Write it again."))


def without_mark(folder: Path) -> dict[str, bytes]:
    """The files that the server reads and that begin with a byte order mark, without it."""
    found = {}
    for path in (folder / name for name in sorted(READ)):
        if path.is_file() and (content := path.read_bytes()).startswith(codecs.BOM_UTF8):
            found[path.name] = content.removeprefix(codecs.BOM_UTF8)
    return found


def check_sums(folder: Path) -> Iterator[Finding]:
    """Files that are not those whose checksums lie beside them."""
    for name in (*SUMS, MANIFEST):
        if not (folder / name).is_file():
            continue
        wrong = [file for file, wanted in _sums(folder / name).items() if _differs(folder / file, wanted)]
        if wrong:
            text = say("{sums} has other checksums than {files}.", sums=name, files=some(wrong))
            remedy = say("Delete it, or pack again: `exaone-nb pack` writes them anew.")
            yield warn("checksums", text, remedy)


def _opened(name: str, content: bytes) -> Iterator[Finding]:
    if content.startswith(codecs.BOM_UTF8) and name in READ:
        text = say("{name} begins with a byte order mark: transformers 4.57.3 stops at it.", name=name)
        if name == TEMPLATE:
            text = say("{name} begins with a byte order mark, and so would every prompt.", name=name)
        yield fail("byte order mark", text, say("Save it as UTF-8 without one; `exaone-nb pack` removes it."))
    if name.endswith(".json"):
        document = _parsed(name, content)
        if isinstance(document, Finding):
            yield (
                document
                if name in READ
                else Finding("warning", document.code, document.text, document.remedy)
            )
        elif name in READ:
            if not isinstance(document, dict):
                text = say("{name} holds a {kind}, not an object.", name=name, kind=type(document).__name__)
                yield fail("files", text, say("Write it again."))
            if twice := _keys_twice(content):
                text = say("{name} has the key {key} twice: the last one counts.", name=name, key=repr(twice))
                yield warn("files", text, say("Keep one of them."))
    elif _BINARY not in content[:LONGEST] or name in READ:
        try:
            decode(content, name)
        except UsageError as error:
            yield Finding("error" if name in READ else "warning", "encoding", error.got, error.remedy)
    yield from _told(name, content.decode("utf-8", errors="replace"))


def _parsed(name: str, content: bytes) -> Any:
    """The JSON document, or the finding that says why it is none."""
    try:
        return json.loads(decode(content, name))
    except UsageError as error:
        return fail("encoding", error.got, error.remedy)
    except (ValueError, RecursionError) as error:
        text = say("{name} is not JSON: {reason}.", name=name, reason=str(error)[:150])
        return fail("files", text, say("Write it again; check its encoding."))


def _keys_twice(content: bytes) -> str:
    """The first key that one object has twice; "" when there is none."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(items)
        if len(document) < len(items):
            seen: set[str] = set()
            found.extend(key for key, _ in items if key in seen or seen.add(key))
        return document

    json.loads(content.decode("utf-8-sig"), object_pairs_hook=pairs)
    return found[0] if found else ""


def _told(name: str, text: str) -> Iterator[Finding]:
    """Tokens, and paths of the machine where the file was made."""
    for what, pattern in SHAPES.items():
        if match := pattern.search(text):
            # Never the token itself: reports get shared.
            line = text.count("\n", 0, match.start()) + 1
            found = say("{name} line {line} looks like {what}.", name=name, line=line, what=translated(what))
            remedy = say("Remove it, and revoke the token: whoever had the file has it.")
            yield fail("secrets", found, remedy)
    if name not in _VOCABULARIES and (match := _PATHS.search(text)):
        found = say("{name} names a path of its maker's machine ({place}).", name=name, place=match[0][:60])
        remedy = say("Remove it: the server does not have that path, and it tells about you.")
        yield warn("absolute paths", found, remedy)


def _sums(path: Path) -> dict[str, str]:
    """File -> SHA-256 that a list of checksums, or the manifest of `pack`, gives."""
    if path.name == MANIFEST:
        document = read_object(path)
        files = {} if isinstance(document, Finding) else document.get("files")
        entries = files.items() if isinstance(files, dict) else ()
        return {name: str(entry.get("sha256")) for name, entry in entries if isinstance(entry, dict)}
    lines = (line.split(maxsplit=1) for line in path.read_text("utf-8", errors="replace").splitlines())
    return {words[1].strip().lstrip("*"): words[0].lower() for words in lines if len(words) == 2}


def _differs(path: Path, wanted: str) -> bool:
    return path.is_file() and sha256_of(path) != wanted
