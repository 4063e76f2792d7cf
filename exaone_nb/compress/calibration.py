"""Calibration: the text that GPTQ, AWQ and static activation scales see.

Which text, how much of it, and whether it is put into the chat template are part of a recipe, because they change the
result. Sources are JSONL files (one {"messages": [...]} or {"text": ...} per line) or data sets of the hub by name.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exaone_nb.compress.hub_texts import hub_rows
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import DATA, ROOT
from exaone_nb.schema import Count, Mistake, Positive, Whole, is_name, kind, list_of
from exaone_nb.written import decode

DEFAULT_SOURCE = "nano_calibration"
# What a row may call its conversation; MANTA-1M says "conversations".
MESSAGE_FIELDS = ("messages", "conversations")
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?")
# A name that ends so is a file that is missing, not a hub id.
FILES = (".jsonl", ".json", ".txt", ".csv", ".tsv", ".parquet")
# As many rows of the hub per sample, so that a seed has a choice.
CHOICE = 10


@dataclass(frozen=True)
class TextSource:
    """One place text comes from: a JSONL file, a file of data/calibration/, or a hub data set ORG/NAME[:SUBSET].

    The first `offset` rows are passed over: they belong to whoever judges on the same source.
    """

    name: kind(str, is_name, "a JSONL file or a hub id ORG/NAME.") = DEFAULT_SOURCE
    share: Positive = 1.0
    field: str = ""
    offset: Whole = 0

    @staticmethod
    def spelled_out(document: Any) -> Any:
        """A source may be its name alone."""
        return {"name": document} if isinstance(document, str) else document

    @property
    def path(self) -> Path | None:
        """The file on this disk (it may be missing), or None for a hub data set."""
        typed = Path(self.name).expanduser()
        if typed.is_absolute():
            return typed
        if (ours := DATA / "calibration" / f"{self.name}.jsonl").is_file():
            return ours
        # Paths of recipes that come with the workbook count from its folder.
        if not typed.exists() and (ROOT / typed).is_file():
            return ROOT / typed
        hub = HUB_ID.fullmatch(self.name) and not typed.exists() and typed.suffix not in FILES
        return None if hub else typed


@dataclass(frozen=True)
class Calibration:
    """How much text, from where. `length` is tokens per sample; longer samples are cut."""

    sources: list_of(TextSource, "a list of names or {name, share, field}.") = (TextSource(),)
    samples: Count = 128
    length: Count = 256
    seed: Whole = 0
    template: bool = True
    generation_prompt: bool = False

    @staticmethod
    def spelled_out(document: Any) -> Any:
        """One source may be written as `source`."""
        if not isinstance(document, dict) or "source" not in document:
            return document
        if "sources" in document:
            raise Mistake("has both source and sources.", expected="one of them.")
        rest = {key: value for key, value in document.items() if key != "source"}
        return rest | {"sources": [document["source"]]}

    def counts(self) -> list[int]:
        """Samples per source."""
        return divided(self.samples, self.sources)

    def errors(self) -> Iterator[WorkbookError]:
        """Why local sources cannot give what is asked of them; data sets of the hub are not looked at."""
        for source, count in zip(self.sources, self.counts(), strict=True):
            try:
                if source.path is not None:
                    read_source(source, at_least=count)
            except WorkbookError as error:
                yield error

    def fingerprint(self) -> str:
        """SHA-256 over the settings and the samples in the source files, without tokenizing anything.

        Neither the path of a file nor a byte order mark, blank lines or the order of lines are part of it. A data set of
        the hub is known by its name and offset. Raises WorkbookError (see `rows`).
        """
        settings = asdict(self) | {"sources": [source.share for source in self.sources]}
        parts = [
            [source.name, source.offset] if source.path is None else sorted(map(_mark, read_source(source)))
            for source in self.sources
        ]
        return hashlib.sha256(json.dumps([settings, parts], sort_keys=True).encode()).hexdigest()


def divided(total: int, sources: Sequence[TextSource]) -> list[int]:
    """A number of texts per source: shares by largest remainder, summing to `total`."""
    whole = sum(source.share for source in sources)
    exact = [total * source.share / whole for source in sources]
    counts = [int(x) for x in exact]
    order = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def rows(calibration: Calibration) -> list[list[dict[str, str]] | str]:
    """The chosen samples, as message lists or plain texts, drawn with the seed; `samples` of them.

    Raises WorkbookError for a source that is missing, empty, not JSONL, without the field, or too short.
    """
    chosen: list[Any] = []
    for source, count in zip(calibration.sources, calibration.counts(), strict=True):
        pool = read_source(source, at_least=count, most=CHOICE * count)
        # In the order of a hash of seed and text: the path of the file cannot matter, 64 samples are the first half of
        # 128 with the same seed, and a line that is added to the file changes at most one of them.
        chosen += sorted(pool, key=lambda row: _mark(row, calibration.seed))[:count]
    return chosen


def _mark(row: Any, seed: int | None = None) -> str:
    """A hash of one sample, with a seed or without."""
    return hashlib.sha256(json.dumps([seed, row], sort_keys=True).encode()).hexdigest()


def read_source(source: TextSource, at_least: int = 1, most: int = 0) -> list[list[dict[str, str]] | str]:
    """The rows of one source from its offset on, in order: of a file all, of the hub `most` (`at_least` where that is more).

    Raises WorkbookError (see `rows`).
    """
    if source.path is not None:
        found = [_content(row, source, number) for number, row in _file_rows(source)][source.offset :]
    else:
        wanted = max(at_least, most)

        def read(row: Any, number: int) -> Any:
            return _content(row, source, number)

        found = hub_rows(source.name, source.offset, wanted, read, source.field).rows[:wanted]
    if len(found) < at_least:
        most_there = say(
            "Name a longer file, or ask for at most {count} (calibration: samples).", count=len(found)
        )
        got = {"name": source.name, "count": len(found) or say("no"), "asked": at_least}
        raise WorkbookError(
            say(
                "{name} has {count} samples after the first {offset:,}, but {asked} are asked of it.",
                offset=source.offset,
                **got,
            )
            if source.offset
            else say("{name} has {count} samples, but {asked} are asked of it.", **got),
            remedy=most_there if found else say("Name a longer file."),
        )
    return found


def _file_rows(source: TextSource) -> Iterator[tuple[int, Any]]:
    """(line, what stands on it) of a JSONL file."""
    text = decode(_read_bytes(source), source.name, "a JSONL file in UTF-8.")
    # Not splitlines: it also splits at characters that are allowed inside a JSON string, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row, wrong, place = None, "", {"name": source.path.name, "number": number}
        try:
            row = json.loads(line)
        except ValueError as error:
            wrong = say("{name}, line {number} is not JSON: {error}", error=error, **place)
        if isinstance(row, list):
            wrong = say("{name}, line {number} is a list.", **place)
        if wrong:
            raise WorkbookError(
                wrong,
                expected='JSONL, one object per line, such as {"messages": [{"role": "user", "content": "…"}]}.',
                remedy="A .json file with one big list must be written line by line.",
            )
        yield number, row


def _content(row: Any, source: TextSource, number: int) -> list[dict[str, str]] | str:
    wanted = (source.field,) if source.field else (*MESSAGE_FIELDS, "text")
    key = next((k for k in wanted if isinstance(row, dict) and k in row), None)
    value = row[key] if key else None
    if isinstance(value, str) and value:
        return value
    messages = value if isinstance(value, list) else []
    if messages and all(isinstance(m, dict) and m.keys() >= {"role", "content"} for m in messages):
        wrong = [m["content"] for m in messages if not isinstance(m["content"], str)]
        if not wrong:
            return value
        what = "null" if wrong[0] is None else say("a {kind}", kind=type(wrong[0]).__name__)
        raise WorkbookError(
            say(
                "{name}, line {number}: a message's content is {what}.",
                name=source.name,
                number=number,
                what=what,
            ),
            expected='text, such as {"role": "user", "content": "…"}.',
            remedy="Write the message's text as one string, or leave the line out.",
        )
    keys = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
    got = say(
        "{name}, line {number} has no usable field {wanted}; it has: {keys}.",
        name=source.name,
        number=number,
        wanted=" / ".join(wanted),
        keys=keys,
    )
    raise WorkbookError(
        got,
        expected="a list of {role, content} messages, or a text.",
        remedy="Name the field that holds the text (calibration: sources: [{name: …, field: …}]).",
    )


def _read_bytes(source: TextSource) -> bytes:
    try:
        if source.path.exists() and not source.path.is_file():
            raise OSError(0, say("it is not a file"))
        return source.path.read_bytes()
    except OSError as error:
        got = say(
            "The calibration file {name} cannot be read ({reason}).", name=source.name, reason=error.strerror
        )
        raise WorkbookError(
            got,
            expected="a JSONL file, a file of data/calibration/ by its name, or a hub data set ORG/NAME.",
            remedy=say("Check the path; it counts from {folder}.", folder=Path.cwd()),
        ) from error


def render(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """A conversation in the tokenizer's chat template, as text.

    Raises WorkbookError when there is no template, or when it does not take these messages.
    """
    if not getattr(tokenizer, "chat_template", True):
        raise WorkbookError(
            "The model has no chat template, and the calibration text is conversations.",
            expected="a chat_template.jinja beside the weights.",
            remedy="Copy the original model's, or set `template: false` in the recipe's calibration.",
        )
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception as error:  # a template is a program: it may raise anything
        roles = ", ".join(dict.fromkeys(repr(m["role"]) for m in messages))
        got = say(
            "The model's chat template refuses a conversation with the roles {roles} ({reason}).",
            roles=roles,
            reason=error,
        )
        raise WorkbookError(
            got,
            expected="roles that the template knows, as a rule system, user and assistant.",
            remedy="Rename the roles in the calibration file, or set `template: false` in the recipe's calibration.",
        ) from error


def tokenize(calibration: Calibration, tokenizer: Any) -> list[list[int]]:
    """Token ids of each sample, cut to `length`. Plain text gets the tokenizer's own special tokens."""
    ids = []
    for row in rows(calibration):
        if isinstance(row, str) or not calibration.template:
            text = row if isinstance(row, str) else "\n".join(m["content"] for m in row)
            tokens = tokenizer(text)["input_ids"]
        else:
            text = render(tokenizer, row, add_generation_prompt=calibration.generation_prompt)
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise WorkbookError("A calibration sample has no tokens.", remedy="Remove empty samples.")
        ids.append(list(tokens[: calibration.length]))
    return ids
