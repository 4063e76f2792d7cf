"""The tokenizer against the model, and the chat template rendered as the judge's transformers renders it.

Ids beyond the model's rows, an end of turn at which generation does not stop, a template that drops the question: each
loads without a word and costs the whole score.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.findings import Finding, fail, some, warn
from exaone_nb.messages import say
from exaone_nb.score.submission.texts import TEMPLATE, read_object

QUESTION = "1 + 1 = ?"
CLOSED_THOUGHT = "</think>\n\n"
_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")
_AGAIN = say(
    "Use the tokenizer that belongs to the model: tokenizer.save_pretrained(folder), from the base model."
)
_BASES = say("Copy chat_template.jinja from the base model.")


def check_tokenizer(folder: Path, config: dict[str, Any]) -> Iterator[Finding]:
    """Findings about the ids, the special tokens and the template; files that cannot be read are reported elsewhere."""
    settings, ids = (
        read_object(folder / "tokenizer_config.json"),
        _ids(read_object(folder / "tokenizer.json")),
    )
    if isinstance(settings, Finding):
        return
    yield from _template(folder, settings)
    if ids is None:
        if (folder / "tokenizer.json").is_file():
            yield fail("tokenizer", say("tokenizer.json holds no vocabulary."), _AGAIN)
        return
    rows, highest = config.get("vocab_size"), max(ids.values(), default=-1)
    if isinstance(rows, int) and highest >= rows:
        text = say(
            "The tokenizer has ids up to {highest:,}, the model {rows:,} rows.", highest=highest, rows=rows
        )
        yield fail("tokenizer", text, _AGAIN)
    named = {name: token for name in _NAMED if (token := _text(settings.get(name)))}
    if unknown := [f"{name} {token!r}" for name, token in named.items() if token not in ids]:
        text = say(
            "tokenizer.json does not have {tokens}: the library would add new ids.", tokens=some(unknown)
        )
        yield fail("tokenizer", text, _AGAIN)
    ends = _ends(folder, config)
    turn = ids.get(named.get("eos_token", ""))
    if turn is not None and ends and turn not in ends:
        text = say(
            "The tokenizer ends a text with {token} ({turn}), and generation stops at {ends}.",
            token=named["eos_token"], turn=turn, ends=ends,
        )  # fmt: skip
        yield warn("tokenizer", text, say("Make eos_token and eos_token_id agree, as in the base model."))


def _ids(document: dict[str, Any] | Finding) -> dict[str, int] | None:
    """Token -> id, added ones included; None when there is no vocabulary."""
    model = None if isinstance(document, Finding) else document.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # Unigram: [token, score] in the order of ids
        vocabulary = {row[0]: i for i, row in enumerate(vocabulary) if isinstance(row, list) and row}
    if not isinstance(vocabulary, dict) or not vocabulary:
        return None
    added = document.get("added_tokens") or []
    ids = {
        entry["content"]: entry["id"]
        for entry in added
        if isinstance(entry, dict) and {"content", "id"} <= entry.keys()
    }
    return {token: i for token, i in (vocabulary | ids).items() if isinstance(i, int)}


def _text(token: Any) -> str:
    """A special token, which is a text or an object with one."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def _ends(folder: Path, config: dict[str, Any]) -> list[int]:
    generation = read_object(folder / "generation_config.json")
    ends = None if isinstance(generation, Finding) else generation.get("eos_token_id")
    ends = config.get("eos_token_id") if ends is None else ends
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _template(folder: Path, settings: dict[str, Any]) -> Iterator[Finding]:
    own, path = settings.get("chat_template"), folder / TEMPLATE
    template = own
    if path.is_file():
        try:
            template = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            return
        if isinstance(own, str) and own != template:
            text = say(
                "tokenizer_config.json has another chat template than {name}, which is read.", name=TEMPLATE
            )
            yield warn("chat template", text, say("Keep one of the two."))
    if not isinstance(template, str):
        return
    try:
        prompt = _rendered(template, settings)
    except Exception as error:  # jinja raises its own kinds, and templates raise text
        text = say("The chat template stops: {reason}", reason=str(error)[:200])
        yield fail("chat template", text, _BASES)
        return
    if QUESTION not in prompt:
        yield fail("chat template", say("The chat template leaves the question out."), _BASES)
    elif not prompt.endswith(CLOSED_THOUGHT):
        text = say("The prompt ends with {end!r}, EXAONE 4.0's with a closed thought.", end=prompt[-24:])
        yield warn(
            "chat template", text, say("Use the base model's template, unless you changed it on purpose.")
        )


def _rendered(template: str, settings: dict[str, Any]) -> str:
    """A question as transformers 4.57.3 renders it (utils/chat_template_utils.py, _compile_jinja_template)."""
    from datetime import datetime

    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what a training mask keeps; a prompt has its body."""

        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **form: json.dumps(value, **{"ensure_ascii": False} | form)
    environment.globals |= {
        "raise_exception": refuse,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    tokens = {name: _text(settings.get(name)) for name in _NAMED}
    messages = [{"role": "user", "content": QUESTION}]
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)
