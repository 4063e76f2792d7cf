"""The answers that changed between two models: what was asked, both answers with the difference marked, why each ended.

A score counts how many; only reading them says how a model fails. Kept are the items whose outcome changed, and those whose
answer changed from wrong to another wrong.
"""

import difflib
import hashlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_text
from exaone_nb.language import language
from exaone_nb.messages import say, visible
from exaone_nb.score.items import ItemScores
from exaone_nb.score.outcomes import UNPARSABLE, finish_reason_of, first_response, flags_of, is_right
from exaone_nb.score.samples import rows_of
from exaone_nb.show.table import Column, Table

PAGE, SCRIPT, STYLE = (Path(__file__).with_name(f"flips.{kind}") for kind in ("html", "js", "css"))
# Where a document has none of these, the end of the prompt stands for the question.
QUESTION_FIELDS = ("question", "query", "prompt", "input", "problem", "instruction", "ctx", "goal", "text")
LONGEST_QUESTION = 4000
KINDS = {
    "lost": say("right, then wrong"),
    "won": say("wrong, then right"),
    "changed": say("wrong, then another wrong"),
}
ENDED = {
    "stop": say("the model ended it"),
    "length": say("cut at its limit"),
    "prompt": say("its prompt was cut"),
    "likelihood": say("the likeliest choice"),
    "": say("the file does not say why it ended"),
}
FLAGS = {"unparsable": say("no result was found in it"), "empty": say("empty")}
Piece = tuple[bool, str]


@dataclass(frozen=True)
class Answered:
    """One model's answer to an item: its text, what was read out of it, whether that is right, and why it ended."""

    text: str
    result: str
    right: bool
    value: float
    ended: str
    flags: tuple[str, ...]

    @property
    def ending(self) -> str:
        """Why it ended and what is wrong with it, in words."""
        return "; ".join(
            [ENDED.get(self.ended, self.ended), *(FLAGS[flag] for flag in self.flags if flag in FLAGS)]
        )


@dataclass(frozen=True)
class Flip:
    """One item whose answer changed. `kind` is one of KINDS."""

    task: str
    base: str
    candidate: str
    kind: str
    question: str
    target: str
    before: Answered
    after: Answered

    def marked(self) -> tuple[list[Piece], list[Piece]]:
        """Both texts in pieces, each with whether it differs from the other text."""
        before, after = (re.findall(r"\s+|\w+|[^\w\s]", each.text) for each in (self.before, self.after))
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=len(before) + len(after) > 2000)
        pieces: tuple[list[Piece], list[Piece]] = ([], [])
        for what, a, b, c, d in matcher.get_opcodes():
            for side, words in zip(pieces, (before[a:b], after[c:d]), strict=True):
                if words:
                    side.append((what != "equal", "".join(words)))
        return pieces


def flips(base: ItemScores, candidate: ItemScores, names: tuple[str, str]) -> list[Flip]:
    """The items whose answer changed, lost ones first. Both must have been read from files.

    Raises WorkbookError where items are averaged over seeds or a score has no right and wrong.
    """
    if base.path is None or candidate.path is None:
        raise WorkbookError(
            say(
                "{task} stands for several seeds or tasks, and has no single answer to show.", task=base.task
            ),
            remedy=say("Compare one seed: without --seeds."),
        )
    if base.is_perplexity:
        raise WorkbookError(
            say(
                "{task} has no right and wrong answers: its metric is {metric}.",
                task=base.task,
                metric=base.name,
            ),
            remedy=say("Name another task with --task."),
        )
    metric, found = base.name.metric, []
    # Not the rows: few-shot prompts are many times longer than questions and answers.
    before = {
        _key(row): (_answered(row, metric), _question(row), _text(row.get("target"))) for row in _rows(base)
    }
    for row in _rows(candidate):
        if (known := before.get(_key(row))) is None:
            continue
        other, question, target = known
        after = _answered(row, metric)
        if kind := _kind(other, after):
            found.append(Flip(base.task, *names, kind, question, target, before=other, after=after))
    return sorted(found, key=lambda flip: list(KINDS).index(flip.kind))


def flips_table(found: Sequence[Flip], most: int = 3) -> Table:
    """The first of them, one a row."""
    first = found[0] if found else None
    columns = [
        Column("kind", say("what changed")),
        Column("question", say("question")),
        Column("target", say("right answer")),
        Column("before", first.base if first else say("base")),
        Column("ended_before", say("how it ended")),
        Column("after", first.candidate if first else say("candidate")),
        Column("ended_after", say("how it ended")),
    ]
    rows = [
        {
            "kind": KINDS[flip.kind],
            "question": flip.question,
            "target": flip.target,
            "before": _on_one_line(flip.before.text),
            "ended_before": flip.before.ending,
            "after": _on_one_line(flip.after.text),
            "ended_after": flip.after.ending,
        }
        for flip in found[:most]
    ]
    return Table(columns, rows)


def write_page(path: str | Path, found: Sequence[Flip], scored: Mapping[str, int]) -> Path:
    """One HTML page that needs no network: every flip, a filter and a search. `scored` has the items of each task.

    What models and data sets wrote is text on it, never markup; the page's policy runs no script but its own.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    script, style = (source.read_text(encoding="utf-8") for source in (SCRIPT, STYLE))
    digests = [b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    policy = "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
    environment = Environment(autoescape=True, keep_trailing_newline=True)
    environment.filters["shown"] = _shown
    environment.globals.update(say=say, lang=language())
    page = environment.from_string(PAGE.read_text(encoding="utf-8"))
    counts = Counter((flip.candidate, flip.task, flip.kind) for flip in found)
    html = page.render(
        flips=found,
        kinds=KINDS,
        tasks=sorted({flip.task for flip in found}),
        candidates=sorted({flip.candidate for flip in found}),
        counts=[
            say("{candidate}, {task} ({n:,} items): {count:,} {kind}", candidate=c, task=t, n=scored.get(t, 0),
                kind=KINDS[k], count=count)
            for (c, t, k), count in sorted(counts.items(), key=lambda each: (*each[0][:2], list(KINDS).index(each[0][2])))
        ],
        policy=policy.format(*digests),
        script=Markup(script),
        style=Markup(style),
    )  # fmt: skip
    return write_text(path, html)


def _shown(text: str) -> str:
    """Text with what cannot be seen or written in UTF-8 written out."""
    return visible(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _rows(items: ItemScores) -> Iterator[dict[str, Any]]:
    """The rows of the filter that was scored, each item once."""
    seen = set()
    for row in rows_of(items.path):
        if row.get("filter", "none") == items.name.filter and _key(row) not in seen:
            seen.add(_key(row))
            yield row


def _key(row: dict[str, Any]) -> tuple[Any, Any]:
    return row.get("doc_id"), row.get("doc_hash")


def _answered(row: dict[str, Any], metric: str) -> Answered:
    value = row[metric]
    share = sum(value) / len(value) if isinstance(value, list) and value else float(value or 0)
    common = {"right": bool(is_right(value)), "value": share, "flags": flags_of(row)}
    choices = [_text(continuation) for _, continuation in _requests(row)]
    responses = row.get("resps") or []
    if len(responses) > 1 and len(responses) == len(choices):
        likely = [float(each[0][0]) for each in responses]
        if metric in ("acc_norm", "acc_bytes"):
            # As lm-eval: by the length of the choice, without the blank that sets it off from the question.
            texts = [text.lstrip() for text in choices]
            sizes = map(len, texts if metric == "acc_norm" else (text.encode() for text in texts))
            likely = [one / max(size, 1) for one, size in zip(likely, sizes, strict=True)]
        chosen = choices[max(range(len(likely)), key=likely.__getitem__)].strip()
        return Answered(chosen, chosen, ended="likelihood", **common)
    text, result = _text(first_response(responses)), _text(first_response(row.get("filtered_resps")))
    return Answered(text, result, ended=finish_reason_of(row), **common)


def _kind(before: Answered, after: Answered) -> str:
    """One of KINDS, or "" where nothing changed. Two answers without a result are compared by their texts."""
    if after.value != before.value:
        return "lost" if after.value < before.value else "won"
    if before.right:
        return ""
    nothing = before.result in ("", UNPARSABLE) and after.result in ("", UNPARSABLE)
    changed = before.text != after.text if nothing else before.result != after.result
    return "changed" if changed else ""


def _question(row: dict[str, Any]) -> str:
    document = row.get("doc")
    named = document if isinstance(document, dict) else {}
    text = next(
        (named[name] for name in QUESTION_FIELDS if isinstance(named.get(name), str) and named[name]), ""
    )
    if not text and (asked := _requests(row)):
        text = _text(asked[0][0])
    return text[-LONGEST_QUESTION:]


def _requests(row: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Prompt and continuation of each request; an older lm-eval logs them as lists."""
    logged = row.get("arguments") or {}
    if isinstance(logged, dict):
        return [(request.get("arg_0"), request.get("arg_1")) for request in logged.values()]
    return [(*request, None, None)[:2] for request in logged]


def _on_one_line(text: str) -> str:
    return "; ".join(line for line in text.strip().splitlines() if line.strip())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
